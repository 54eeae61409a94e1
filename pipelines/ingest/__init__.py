"""Stage: native files -> shards."""
