"""The table of formats.

Tests: every reader on its asset and on spoilt bytes in test_readers_on_assets.py and the tests of its room, on the real
sets in test_real_sets.py; a format from outside in test_own_format.py; pages and lists in test_format_pages.py and
test_detection.py (`catalogue`).
"""
