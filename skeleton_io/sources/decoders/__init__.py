"""Hostile bytes -> arrays. Know no skeletons."""
