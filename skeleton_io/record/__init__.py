"""The record and what changes it: sequence, topology, quality, transforms.

Tests: `quality` and `topology` in test_transforms.py and test_sequence.py; Euler angles and quaternions of `rotations`
against scipy in tests/parity/test_rotations_scipy.py.
"""
