"""Depth sensors (Kinect) and their sets.

Tests: ../test_readers_on_assets.py (NTU, MSR, UTD, NW-UCLA, SBU), test_lab_sets.py (KIMORE, MSRC-12, PKU-MMD), and on
real files ../test_real_sets.py and test_real_lab_sets.py.
"""
