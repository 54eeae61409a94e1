"""Stage: trains the stages of the table, each from the model that its row names: one Ray Train run per stage.

Shards, rationales and a multimodal LLM -> train/<stage>/ with metrics, checkpoints and export/. A finished stage is
skipped; one that was stopped, with its workers or with this driver, goes on from its newest checkpoint.
`python -m pipelines.train --config X --out RUN --local` trains in this process, without Ray and DeepSpeed.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.prompts import PROMPTS_VERSION
from pipelines import leakage, manifest, negatives, starts, stop
from pipelines.config import (
    FaultsConfig,
    FullConfig,
    MetricsConfig,
    NegativesConfig,
    QuestionsConfig,
    StageConfig,
    digest,
)
from pipelines.datasource import ClipStore
from pipelines.errors import UserError
from pipelines.exports import identity
from pipelines.manifest import RunPaths
from pipelines.progress import say
from pipelines.selection import select
from pipelines.stage_data import LABEL_FREE, labelled_keys
from pipelines.starts import export_of
from pipelines.train_loop import StageJob, StageLoop
from skeleton_io import storage

RUNS = "checkpoints"
"""Folder of a stage below which Ray Train keeps its runs and their checkpoints."""
Runner = Callable[[StageJob, str], dict[str, Any]]


def checked_sets(cfg: FullConfig, store: ClipStore, sets: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the sets to train on.

    Raises:
        UserError: the shards hold no such set.
    """
    wanted = sets or cfg.train.sets or store.sets
    unknown = sorted(set(wanted) - set(store.sets))
    if unknown:
        raise UserError(f"train.sets names {', '.join(unknown)}; the shards hold {', '.join(store.sets)}")
    return tuple(sorted(wanted))


def shared_settings(cfg: FullConfig) -> Any:
    """What all stages share and what decides their result; saving, retries, a worker's share do not.

    Neither does how the work is cut (workers, micro batches, sharding): a stage goes on with another cut, and differs
    by rounding. Validation decides where the best checkpoint is what is exported.

    What only some tasks need is in `task_inputs`.
    """
    return dataclasses.replace(
        cfg.train,
        stages=(),
        negatives=NegativesConfig(),
        questions=QuestionsConfig(),
        workers=1,
        min_workers=0,
        resize_check_s=0,
        faults=FaultsConfig(),
        metrics=MetricsConfig(),
        micro_batch=1,
        zero_stage=0,
        offload=False,
        checkpoint_every=1,
        keep_checkpoints=1,
        keep_best=0,
        max_failures=0,
        cpus_per_worker=1,
        gpus_per_worker=0,
        threads_per_worker=1,
        validate_clips=cfg.train.validate_clips if cfg.train.export_best else 0,
        validate_every=cfg.train.validate_every if cfg.train.export_best else 0,
    )


def checkpoint_key(path: str) -> object:
    """A checkpoint folder or URI: hash of its config.json, names and bytes of its weight files. A hub id: itself."""
    if not (storage.exists(path) if "://" in path else Path(path).is_dir()):
        return path
    fs, folder = storage.filesystem(path)
    fs.invalidate_cache()
    found = {storage.name(entry["name"]): entry["size"] for entry in fs.ls(folder, detail=True)}
    config = storage.join(path, "config.json")
    described = storage.read_bytes(config) if storage.exists(config) else b""
    return storage.sha256(described), sorted(
        (name, size) for name, size in found.items() if name.endswith((".safetensors", ".bin"))
    )


def start_key(cfg: FullConfig, paths: RunPaths, start: str | None) -> object:
    """What identifies the model that a stage starts from."""
    if start is not None:
        found = manifest.read_manifest(start.rstrip("/").rsplit("/", 1)[0])
        return found["key"] if found else identity(start)
    if cfg.mllm.path:
        return checkpoint_key(cfg.mllm.path)
    found = manifest.read_manifest(paths.mllm)
    if found is None:
        raise UserError(f"no multimodal LLM in {paths.mllm}; run `skel tiny-mllm` first, or set mllm.path")
    return found["key"]


def stage_key(cfg: FullConfig, paths: RunPaths, stage: StageConfig, start: str | None, sets: tuple[str, ...]) -> str:
    """Hash of everything that decides a stage's result."""
    store = ClipStore(paths.shards)
    chosen = checked_sets(cfg, store, sets)
    selection = select(cfg, store)
    clips = {name: (selection.train[name], selection.validation[name]) for name in chosen}
    if any(task in stage.tasks for task in LABEL_FREE):
        clips |= {f"{name} unlabelled": (selection.unlabelled_train[name], ()) for name in chosen}
    row = dataclasses.replace(stage, start="")  # what it leads to is in the key, wherever it lies
    shared, inputs, before = shared_settings(cfg), task_inputs(cfg, paths, stage), start_key(cfg, paths, start)
    return digest("train", 2, cfg.seed, row, shared, cfg.renderer, cfg.mllm, clips, store.digest, inputs, before)


def task_inputs(cfg: FullConfig, paths: RunPaths, stage: StageConfig) -> dict[str, object]:
    """What the tasks of a stage read beside the clips: settings, the bytes of the user's files, the rationales' key.

    Raises:
        UserError: there are no rationales.
    """
    found: dict[str, object] = {}
    if "rationale" in stage.tasks:
        made = manifest.read_manifest(paths.rationales)
        if made is None:
            raise UserError(f"stage {stage.name} needs rationales, none in {paths.rationales}; run `skel rationales`")
        found["rationale"] = made["key"]
    for task, settings in (("yesno", cfg.train.negatives), ("qa", cfg.train.questions)):
        if task in stage.tasks:
            found[task] = (dataclasses.replace(settings, file=""), negatives.file_sha(settings.file))
    return found


def finished_stages(cfg: FullConfig, paths: RunPaths) -> list[tuple[str, str]]:
    """(export, key) of the stages of the table that are finished with this configuration, from the first on.

    The list ends before the first stage that is missing or was trained with another configuration.
    """
    finished: list[tuple[str, str]] = []
    for number, stage in enumerate(cfg.train.stages):
        found = manifest.read_manifest(storage.join(paths.train, stage.name))
        start = starts.start_of(cfg, paths, number)
        if found is None or found["key"] != stage_key(cfg, paths, stage, start, ()):
            break
        finished.append((export_of(paths, stage), found["key"]))
    return finished


def make_job(
    cfg: FullConfig, paths: RunPaths, stage: StageConfig, start: str | None, out: str, sets: tuple[str, ...]
) -> StageJob:
    """The job of one stage of a run."""
    return StageJob(
        cfg=cfg,
        stage=stage,
        shards=paths.shards,
        rationales=paths.rationales,
        mllm=cfg.mllm.path or paths.mllm,
        start=start,
        out=out,
        sets=checked_sets(cfg, ClipStore(paths.shards), sets),
        negatives=storage.join(out, negatives.NEGATIVES_FILE) if "yesno" in stage.tasks else "",
    )


def train_stage(
    cfg: FullConfig,
    paths: RunPaths,
    stage: StageConfig,
    start: str | None,
    out: str,
    sets: tuple[str, ...] = (),
    runner: Runner | None = None,
) -> dict[str, Any]:
    """Trains one stage; goes on from its newest checkpoint where one with the same key was broken off.

    Args:
        cfg: the run's configuration.
        paths: the run: shards, rationales and the tiny LLM are found there.
        stage: the row of the table.
        start: export to start from; None: the LLM's checkpoint and a fresh renderer.
        out: URI of the stage's folder.
        sets: sets to train on; empty: those of `train.sets`, or all.
        runner: how; None: Ray Train with DeepSpeed.

    Returns:
        Summary with steps, first and last loss, rates, validation accuracy, the renderer's change, and `export`.

    Raises:
        UserError: the cluster is too small, or an input is missing.
        StageFailed: the loss is not a number, or the workers failed too often.
    """
    key, runs = stage_key(cfg, paths, stage, start, sets), storage.join(out, RUNS)
    job = make_job(cfg, paths, stage, start, out, sets)
    job = dataclasses.replace(job, checkpoints=storage.join(runs, key))
    if storage.exists(runs):
        # Other keys are other results: their checkpoints must not be taken up by a later change back.
        for name in {file.split("/", 1)[0] for file in storage.list_files(runs)} - {key}:
            storage.remove(storage.join(runs, name))
    if job.negatives:
        mine_negatives(job, key, local=runner is run_local)
    return (runner or run_ray)(job, key)


def mine_negatives(job: StageJob, key: str, local: bool) -> None:
    """Writes the wrong labels of the stage's yes/no questions; leaves those of a run with the same key.

    A resumed stage thus asks what it asked before, whatever the machine.
    """
    found = negatives.load(job.negatives)
    if found is not None and found.provenance["stage_key"] == key:
        return
    store, settings = ClipStore(job.shards), job.cfg.train.negatives
    selection, labels = select(job.cfg, store), store.labels()
    keys = labelled_keys(job, selection)
    confused, told = None, {}
    if settings.miner == "confusions" and job.start is None:
        say(f"[train {job.stage.name}] no model to ask for confusions yet; negatives go by the wording of the labels")
    elif settings.miner == "confusions":
        from pipelines import confusions

        rows = storage.join(job.out, f"confusions-{key}")
        confused, clips = confusions.mined(job, keys, labels, rows, local)
        told = {"model": job.start, "clips": clips, "prompts": PROMPTS_VERSION}
    made = negatives.build(settings, keys, labels, {name: selection.labels[name] for name in keys}, confused)
    told |= {"stage_key": key, "shards": store.digest, **manifest.provenance(), **made.provenance}
    negatives.Negatives(made.tables, told).save(job.negatives)


def run_ray(job: StageJob, key: str) -> dict[str, Any]:
    """One `TorchTrainer.fit()`."""
    from pipelines.ray_stage import fit

    return fit(job, storage.join(job.out, RUNS), key)


def run_local(job: StageJob, key: str) -> dict[str, Any]:
    """The same loop in this process: plain torch, all cores."""
    from pipelines.context import LocalContext

    loop = StageLoop(dataclasses.replace(job, deepspeed=False), LocalContext())
    stop.withdraw(job.out)
    with stop.on_sigterm(lambda: stop.request(job.out)):
        loop.run()
    return loop.finish()


def run(cfg: FullConfig, paths: RunPaths, runner: Runner | None = None) -> dict[str, Any]:
    """All stages of the table in order; each finished one is skipped.

    Raises:
        UserError: the table is empty, training would see what the test asks, or see `train_stage`.
        Stopped: the run was asked to end.
    """
    if not cfg.train.stages:
        raise UserError("nothing to train: train.stages is empty")
    starts.check(cfg)
    leakage.check_run(cfg, paths)
    summaries = []
    for number, stage in enumerate(cfg.train.stages):
        out, start = storage.join(paths.train, stage.name), starts.start_of(cfg, paths, number)
        key = stage_key(cfg, paths, stage, start, ())
        trained: list[str] = []

        def work(
            stage: StageConfig = stage, start: str | None = start, out: str = out, trained: list[str] = trained
        ) -> dict[str, Any]:
            trained.append(stage.name)
            return train_stage(cfg, paths, stage, start, out, runner=runner)

        summary = manifest.run_stage(f"train {stage.name}", out, key, work)
        summaries.append(summary)
        if trained and stop.requested(out):  # after its last step, when no rank looks any more
            raise stop.Stopped(f"stage {stage.name} is finished and the run was asked to end; the same command goes on")
    # The summary's own URI is out of date where a run was moved.
    return {"stages": summaries, "export": export_of(paths, cfg.train.stages[-1])}


def train_local(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """`run` in this process, without Ray and DeepSpeed."""
    return run(cfg, paths, run_local)


def main(argv: list[str] | None = None) -> int:
    """Command line of the module; `skel train` is the usual way."""
    from pipelines import config as configuration
    from pipelines import full
    from pipelines.cluster import connected, set_offline

    parser = argparse.ArgumentParser(prog="python -m pipelines.train", description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--local", action="store_true", help="in this process, without Ray and DeepSpeed")
    args, rest = parser.parse_known_args(argv)

    def work() -> None:
        set_offline()
        cfg = configuration.override(configuration.load(args.config), rest)
        paths = RunPaths(full.absolute(args.out))
        if args.local:
            train_local(cfg, paths)
            return
        with connected():
            run(cfg, paths)

    return full.guarded(work)


if __name__ == "__main__":
    sys.exit(main())
