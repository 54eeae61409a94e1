"""SkeletonLLM: the stage table, one loop on one rank."""
