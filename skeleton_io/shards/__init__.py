"""Record <-> Arrow: schema, shard set."""
