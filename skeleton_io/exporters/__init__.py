"""Record -> files of other tools. Tests: test_registry.py holds every format, by what other tools read back."""
