"""What a run left behind -> report.json and one page.

Beside the tests of the same names: `gather` is held by test_stage.py, `scores_page`, `other_scores` and `page_clips` by
test_scores.py, `clips` by tests/integration/test_evaluate_stage.py.
"""
