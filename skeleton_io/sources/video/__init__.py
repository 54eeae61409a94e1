"""Pose estimators: pixels.

Tests: one file a format; COCO-17, OpenPose and Kinetics in test_pixel_formats.py, `openpose18_rows` in
../depth/test_lab_sets.py, `mediapipe_table` in test_mediapipe.py.
"""
