"""What differs between families of multimodal LLMs: one file a family, one line a family in `registry`."""
