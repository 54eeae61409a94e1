"""Unknown files -> a drafted definition. Tests: test_draft.py holds all files of this room, on whole drafts."""
