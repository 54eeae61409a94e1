"""How SkeletonLLM is stepped: plain torch, ZeRO."""
