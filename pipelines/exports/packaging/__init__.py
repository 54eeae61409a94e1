"""A finished model as a folder that is used without this project."""
