"""SkeletonLLM: the stage table, and what its loop says of a step.

Held by tests/integration, since they need a model: `loop`, `job` and `validation` by test_train.py and
test_exactness.py, `stage_data` by test_stage_table.py, `model_work` and `tiny_mllm` by test_train.py.
"""
