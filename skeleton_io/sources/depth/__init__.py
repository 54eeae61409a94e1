"""Depth sensors (Kinect) and their sets."""
