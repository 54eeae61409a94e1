"""The record and what changes it: sequence, topology, quality, transforms."""
