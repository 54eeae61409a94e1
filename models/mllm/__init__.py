"""One adapter over three families."""
