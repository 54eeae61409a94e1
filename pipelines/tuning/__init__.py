"""Stage: Ray Tune searches the rendering hyperparameters.

Held by tests/integration/test_train.py where Ray is needed: `stage`, `search` and `trial_lines`.
"""
