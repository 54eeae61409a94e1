"""Motion facts -> questions with checkable answers."""
