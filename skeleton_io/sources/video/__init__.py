"""Pose estimators: pixels."""
