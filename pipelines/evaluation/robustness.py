"""A trained model + test clips -> its accuracy under perturbed data: a curve, its area and intervals per perturbation.

Model, shards -> OUT/robustness.json and OUT/robustness/rows-*/ (batch inference on Ray Data; broken off, it goes
on with the clips that have no row yet). The figures are top-1 of the headline rule of `metrics`; nothing is tuned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.evaluation.any_checkpoint import EvaluationRequest, configure_evaluation
from pipelines.evaluation.perturbations import CLEAN, Cell, Curve, PerturbedClips, list_cells, select_curves
from pipelines.evaluation.stage import Evaluation, protocols_used, select_test_clips
from pipelines.exports.find import find_export, identity
from pipelines.inference.scorer import Scorer, score
from pipelines.leakage.of_export import check_export
from pipelines.runtime import manifest
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import UserError
from pipelines.runtime.manifest import run_once
from pipelines.runtime.progress import say
from pipelines.scores import bootstrap
from pipelines.scores.blocks import IntervalBlock
from pipelines.scores.metrics import HEADLINE, ClipScore, Scoreboard, round_interval
from pipelines.scores.rows import ClipToScore
from skeleton_io import storage

ROBUSTNESS_VERSION = 1
"""Raised whenever the same model gets other curves on the same clips."""
FILE = "robustness.json"
_CLEAN = Cell(CLEAN, 0.0, 0)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RobustnessRequest:
    """What the command line names.

    Attributes:
        base: model, shards, protocols, sets, folder, overrides.
        curves: names; empty: all.
        seeds: how often a random perturbation is drawn.
    """

    base: EvaluationRequest
    curves: tuple[str, ...]
    seeds: int


class PerturbedScorer(Scorer):
    """`Scorer` that reads keys of `perturbations.Cell`."""

    def __init__(
        self, model_uri: str, shards_uri: str, candidates: dict[str, tuple[str, ...]], cfg: FullConfig
    ) -> None:
        super().__init__(model_uri, shards_uri, candidates, cfg)
        self.store = PerturbedClips(ClipStore(shards_uri))


@dataclass(frozen=True)
class Trial:
    """Everything that is to be scored.

    Attributes:
        request: the command line.
        cfg: the export's configuration with this evaluation's overrides.
        export, model_key: folder and identity of the model.
        store: the clips.
        curves: that are tried.
        questions: every clip in every cell that applies to it, keys of `Cell.key`.
        candidates: set -> labels.
        rows: folder of the rows.
    """

    request: RobustnessRequest
    cfg: FullConfig
    export: str
    model_key: str
    store: ClipStore
    curves: tuple[Curve, ...]
    questions: tuple[ClipToScore, ...]
    candidates: dict[str, tuple[str, ...]]
    rows: str

    def summary(self, scored: Sequence[ClipScore]) -> dict[str, Any]:
        """The content of robustness.json but for time and machine."""
        scoreboard = Scoreboard(self.candidates, self.cfg.evaluate.bootstrap, self.cfg.seed)
        head = {
            "version": ROBUSTNESS_VERSION,
            "model": self.model_key,
            "checkpoint": self.request.base.model,
            "shards": {"uri": self.request.base.shards, "digest": self.store.digest},
            "protocols": protocols_used(self.cfg, self.store),
            "rule": HEADLINE,
            "seeds": self.request.seeds,
            "rows": storage.name(self.rows),
        }
        return head | summarise(scoreboard, self.curves, self.request.seeds, scored)

    def write(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Writes robustness.json and returns it."""
        now = {"written": datetime.now(UTC).isoformat(timespec="seconds"), "provenance": manifest.provenance()}
        storage.write_atomic(storage.join(self.request.base.out, FILE), json.dumps({**summary, **now}, indent=1))
        return {**summary, **now}


def prepare(request: RobustnessRequest, gpus: float) -> Trial:
    """What is to be scored; `gpus`: for each actor.

    Raises:
        UserError: no model, shards, set, curve or test clips there, or the model has seen what the test asks.
    """
    curves = select_curves(request.curves)
    if request.seeds < 1:
        raise UserError(f"--seeds {request.seeds}: expected at least 1")
    export = find_export(request.base.model)
    store = ClipStore(request.base.shards)
    cfg = configure_evaluation(request.base, export, store, gpus)
    # Only the likelihoods are read: writing would take most of the time.
    cfg = replace(cfg, evaluate=replace(cfg.evaluate, generate=False, answer="direct"))
    check_export(cfg, export, store)
    selection = select(cfg, store)
    questions = select_test_clips(cfg, store, selection)
    if not questions:
        raise UserError("nothing to evaluate: no set has test clips under its protocol")
    candidates = {name: tuple(selection.candidates(name)) for name in store.sets}
    model = identity(export)
    out = storage.join(request.base.out, "robustness")
    # A cell is part of the key: scorer, rows and resuming stay those of the plain evaluation.
    every = [replace(q, key=cell.key(q.key)) for cell, qs in plan(curves, request.seeds, store, questions) for q in qs]
    # Named by the clean questions: other curves or seeds add rows to the same folder.
    rows = Evaluation(cfg, export, model, request.base.shards, out).rows("rows", model, questions, candidates)
    return Trial(request, cfg, export, model, store, curves, tuple(every), candidates, rows)


def run(request: RobustnessRequest) -> dict[str, Any]:
    """Scores all cells and writes robustness.json; Ray must be connected.

    Returns:
        The content of robustness.json. Only `written` and `seconds` differ between two runs of the same.

    Raises:
        UserError: see `prepare`.
    """
    import ray

    trial = prepare(request, 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0)
    key = digest("robustness", ROBUSTNESS_VERSION, storage.name(trial.rows), sorted(q.key for q in trial.questions))

    def work() -> dict[str, Any]:
        clips, uri = trial.questions, request.base.shards
        scored = score(trial.export, uri, clips, trial.candidates, trial.rows, trial.cfg, "robustness", PerturbedScorer)
        return trial.summary(scored)

    report = trial.write(run_once("robustness", storage.join(request.base.out, "robustness"), key, work))
    for curve in report["curves"]:
        retained, area = curve["retained"]["value"], curve["area"]["value"]
        share = "-" if retained is None else f"{retained:.0%}"
        say(f"[robustness] {curve['name']}: area {area:.3f}, {share} of clean, {curve['clips']} clips")
    return report


def plan(
    curves: Sequence[Curve], seeds: int, store: ClipStore, questions: Sequence[ClipToScore]
) -> list[tuple[Cell, list[ClipToScore]]]:
    """Cells with the clips that they apply to; the clean one has all."""
    # Each clip is read once for all curves.
    fitting: dict[str, list[ClipToScore]] = {curve.name: [] for curve in curves}
    for question in questions:
        clip = store.clip(question.key)
        for curve in curves:
            if curve.applies(clip):
                fitting[curve.name].append(question)
    out = [(_CLEAN, list(questions))]
    for curve in curves:
        out += [(cell, fitting[curve.name]) for cell in list_cells(curve, seeds) if fitting[curve.name]]
    return out


def summarise(
    scoreboard: Scoreboard, curves: Sequence[Curve], seeds: int, scored: Sequence[ClipScore]
) -> dict[str, Any]:
    """Scored cells -> {"clean", "curves"}; a curve that fits no clip is listed with 0 clips under "left_out".

    Args:
        scoreboard: candidates and intervals.
        curves: in the order of the file.
        seeds: of random curves.
        scored: keys are those of `Cell.key`.
    """
    hits: dict[Cell, dict[str, bool]] = {}
    sets: dict[str, str] = {}
    chance: dict[str, float] = {}
    for entry in scored:
        cell, clip = Cell.of(entry.key)
        hits.setdefault(cell, {})[clip] = scoreboard.ranked(entry, HEADLINE, 1)
        sets[clip], chance[clip] = entry.set, 1 / len(scoreboard.candidates[entry.set])
    clean = hits[_CLEAN]
    blocks, left_out = [], []
    for curve in curves:
        table = _table(curve, seeds, hits)
        if table is None:
            left_out.append(curve.name)
            continue
        clips, values = table
        blocks.append(
            {
                **_curve(scoreboard, curve, values),
                "chance": round(float(np.mean([chance[clip] for clip in clips])), 4),
                "sets": _by_set(scoreboard, curve, clips, values, sets),
            }
        )
    return {
        "clips": len(clean),
        "clean": scoreboard.share([clean[clip] for clip in sorted(clean)]),
        "chance": round(float(np.mean(list(chance.values()))), 4),
        "curves": blocks,
        "left_out": left_out,
    }


def _table(curve: Curve, seeds: int, hits: Mapping[Cell, Mapping[str, bool]]) -> tuple[list[str], Floats] | None:
    """Clips, and (clips, levels, seeds) 0 or 1; None where the curve fits no clip."""
    wanted = list_cells(curve, seeds)
    if wanted[0] not in hits:
        return None
    clips = sorted(hits[wanted[0]])
    runs = seeds if curve.random else 1
    values = np.empty((len(clips), len(curve.levels), runs))
    for i, clip in enumerate(clips):
        # Level 0 is the same clip in every curve and under every seed.
        values[i, 0] = hits[_CLEAN][clip]
        for cell in wanted:
            values[i, curve.levels.index(cell.level), cell.seed] = hits[cell][clip]
    return clips, values


def area(levels: Sequence[float], values: Floats) -> Floats:
    """Mean height of a curve over its range: trapezoidal area divided by the range.

    Args:
        levels: (L,) rising or falling.
        values: (..., L).

    Returns:
        (...,).
    """
    # Joints and frames fall from the left to the right.
    steps = np.abs(np.diff(np.asarray(levels, np.float64)))
    return ((values[..., 1:] + values[..., :-1]) / 2 * steps).sum(-1) / steps.sum()


def _curve(scoreboard: Scoreboard, curve: Curve, values: Floats) -> dict[str, Any]:
    """Points, area and what is kept of the clean accuracy. Intervals: bootstrap over clips of the mean over seeds."""
    # Clips are resampled, seeds are not: a seed is no sample of the population of clips.
    per_clip = values.mean(-1)
    points = []
    for k, level in enumerate(curve.levels):
        # The clean level has no seeds.
        runs = [round(float(run), 4) for run in values[:, k].mean(0)] if k else []
        points.append({"level": level, **_mean(scoreboard, per_clip[:, k]), "seeds": runs})
    areas = area(curve.levels, per_clip)
    return {
        "name": curve.name,
        "title": curve.title,
        "unit": curve.unit,
        "random": curve.random,
        "clips": len(values),
        "points": points,
        "area": _mean(scoreboard, areas),
        "retained": scoreboard.statistic(lambda counts: _ratio(counts @ areas, counts @ per_clip[:, 0]), len(values)),
    }


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)


def _mean(scoreboard: Scoreboard, values: Floats) -> IntervalBlock:
    return round_interval(bootstrap.bootstrap(values, scoreboard.seed, scoreboard.resamples))


def _by_set(
    scoreboard: Scoreboard, curve: Curve, clips: Sequence[str], values: Floats, sets: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Set -> accuracies by level and area."""
    out = {}
    for name in sorted({sets[clip] for clip in clips}):
        mine = values[[i for i, clip in enumerate(clips) if sets[clip] == name]].mean(-1)
        heights = [round(float(height), 4) for height in mine.mean(0)]
        out[name] = {"clips": len(mine), "values": heights, "area": _mean(scoreboard, area(curve.levels, mine))}
    return out
