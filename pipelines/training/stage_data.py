"""A StageJob -> which clips it trains on, what they are asked, and in which order. Trains nothing, reads no motion."""

from __future__ import annotations

from pipelines.batches import negatives
from pipelines.batches.negatives import build_negatives, load_negatives
from pipelines.batches.questions import QuestionSource
from pipelines.batches.sampler import Classes, Sampler
from pipelines.batches.tasks.book import TaskBook, find_material
from pipelines.batches.tasks.registry import take_unlabelled
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import Selection
from pipelines.rationales.answers import load_rationales
from pipelines.runtime.errors import UserError
from pipelines.training import validation
from pipelines.training.job import StageJob


def stage_sets(job: StageJob, selection: Selection) -> list[str]:
    """Names of the sets that the stage trains on, sorted."""
    return sorted(job.sets or job.cfg.train.sets or selection.train)


def training_keys(job: StageJob, selection: Selection) -> dict[str, tuple[str, ...]]:
    """Set -> keys of the clips that the stage trains on; those without a label where it asks what needs none."""
    keys = {name: selection.train[name] for name in stage_sets(job, selection)}
    if take_unlabelled(job.stage.tasks):
        keys = {name: tuple(sorted((*own, *selection.unlabelled_train[name]))) for name, own in keys.items()}
    if job.max_clips:
        sample = set(validation.sample_keys(keys, job.max_clips))
        keys = {name: tuple(k for k in own if k in sample) for name, own in keys.items()}
    return keys


def labelled_keys(job: StageJob, selection: Selection) -> dict[str, tuple[str, ...]]:
    """Set -> keys of the clips with a label among `training_keys`: those that yes/no questions can be asked about."""
    keys = training_keys(job, selection)
    return {name: tuple(sorted(set(own) & set(selection.train[name]))) for name, own in keys.items()}


def stage_negatives(job: StageJob, store: ClipStore, selection: Selection) -> negatives.Negatives:
    """The wrong labels of the stage's yes/no questions: the file that was mined for it, else made here.

    Raises:
        UserError: the stage's model was to be asked and was not, or the user's list cannot be read.
    """
    mined = load_negatives(job.negatives) if job.negatives else None
    if mined is not None:
        return mined
    if job.cfg.train.negatives.miner == "confusions" and job.start is not None:
        raise UserError(f"stage {job.stage.name}: no mined negatives at {job.negatives or 'all'}; run `skel train`")
    labels = {name: selection.labels[name] for name in stage_sets(job, selection)}
    return build_negatives(job.cfg.train.negatives, labelled_keys(job, selection), store.labels(), labels)


def stage_data(job: StageJob, store: ClipStore, selection: Selection) -> tuple[TaskBook, Sampler]:
    """What writes the stage's questions, and what draws its clips.

    Raises:
        UserError: no clip of the chosen sets has material for anything that the stage asks.
    """
    tasks = {str(task): weight for task, weight in job.stage.tasks.items()}
    keys, labels = training_keys(job, selection), store.labels()
    texts: dict[str, str] = {}
    if "rationale" in tasks:
        texts = load_rationales(job.rationales)
    wrong = stage_negatives(job, store, selection) if "yesno" in tasks else None
    source = None
    if "qa" in tasks:
        source = QuestionSource(job.cfg.train.questions)
    candidates = {name: selection.labels[name] for name in keys}
    book = TaskBook(candidates, texts, wrong, source)
    captioned = captioned_keys(store) if "caption" in tasks else frozenset()
    # Clips without material for a task draw another one, so the sampler must know beforehand.
    has = find_material(tasks, keys, labels, captioned, book, source.keys if source else None)
    temperature = job.cfg.train.class_temperature
    classes = Classes(labels, temperature) if temperature != 1 else None
    try:
        return book, Sampler(keys, tasks, job.cfg.train.set_temperature, has, classes)
    except ValueError:
        raise UserError(
            f"stage {job.stage.name}: no training clip of {', '.join(keys)} has what {', '.join(tasks)} needs"
        ) from None


def captioned_keys(store: ClipStore) -> frozenset[str]:
    """Keys of the clips that have a caption."""
    rows = store.meta().select(["dataset", "id", "captions"]).to_pylist()
    return frozenset(f"{row['dataset']}/{row['id']}" for row in rows if row["captions"])


def missing_material(job: StageJob, sampler: Sampler) -> str:
    """One line about the clips that lack material for what the stage asks; empty where none does."""
    keys = [key for own in sampler.sets.values() for key in own]
    parts = []
    for task in sampler.tasks:
        missing = sum(key not in sampler.material[task] for key in keys)
        if missing:
            parts.append(f"{missing} of {len(keys)} clips have nothing for {task} and are asked another task")
    if sampler.left_out:
        parts.append(f"{sampler.left_out} clips have nothing to ask and are left out")
    return f"[train {job.stage.name}] " + "; ".join(parts) if parts else ""
