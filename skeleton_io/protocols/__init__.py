"""Who trains and who tests, as data (YAML beside the code)."""
