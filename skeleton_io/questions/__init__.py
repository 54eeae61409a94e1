"""Motion facts -> questions with checkable answers. Tests: test_motion.py holds all files of this room."""
