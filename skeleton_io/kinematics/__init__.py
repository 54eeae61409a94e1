"""Record -> motion facts."""
