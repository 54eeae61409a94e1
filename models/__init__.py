"""Tensors in, tensors out: the DrAction renderer, the multimodal LLM and the losses. Knows no Ray and no files."""
