"""What decides a training stage's result, as hashes: the key of a stage, and which stages are finished under theirs.

Trains nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pipelines.batches import negatives
from pipelines.batches.tasks.registry import take_unlabelled
from pipelines.config.key_fields import key_values
from pipelines.config.stages import StageConfig
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.exports import start_points
from pipelines.exports.find import identity
from pipelines.exports.start_points import export_of
from pipelines.runtime import manifest
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import RunPaths
from skeleton_io import storage


def check_sets(cfg: FullConfig, store: ClipStore, sets: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the sets to train on.

    Raises:
        UserError: the shards hold no such set.
    """
    names = sets or cfg.train.sets or store.sets
    unknown = sorted(set(names) - set(store.sets))
    if unknown:
        raise UserError(f"train.sets names {', '.join(unknown)}; the shards hold {', '.join(store.sets)}")
    return tuple(sorted(names))


def shared_settings(cfg: FullConfig) -> dict[str, Any]:
    """What all stages share and what decides their result: the fields of `train` that are not marked as keyless.

    What only some tasks need is in `task_inputs`.
    """
    return key_values(cfg.train)


def checkpoint_key(path: str) -> object:
    """A checkpoint folder or URI: hash of its config.json, names and bytes of its weight files. A hub id: itself."""
    if not (storage.exists(path) if "://" in path else Path(path).is_dir()):
        return path
    fs, folder = storage.filesystem(path)
    fs.invalidate_cache()
    sizes = {storage.name(entry["name"]): entry["size"] for entry in fs.ls(folder, detail=True)}
    config = storage.join(path, "config.json")
    config_bytes = storage.read_bytes(config) if storage.exists(config) else b""
    return storage.sha256(config_bytes), sorted(
        (name, size) for name, size in sizes.items() if name.endswith((".safetensors", ".bin"))
    )


def start_key(cfg: FullConfig, paths: RunPaths, start: str | None) -> object:
    """What identifies the model that a stage starts from."""
    if start is not None:
        stage = manifest.read_manifest(start.rstrip("/").rsplit("/", 1)[0])
        return stage["key"] if stage else identity(start)
    if cfg.mllm.path:
        return checkpoint_key(cfg.mllm.path)
    tiny_mllm = manifest.read_manifest(paths.mllm)
    if tiny_mllm is None:
        raise UserError(f"no multimodal LLM in {paths.mllm}; run `skel tiny-mllm` first, or set mllm.path")
    return tiny_mllm["key"]


def stage_key(cfg: FullConfig, paths: RunPaths, stage: StageConfig, start: str | None, sets: tuple[str, ...]) -> str:
    """Hash of everything that decides a stage's result."""
    store = ClipStore(paths.shards)
    names = check_sets(cfg, store, sets)
    selection = select(cfg, store)
    clips = {name: (selection.train[name], selection.validation[name]) for name in names}
    if take_unlabelled(stage.tasks):
        clips |= {f"{name} unlabelled": (selection.unlabelled_train[name], ()) for name in names}
    row = dataclasses.replace(stage, start="")  # what it leads to is in the key, wherever it lies
    shared, inputs, before = shared_settings(cfg), task_inputs(cfg, paths, stage), start_key(cfg, paths, start)
    return digest("train", 2, cfg.seed, row, shared, cfg.renderer, cfg.mllm, clips, store.digest, inputs, before)


def task_inputs(cfg: FullConfig, paths: RunPaths, stage: StageConfig) -> dict[str, object]:
    """What the tasks of a stage read beside the clips: settings, the bytes of the user's files, the rationales' key.

    Raises:
        UserError: there are no rationales.
    """
    inputs: dict[str, object] = {}
    if "rationale" in stage.tasks:
        rationales = manifest.read_manifest(paths.rationales)
        if rationales is None:
            raise UserError(f"stage {stage.name} needs rationales, none in {paths.rationales}; run `skel rationales`")
        inputs["rationale"] = rationales["key"]
    for task, settings in (("yesno", cfg.train.negatives), ("qa", cfg.train.questions)):
        if task in stage.tasks:
            inputs[task] = (dataclasses.replace(settings, file=""), negatives.hash_file(settings.file))
    return inputs


def finished_stages(cfg: FullConfig, paths: RunPaths) -> list[tuple[str, str]]:
    """(export, key) of the stages of the table that are finished with this configuration, from the first on.

    The list ends before the first stage that is missing or was trained with another configuration.
    """
    finished: list[tuple[str, str]] = []
    for number, stage in enumerate(cfg.train.stages):
        written = manifest.read_manifest(storage.join(paths.train, stage.name))
        start = start_points.start_of(cfg, paths, number)
        if written is None or written["key"] != stage_key(cfg, paths, stage, start, ()):
            break
        finished.append((export_of(paths, stage), written["key"]))
    return finished
