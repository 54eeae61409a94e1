"""How SkeletonLLM is stepped: plain torch, ZeRO.

Held by tests/integration/test_exactness.py (`plain`, `zero`) and test_sharded_load.py (`sharded_load`).
"""
