"""What a search found, as plain rows."""

from __future__ import annotations

from typing import Any

from pipelines.config.tree import FullConfig

TRIALS_FILE = "trials.json"


BEST_FILE = "best.yaml"


def rows(results: Any, cfg: FullConfig) -> list[dict[str, Any]]:
    """One plain row per trial: values, accuracy per round, whether ASHA stopped it, what went wrong."""
    found = []
    for number, result in enumerate(results, 1):
        frame = result.metrics_dataframe
        scored = [] if frame is None or "accuracy" not in frame else frame["accuracy"].dropna().tolist()
        error = str(result.error).strip().splitlines() if result.error is not None else []
        found.append(
            {
                "trial": number,
                "values": result.config,
                "accuracy": [float(value) for value in scored],
                "stopped": not error and len(scored) < cfg.tune.epochs,
                "error": error[-1] if error else None,
            }
        )
    return found
