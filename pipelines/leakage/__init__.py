"""What a model would see, or has seen, of the test."""
