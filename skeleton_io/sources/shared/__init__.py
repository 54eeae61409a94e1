"""What all formats share.

Tests: `files` and `side_files` in ../test_registry.py, `linking` in ../video/test_pixel_formats.py, `captions_aalto` in
test_captions.py, `forward_kinematics` by the readers of mocap, each against scipy.
"""
