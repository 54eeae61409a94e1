"""How anything is trained under Ray Train: context, checkpoints, retries. Knows no model family."""
