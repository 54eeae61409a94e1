"""One module per family of `skel` commands: a frozen dataclass of options for each, and what it calls. No work."""
