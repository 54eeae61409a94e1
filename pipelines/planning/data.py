"""A run's shards, or what the caller says -> how many training clips there are, under which labels. Draws no frames."""

from __future__ import annotations

from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.planning.result import PlanOptions
from pipelines.planning.work import Data
from pipelines.rationales.answers import load_rationales
from pipelines.runtime.paths import RunPaths
from skeleton_io import storage


def count_data(cfg: FullConfig, paths: RunPaths | None, options: PlanOptions) -> Data | None:
    """Training clips and labels: counted in the run's shards, or as the caller says; None: unknown.

    Raises:
        UserError: a protocol does not fit the shards.
    """
    if paths is None or not storage.exists(storage.join(paths.shards, "index.json")):
        if not options.clips:
            return None
        name = next(iter(cfg.data.inputs), "data")
        return Data({name: options.clips}, {name: stand_in_labels(options)}, 0.0, counted=False)
    store = ClipStore(paths.shards)
    selection = select(cfg, store)
    sets = sorted(cfg.train.sets or selection.train)
    free = any({"caption", "qa"} & set(stage.tasks) for stage in cfg.train.stages)
    clips = {n: len(selection.train[n]) + (len(selection.unlabelled_train.get(n, ())) if free else 0) for n in sets}
    texts = accepted_rationales(paths)
    mean = sum(map(len, texts.values())) / len(texts) if texts else 0.0
    labels = {n: list(selection.labels[n]) or ["motion"] for n in sets}
    return Data({n: c for n, c in clips.items() if c}, labels, mean, counted=True)


def accepted_rationales(paths: RunPaths) -> dict[str, str]:
    """The run's accepted rationales; empty where there are none, or none that this version wrote."""
    try:
        return load_rationales(paths.rationales)
    except FileNotFoundError:
        return {}


def stand_in_labels(options: PlanOptions) -> list[str]:
    """As many labels of usual length as the caller says, where there are no shards to take them from."""
    return [f"drink water {number}" for number in range(options.labels)]
