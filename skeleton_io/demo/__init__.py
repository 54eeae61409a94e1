"""A synthetic labelled set in native formats."""
