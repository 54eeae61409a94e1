"""Plain data -> SVG and PNG.

Beside the tests of the same names: `score_charts` and `pages` are held by tests/unit/pipelines/report/test_scores.py,
`joint_picture` by tests/integration/test_own_data.py.
"""
