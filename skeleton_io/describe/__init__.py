"""Unknown files -> a drafted definition."""
