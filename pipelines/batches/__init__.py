"""Which clip is asked what in which step -> token rows."""
