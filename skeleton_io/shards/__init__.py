"""Record <-> Arrow: schema, shard set.

Tests: test_shard_set.py; record/test_sequence.py holds `schema`, there and back.
"""
