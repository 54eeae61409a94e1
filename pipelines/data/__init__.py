"""Clips of a run: by key, by side of the split, from files; as the renderer takes them."""
