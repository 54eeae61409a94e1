"""A trained SkeletonLLM on test clips -> numbers with intervals.

Beside the tests of the same names: `any_checkpoint` and `method_table` are held by
tests/integration/test_evaluate_checkpoint.py, `language`, `captions` and `questions` by
tests/integration/test_words_and_robustness.py.
"""
