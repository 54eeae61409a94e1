"""Words against motion: claims of a text, verdicts of the joints. No Ray.

Beside the tests of the same names: `rationale` is held by test_verify.py and by test_structured.py of the teachers.
"""
