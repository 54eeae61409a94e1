"""Record -> files of other tools."""
