"""Questions that take many trainings: transfer between sets."""
