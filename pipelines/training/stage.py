"""Stage: trains the stages of the table, each from the model that its row names: one Ray Train run per stage.

Shards, rationales and a multimodal LLM -> train/<stage>/ with metrics, checkpoints and export/. A finished stage is
skipped; one that was stopped, with its workers or with this driver, goes on from its newest checkpoint.
`skel train --local` trains in this process, without Ray and DeepSpeed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from models.prompts import PROMPTS_VERSION
from pipelines.batches import negatives
from pipelines.batches.negatives import build_negatives, load_negatives
from pipelines.config.stages import StageConfig
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.exports import start_points
from pipelines.exports.start_points import check_starts, export_of
from pipelines.leakage import of_run as leakage
from pipelines.runtime import manifest, stop
from pipelines.runtime.errors import UserError
from pipelines.runtime.manifest import run_once
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.progress import say
from pipelines.trainer.checkpoints import remove_other_keys
from pipelines.trainer.local_run import fit_here
from pipelines.training.confusions import mine_confusions
from pipelines.training.job import StageJob
from pipelines.training.keys import check_sets, stage_key
from pipelines.training.stage_data import labelled_keys
from skeleton_io import storage

LOOP = "pipelines.training.loop:StageLoop"
RUNS = "checkpoints"
"""Folder of a stage below which Ray Train keeps its runs and their checkpoints."""
Runner = Callable[[StageJob, str], dict[str, Any]]


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
        sets=check_sets(cfg, ClipStore(paths.shards), sets),
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
    remove_other_keys(runs, key)
    if job.negatives:
        mine_negatives(job, key, local=runner is run_local)
    return (runner or run_ray)(job, key)


def mine_negatives(job: StageJob, key: str, local: bool) -> None:
    """Writes the wrong labels of the stage's yes/no questions; leaves those of a run with the same key.

    A resumed stage thus asks what it asked before, whatever the machine.
    """
    mined = load_negatives(job.negatives)
    if mined is not None and mined.provenance["stage_key"] == key:
        return
    store, settings = ClipStore(job.shards), job.cfg.train.negatives
    selection, labels = select(job.cfg, store), store.labels()
    keys = labelled_keys(job, selection)
    confused, origin = None, {}
    if settings.miner == "confusions" and job.start is None:
        say(f"[train {job.stage.name}] no model to ask for confusions yet; negatives go by the wording of the labels")
    elif settings.miner == "confusions":
        rows = storage.join(job.out, f"confusions-{key}")
        confused, clips = mine_confusions(job, keys, labels, rows, local)
        origin = {"model": job.start, "clips": clips, "prompts": PROMPTS_VERSION}
    tables = build_negatives(settings, keys, labels, {name: selection.labels[name] for name in keys}, confused)
    origin |= {"stage_key": key, "shards": store.digest, **manifest.provenance(), **tables.provenance}
    negatives.Negatives(tables.tables, origin).save(job.negatives)


def run_ray(job: StageJob, key: str) -> dict[str, Any]:
    """One `TorchTrainer.fit()`."""
    from pipelines.trainer.ray_run import fit  # the plain loop must run without Ray

    return fit(LOOP, job, storage.join(job.out, RUNS), key)


def run_local(job: StageJob, key: str) -> dict[str, Any]:
    """The same loop in this process: plain torch, all cores."""
    return fit_here(LOOP, dataclasses.replace(job, deepspeed=False))


def run(cfg: FullConfig, paths: RunPaths, runner: Runner | None = None) -> dict[str, Any]:
    """All stages of the table in order; each finished one is skipped.

    Raises:
        UserError: the table is empty, training would see what the test asks, or see `train_stage`.
        Stopped: the run was asked to end.
    """
    if not cfg.train.stages:
        raise UserError("nothing to train: train.stages is empty")
    check_starts(cfg)
    leakage.check_run(cfg, paths)
    summaries = []
    for number, stage in enumerate(cfg.train.stages):
        out, start = storage.join(paths.train, stage.name), start_points.start_of(cfg, paths, number)
        key = stage_key(cfg, paths, stage, start, ())
        trained: list[str] = []

        def work(
            stage: StageConfig = stage, start: str | None = start, out: str = out, trained: list[str] = trained
        ) -> dict[str, Any]:
            trained.append(stage.name)
            return train_stage(cfg, paths, stage, start, out, runner=runner)

        summary = run_once(f"train {stage.name}", out, key, work)
        summaries.append(summary)
        if trained and stop.requested(out):  # after its last step, when no rank looks any more
            raise stop.Stopped(f"stage {stage.name} is finished and the run was asked to end; the same command goes on")
    # The summary's own URI is out of date where a run was moved.
    return {"stages": summaries, "export": export_of(paths, cfg.train.stages[-1])}


def train_local(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """`run` in this process, without Ray and DeepSpeed."""
    return run(cfg, paths, run_local)
