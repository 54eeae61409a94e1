"""Clips as the page shows them: frames of the trained renderer, sticks, answer, explanation. A few of every set.

Runs the exported model on a handful of clips, as one Ray task where Ray is connected (so that it finds a GPU where the
cluster has one). Scores nothing: accuracies come from `evaluate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.runtime import manifest
from pipelines.runtime.paths import RunPaths
from pipelines.scores.rows import sample
from pipelines.training.stage import export_of

SIDE = 96
"""Most pixels of a frame's side on the page; keeps it small enough to mail."""
SHOWN_FRAMES = 8
EXPLANATION_TOKENS = 96


@dataclass(frozen=True)
class Shown:
    """One clip of the page, before the model has seen it."""

    key: str
    set: str
    split: str
    label: str
    candidates: tuple[str, ...]
    rationale: str


def choose(cfg: FullConfig, paths: RunPaths) -> list[Shown]:
    """Test and training clips in turn, by hash of their keys; training clips with a rationale first."""
    from pipelines.rationales.answers import load_rationales

    store = ClipStore(paths.shards)
    selection, labels = select(cfg, store), store.labels()
    rationales = load_rationales(paths.rationales) if manifest.read_manifest(paths.rationales) else {}
    trained = cfg.train.sets or store.sets
    shown = []
    for name in trained:
        train = [k for k in selection.train[name] if k in rationales] or list(selection.train[name])
        tests = sample(selection.test[name], -(-cfg.report.clips_per_set // 2))
        trains = sample(train, cfg.report.clips_per_set // 2) if cfg.report.clips_per_set > 1 else []
        asked = {"test": selection.candidates(name), "training": selection.labels[name]}
        for split, keys in (("test", tests), ("training", trains)):
            for key in keys:
                text = rationales.get(key, "")
                shown.append(Shown(key, name, split, labels[key], asked[split], text))
    return shown


def draw(model_uri: str, shards_uri: str, shown: list[Shown], explain: bool) -> list[dict[str, Any]]:
    """Frames, prediction and texts of each clip, in the order given.

    Args:
        model_uri: export folder.
        shards_uri: shard set.
        shown: clips to draw.
        explain: also ask for the model's own rationale, where a stage trained that.
    """
    import torch

    from models import prompts
    from models.draction.fixed import StickRenderer
    from pipelines.data.renderer_input import clip_input, on_device
    from pipelines.exports.store import load_model
    from pipelines.figures.charts import filmstrips
    from pipelines.scores import rules

    model, trained, _ = load_model(model_uri)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = trained.mllm.precision == "bf16"
    model.to(device).eval()
    sticks = StickRenderer(trained.renderer).to(device)
    store, drawn = ClipStore(shards_uri), []
    step = max(1, trained.renderer.frames // SHOWN_FRAMES)
    for item in shown:
        clip = on_device(clip_input(store.clip(item.key), trained.renderer, None, None), device)
        question = prompts.mqa_prompt(item.candidates)
        with torch.no_grad():
            frames, plain = model.renderer([clip]), sticks([clip])
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                scores = model.mllm.score_candidates(frames, [question], [item.candidates])[0]
                answer = model.mllm.generate(frames, [question], trained.evaluate.max_new_tokens)[0]
                asked = [prompts.rationale_prompt()]
                told = model.mllm.generate(frames, asked, EXPLANATION_TOKENS)[0] if explain else None
        means = rules.closed_set(scores.log_prob.cpu().numpy(), scores.tokens.cpu().numpy())
        shares = rules.probabilities(means)
        drawn.append(
            {
                "key": item.key,
                "split": item.split,
                "label": item.label,
                "prediction": item.candidates[int(means.argmax())],
                "probability": float(shares.max()),
                "of_truth": float(shares[item.candidates.index(item.label)]) if item.label in item.candidates else None,
                "answer": answer,
                "explanation": told,
                "rationale": item.rationale,
                "rendered": filmstrips(frames[0, ::step].float().cpu().numpy(), SIDE),
                "sticks": filmstrips(plain[0, ::step].float().cpu().numpy(), SIDE),
            }
        )
    return drawn


def drawn_by_the_model(cfg: FullConfig, paths: RunPaths, shown: list[Shown]) -> list[dict[str, Any]]:
    """`draw` with the model of the last training stage; empty where there is none that is finished.

    As one Ray task where Ray is connected: it finds a GPU where the cluster has one.
    """
    finished = cfg.train.stages and manifest.read_manifest(f"{paths.train}/{cfg.train.stages[-1].name}")
    if not finished or not shown:
        return []
    import ray

    # The page shows what is there, also where the configuration has moved on since.
    model_uri = export_of(paths, cfg.train.stages[-1])
    explain = any("rationale" in stage.tasks for stage in cfg.train.stages)
    if not ray.is_initialized():
        return draw(model_uri, paths.shards, shown, explain)
    task = ray.remote(num_cpus=cfg.train.cpus_per_worker, num_gpus=cfg.train.gpus_per_worker)(draw)
    return ray.get(task.remote(model_uri, paths.shards, shown, explain))


def examples(
    cfg: FullConfig, paths: RunPaths, worst: list[tuple[Shown, dict[str, Any]]]
) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Clips for the page; both empty where there is no finished model.

    Args:
        cfg: the run's configuration.
        paths: the run.
        worst: clips of confusions and what each is an example of, from `report_worst.choose`.

    Returns:
        [{"set", "clips"}] of some clips of every set, and set -> clips of its worst confusions.
    """
    trained = bool(cfg.train.stages) and manifest.read_manifest(f"{paths.train}/{cfg.train.stages[-1].name}")
    some = choose(cfg, paths) if trained and cfg.report.clips_per_set else []
    drawn = drawn_by_the_model(cfg, paths, some + [shown for shown, _ in worst])
    groups: dict[str, list[dict[str, Any]]] = {}
    for item, clip in zip(some, drawn, strict=False):
        groups.setdefault(item.set, []).append(clip)
    confused: dict[str, list[dict[str, Any]]] = {}
    for (item, found), clip in zip(worst, drawn[len(some) :], strict=False):
        confused.setdefault(item.set, []).append({**clip, **found})
    return [{"set": name, "clips": clips} for name, clips in groups.items()], confused
