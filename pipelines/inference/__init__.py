"""A finished model over many clips: scores, answers, predictions, features."""
