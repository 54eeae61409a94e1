"""Scored clips -> statistics. Pure numpy; runs no model."""
