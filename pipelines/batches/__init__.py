"""Which clip is asked what in which step -> token rows.

`questions` is held by tests/unit/pipelines/batches/test_tasks.py.
"""
