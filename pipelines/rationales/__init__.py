"""Stage: a teacher explains every training clip. A new teacher is one file and one line in `teachers.registry`.

Beside the tests of the same names: `actors`, `openai_batch`, `vllm` and `costs` are held by
tests/integration/test_openai_teacher.py, with kills by tests/integration/test_rationale_kills.py.
"""
