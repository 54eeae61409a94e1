"""A finished model on storage: write, find, load, start from."""
