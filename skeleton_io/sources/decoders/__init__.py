"""Hostile bytes -> arrays. Know no skeletons.

Tests: `pickle_arrays` in test_pickles.py; `table_text` by every reader of text, in ../test_readers_on_assets.py.
"""
