"""Files of any layout by a YAML.

Tests: test_source.py holds all files of this room; test_same_as_readers.py compares definitions with readers by hand.
"""
