"""A trained SkeletonLLM on test clips -> numbers with intervals."""
