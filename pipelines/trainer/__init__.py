"""How anything is trained under Ray Train: loop, context, checkpoints, retries. Knows no model family.

A family brings a job, a loop that derives from `loop.TrainLoop`, and an engine; tests/second_family.py is the smallest
one. What `ray_run`, `job` and `context` do under Ray is held by tests/integration/test_second_family.py and
test_train_faults.py; `local_run` and `engine` by tests/unit/pipelines/trainer/test_loop.py; `checkpoint_files` by
test_checkpoints.py there.
"""
