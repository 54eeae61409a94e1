"""A synthetic labelled set in native formats.

Tests: test_dataset.py holds `formats`, test_motion.py `actions` and `body`.
"""
