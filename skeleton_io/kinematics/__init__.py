"""Record -> motion facts. Tests: test_motion.py holds all files of this room, on motions whose facts are known."""
