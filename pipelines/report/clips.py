"""Clips as the page shows them: frames of the trained renderer, sticks, answer, explanation. A few of every set.

Runs the exported model on a handful of clips, as one Ray task where Ray is connected (so that it finds a GPU where the
cluster has one). Scores nothing: accuracies come from `evaluate`.
"""

from __future__ import annotations

from collections.abc import Sequence

from models import prompts
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.figures.charts import filmstrips
from pipelines.rationales.answers import load_rationales
from pipelines.report.page_clips import ClipGroup, DrawnClip, DrawnConfusion, PageClip, WorstClip
from pipelines.runtime import manifest
from pipelines.runtime.paths import RunPaths
from pipelines.scores import rules
from pipelines.scores.rows import sample_keys
from pipelines.training.stage import export_of

SIDE = 96
"""Most pixels of a frame's side on the page; keeps it small enough to mail."""
STRIP_FRAMES = 8
EXPLANATION_TOKENS = 96


def choose_clips(cfg: FullConfig, paths: RunPaths) -> list[PageClip]:
    """Test and training clips in turn, by hash of their keys; training clips with a rationale first."""
    store = ClipStore(paths.shards)
    selection, labels = select(cfg, store), store.labels()
    rationales = load_rationales(paths.rationales) if manifest.read_manifest(paths.rationales) else {}
    clips = []
    for name in cfg.train.sets or store.sets:
        # The page shows the teacher's words too, where there are any.
        train = [k for k in selection.train[name] if k in rationales] or list(selection.train[name])
        # Of an odd number the test gets the larger half.
        tests = sample_keys(selection.test[name], -(-cfg.report.clips_per_set // 2))
        trains = sample_keys(train, cfg.report.clips_per_set // 2) if cfg.report.clips_per_set > 1 else []
        candidates = {"test": selection.candidates(name), "training": selection.labels[name]}
        for split, keys in (("test", tests), ("training", trains)):
            for key in keys:
                about = {"key": key, "set": name, "split": split, "label": labels[key]}
                clips.append(PageClip(**about, candidates=candidates[split], rationale=rationales.get(key, "")))
    return clips


def draw_clips(model_uri: str, shards_uri: str, clips: list[PageClip], explain: bool) -> list[DrawnClip]:
    """Frames, prediction and texts of each clip, in their order.

    Args:
        model_uri: export folder.
        shards_uri: shard set.
        clips: which.
        explain: also ask for the model's own rationale, where a stage trained that.
    """
    import torch

    from models.draction.fixed import StickRenderer
    from pipelines.data.renderer_input import clip_input, on_device
    from pipelines.exports.store import load_model

    model, trained, _ = load_model(model_uri)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = trained.mllm.precision == "bf16"
    model.to(device).eval()
    # The same camera and frames without anything learned: what the renderer adds can be seen.
    sticks = StickRenderer(trained.renderer).to(device)
    store, drawn = ClipStore(shards_uri), []
    # Every so many-th frame, so that the strip spans the clip.
    step = max(1, trained.renderer.frames // STRIP_FRAMES)
    for item in clips:
        clip = on_device(clip_input(store.clip(item.key), trained.renderer, None, None), device)
        question = prompts.mqa_prompt(item.candidates)
        with torch.no_grad():
            frames, plain = model.renderer([clip]), sticks([clip])
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                scores = model.mllm.score_candidates(frames, [question], [item.candidates])[0]
                answer = model.mllm.generate(frames, [question], trained.evaluate.max_new_tokens)[0]
                why = [prompts.rationale_prompt()]
                explanation = model.mllm.generate(frames, why, EXPLANATION_TOKENS)[0] if explain else None
        means = rules.closed_set(scores.log_prob.cpu().numpy(), scores.tokens.cpu().numpy())
        shares = rules.probabilities(means)
        drawn.append(
            DrawnClip(
                key=item.key,
                split=item.split,
                label=item.label,
                rationale=item.rationale,
                prediction=item.candidates[int(means.argmax())],
                probability=float(shares.max()),
                of_truth=float(shares[item.candidates.index(item.label)]) if item.label in item.candidates else None,
                answer=answer,
                explanation=explanation,
                rendered=filmstrips(frames[0, ::step].float().cpu().numpy(), SIDE),
                sticks=filmstrips(plain[0, ::step].float().cpu().numpy(), SIDE),
            )
        )
    return drawn


def draw_with_trained(cfg: FullConfig, paths: RunPaths, clips: list[PageClip]) -> list[DrawnClip]:
    """`draw_clips` with the model of the last training stage; empty where there is none that is finished.

    As one Ray task where Ray is connected: it finds a GPU where the cluster has one.
    """
    finished = cfg.train.stages and manifest.read_manifest(f"{paths.train}/{cfg.train.stages[-1].name}")
    if not finished or not clips:
        return []
    import ray

    # The page shows what is there, also where the configuration has moved on since.
    model_uri = export_of(paths, cfg.train.stages[-1])
    explain = any("rationale" in stage.tasks for stage in cfg.train.stages)
    if not ray.is_initialized():
        return draw_clips(model_uri, paths.shards, clips, explain)
    task = ray.remote(num_cpus=cfg.train.cpus_per_worker, num_gpus=cfg.train.gpus_per_worker)(draw_clips)
    return ray.get(task.remote(model_uri, paths.shards, clips, explain))


def make_examples(
    cfg: FullConfig, paths: RunPaths, worst: list[WorstClip]
) -> tuple[list[ClipGroup], dict[str, list[DrawnConfusion]]]:
    """Clips for the page; both empty where there is no finished model.

    Args:
        cfg: the run's configuration.
        paths: the run.
        worst: clips of confusions, from `worst_clips.choose_worst`.

    Returns:
        Some clips of every set, and set -> clips of its worst confusions.
    """
    trained = bool(cfg.train.stages) and manifest.read_manifest(f"{paths.train}/{cfg.train.stages[-1].name}")
    some = choose_clips(cfg, paths) if trained and cfg.report.clips_per_set else []
    # One call for both: loading the model costs more than the clips.
    drawn = draw_with_trained(cfg, paths, some + [example.clip for example in worst])
    groups: dict[str, list[DrawnClip]] = {}
    for item, clip in zip(some, drawn, strict=False):
        groups.setdefault(item.set, []).append(clip)
    return [ClipGroup(set=name, clips=clips) for name, clips in groups.items()], pair_confusions(
        worst, drawn[len(some) :]
    )


def pair_confusions(worst: Sequence[WorstClip], drawn: Sequence[DrawnClip]) -> dict[str, list[DrawnConfusion]]:
    """Set -> its confusions with frames; empty where nothing was drawn."""
    confused: dict[str, list[DrawnConfusion]] = {}
    for example, clip in zip(worst, drawn, strict=False):
        pair = DrawnConfusion(confusion=example.confusion, drawn=clip, written=example.written)
        confused.setdefault(example.clip.set, []).append(pair)
    return confused
