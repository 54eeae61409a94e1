"""Commands that look at data or convert it. No Ray."""
