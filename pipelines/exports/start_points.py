"""A row of the stage table -> the export that it starts from, checked before anything runs. Loads no weights."""

from __future__ import annotations

import json

from pipelines.config.loading import to_plain
from pipelines.config.stages import FRESH, StageConfig
from pipelines.config.tree import FullConfig
from pipelines.exports.find import find_export, is_export
from pipelines.exports.store import CONFIG_FILE, LABELS_FILE
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.progress import say
from skeleton_io import storage, strict_yaml

SIZES = ("feature_dim", "nfm", "nfm_width", "gru", "gru_width", "views", "learn_camera")
"""Fields of the renderer that its weights' shapes depend on."""


def export_of(paths: RunPaths, stage: StageConfig) -> str:
    """Where a stage of the table leaves its model."""
    return storage.join(paths.train, stage.name, "export")


def start_of(cfg: FullConfig, paths: RunPaths, number: int) -> str | None:
    """Export that row `number` of the table starts from; None: `mllm.path` and a new renderer.

    Raises:
        UserError: `start` leads to no finished model.
    """
    stage, before = cfg.train.stages[number], cfg.train.stages[:number]
    if stage.start == FRESH or (not stage.start and not before):
        return None
    if not stage.start:
        return export_of(paths, before[-1])
    for other in before:
        if stage.start == other.name:
            return export_of(paths, other)
    return outside(stage)


def outside(stage: StageConfig) -> str:
    """The export that `start` names outside of this run's table: an export, a stage's folder, or a run.

    Raises:
        UserError: nothing there, not finished, or another kind of checkpoint.
    """
    place = f"stage {stage.name}: start {stage.start}"
    if not storage.exists(stage.start):
        raise UserError(f"{place}: no such folder")
    if storage.exists(storage.join(stage.start, "config.json")) and not is_export(stage.start):
        raise UserError(f"{place}: a checkpoint of a multimodal LLM alone; set mllm.path to it instead")
    if storage.exists(storage.join(stage.start, "checkpoints")) and not is_export(storage.join(stage.start, "export")):
        raise UserError(f"{place}: a training stage that is not finished; run `skel train` on it first")
    return find_export(stage.start, subject=place)


def check_starts(cfg: FullConfig) -> None:
    """Every start outside of the table: there, and of the same kind of renderer; says where its weights do not fit.

    Raises:
        UserError: names the stage, what was expected and what was found.
    """
    before: list[str] = []
    for stage in cfg.train.stages:
        if stage.start and stage.start not in (FRESH, *before):
            export = outside(stage)
            # Only this field: an export of an older version may lack others.
            stored = strict_yaml.parse(storage.read_text(storage.join(export, CONFIG_FILE)))["renderer"]
            kind = stored["kind"]
            place = f"stage {stage.name}: start {stage.start}"
            if kind != cfg.renderer.kind:
                raise UserError(f"{place} holds a renderer of kind {kind}, renderer.kind is {cfg.renderer.kind}")
            wanted = to_plain(cfg)["renderer"]
            others = [name for name in SIZES if name in stored and stored[name] != wanted[name]]
            if others:
                say(f"[train] {place} has another renderer.{', renderer.'.join(others)}; what does not fit begins anew")
        before.append(stage.name)


def labels_of(start: str | None) -> dict[str, list[str]]:
    """Set -> labels that the model a stage starts from was trained on."""
    uri = storage.join(start, LABELS_FILE) if start else ""
    return json.loads(storage.read_text(uri)) if uri and storage.exists(uri) else {}
