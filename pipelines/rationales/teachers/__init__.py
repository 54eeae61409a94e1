"""Who is asked and how: one file a teacher, one table (`registry`).

Beside the tests of the same names: `openai_api` and `base` are held by tests/integration/test_openai_teacher.py,
`prompt_files` by tests/unit/pipelines/rationales/test_stage.py, `kinematic_evidence` and `kinematic_hands` by
test_kinematic.py.
"""
