"""Stage: a teacher explains every training clip. Ray Data actors -> ledger -> answers.parquet with verdicts.

The ledger (`pipelines.rationales.teachers.ledger`) is the truth: an answer is there as soon as it came, under the hash
of everything that it depends on, so nothing is paid for twice, however often the stage is killed, run again or run
elsewhere with the same ledger. `answers.parquet` and `index.json` are made of it at the end, and say which rationales
the student learns from. Asks about training clips only: neither validation nor test clips nor their classes are ever
shown to a teacher.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.cluster.spread import quiet
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.rationales import review_page
from pipelines.rationales.actors import TeacherJob, ask_teacher, shared_limits
from pipelines.rationales.frames import CLIPS_PER_BATCH, DRAWING_VERSION, draw_frames, frames_config, hash_renderer
from pipelines.rationales.teachers import registry
from pipelines.rationales.teachers.ledger import Ledger, Line
from pipelines.rationales.teachers.prompt_files import prompt_sha
from pipelines.rationales.teachers.task import TeacherTask
from pipelines.rationales.verdicts import VERDICTS_VERSION, AnswerRow, judge_answers
from pipelines.runtime import manifest
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import StageFailed, UserError
from pipelines.runtime.manifest import run_once
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.progress import Progress, say
from skeleton_io import storage

_CONTENT = ["dataset", "id", "source_sha256", "reader", "reader_version", "topology_hash", "scale", "fps", "T", "P"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hashes of what decides an answer beside the clip, its label and the wording.

    Attributes:
        asked: of who answers and with which settings.
        drawing: of how the frames are drawn; empty where the teacher sees none.
    """

    asked: str
    drawing: str


def recipe_of(cfg: FullConfig) -> Recipe:
    """The recipe of the configured teacher.

    The frames enter by how they are drawn, not by their bytes: those differ in the last bit between machines, which is
    no reason to pay for an answer twice. The bytes' hash stands in each line.

    Raises:
        UserError: no such teacher, or no export where its renderer is to be.
    """
    entry = registry.entry_of(cfg.rationales)
    drawing = ""
    if entry.wants_frames:
        drawing = digest("drawing", DRAWING_VERSION, hash_renderer(cfg.rationales.renderer), frames_config(cfg))
    return Recipe(asked=digest(*entry.identify(cfg.rationales)), drawing=drawing)


def list_tasks(cfg: FullConfig, store: ClipStore) -> list[TeacherTask]:
    """What is to be asked about the training clips, sorted by set and id: to explain, and blind where configured.

    Raises:
        UserError: `train.sets` names a set that the shards do not hold.
    """
    selection, labels = select(cfg, store), store.labels()
    unknown = sorted(set(cfg.train.sets) - set(selection.train))
    if unknown:
        raise UserError(f"train.sets names {', '.join(unknown)}; the shards hold {', '.join(store.sets)}")
    rows = store.meta().select(_CONTENT).to_pylist()
    contents = {f"{row['dataset']}/{row['id']}": list(row.values()) for row in rows}
    recipe, tasks = recipe_of(cfg), []
    for name in sorted(cfg.train.sets or selection.train):
        candidates = tuple(selection.labels[name])
        for clip in _limited(selection.train[name], cfg.rationales.max_clips):
            about = {"clip": clip, "dataset": name, "label": labels[clip]}
            for sample in range(cfg.rationales.blind_samples):
                tasks.append(_blind_task(recipe, about, contents[clip], candidates, sample))
            tasks.append(_explain_task(recipe, about, contents[clip]))
    return tasks


# The order of what is hashed is that of every ledger there is: another one would ask, and pay, for all answers anew.
def _blind_task(
    recipe: Recipe, about: Mapping[str, str], content: list[Any], candidates: tuple[str, ...], sample: int
) -> TeacherTask:
    """One blind question; its key does not depend on the clip's label."""
    wording = prompt_sha("blind")
    key = digest("blind", recipe, wording, content, json.dumps(candidates), sample)
    blind = {"purpose": "blind", "sample": sample, "prompt_sha": wording, "candidates": candidates}
    return TeacherTask(key=key, **about, **vars(recipe), **blind)


def _explain_task(recipe: Recipe, about: Mapping[str, str], content: list[Any]) -> TeacherTask:
    """To explain the clip's label. A teacher without pictures computes: no prompt file is part of its key."""
    wording = prompt_sha("explain") if recipe.drawing else ""
    key = digest("explain", recipe, wording, content, about["label"])
    explain = {"purpose": "explain", "sample": 0, "prompt_sha": wording, "candidates": ()}
    return TeacherTask(key=key, **about, **vars(recipe), **explain)


def _limited(clips: tuple[str, ...], most: int) -> tuple[str, ...]:
    """At most so many clips, chosen by hash of their key."""
    if not most:
        return clips
    return tuple(sorted(sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).hexdigest())[:most]))


def ledger_uri(cfg: FullConfig, out: str) -> str:
    """Where the account is kept."""
    return cfg.rationales.ledger or storage.join(out, "ledger")


def ask_all(cfg: FullConfig, shards_uri: str, out: str, tasks: Sequence[TeacherTask]) -> dict[str, Any]:
    """Asks for what is not in the ledger yet, judges the answers and writes table and index.

    Args:
        cfg: `rationales` and `renderer` are used.
        shards_uri: shard set.
        out: folder of the stage.
        tasks: from `list_tasks`.

    Returns:
        Summary: counts, money, verdicts.

    Raises:
        StageFailed: the teacher answered nothing at all, the budget is used up, or no request can succeed.
        UserError: no key, model or prices.
    """
    ledger = Ledger(ledger_uri(cfg, out))
    settled = ledger.settled(cfg.rationales.retry_failed)
    todo = [task for task in tasks if task.key not in settled]
    progress = Progress("rationales", len(tasks), "questions")
    progress.skip(len(tasks) - len(todo))
    if len(todo) < len(tasks):
        say(f"[rationales] {len(tasks) - len(todo)} of {len(tasks)} questions are settled from before")
    stop = _ask(cfg, shards_uri, ledger, todo, progress) if todo else ""
    return _finish(cfg, shards_uri, out, tasks, len(todo), stop)


def _ask(cfg: FullConfig, shards_uri: str, ledger: Ledger, todo: list[TeacherTask], progress: Progress) -> str:
    """Asks all of `todo`; returns why asking stopped early, empty where it did not."""
    entry = registry.entry_of(cfg.rationales)
    secret = entry.secret(cfg.rationales)
    if entry.ask_all:
        return entry.load_ask_all()(cfg, shards_uri, ledger, todo, progress, secret)
    import ray

    quiet()
    account = shared_limits(cfg.rationales, ledger.spent()) if entry.metered else None
    job = TeacherJob(
        entry=entry,
        cfg=cfg.rationales,
        shards_uri=shards_uri,
        ledger_uri=ledger.uri,
        secret=secret,
        account=account,
    )
    counts = {"answered": 0, "failed": 0, "stopped": 0}
    for batch in _batches(cfg, job, todo):
        counts = {end: counts[end] + int(batch[end]) for end in counts}
        note = ", ".join(f"{count} {end}" for end, count in counts.items() if count and end != "answered")
        progress.add(sum(int(batch[end]) for end in counts), note)
    if account is None:
        return ""
    state: dict[str, Any] = ray.get(account.state.remote())
    say(f"[rationales] {state['tokens']} tokens, {state['usd']:.4f} USD in the ledger")
    return state["stop"]


def _batches(cfg: FullConfig, job: TeacherJob, todo: list[TeacherTask]) -> Any:
    """Ray Data pipeline: tasks -> pictures -> answers; yields {answered, failed, stopped} per batch."""
    import ray

    blocks = -(-len(todo) // CLIPS_PER_BATCH)
    if job.entry.wants_frames:
        rows = draw_frames(cfg, job.shards_uri, todo, job.account)
    else:
        rows = ray.data.from_items([task.to_row() for task in todo], override_num_blocks=blocks)
    return ask_teacher(job, rows, blocks).iter_rows()


def _finish(
    cfg: FullConfig, shards_uri: str, out: str, tasks: Sequence[TeacherTask], new: int, stop: str
) -> dict[str, Any]:
    """Table, index and summary."""
    # Read once more: the actors have written to it meanwhile.
    lines = _lines_of(Ledger(ledger_uri(cfg, out)), tasks)
    if stop:
        left = len(tasks) - len(lines)
        raise StageFailed(f"rationales: {stop}; {len(lines)} questions are settled and kept, {left} are left")
    # No reason to stop and yet lines are missing: for example, a process died more often than Ray starts it.
    if len(lines) != len(tasks):
        raise StageFailed("rationales: some clips were not asked; the answers are kept, start again")
    dead = [line for line in lines if line["status"] == "failed"]
    explained = [line for line in lines if line["purpose"] == "explain"]
    if tasks and all(line["status"] == "failed" for line in explained):
        raise StageFailed(f"rationales: none of {len(explained)} clips got one, for example {_example(dead[0])}")
    rows = judge_answers(cfg, shards_uri, lines)
    _write_table(storage.join(out, "answers.parquet"), rows)
    letters = [_letter(line) for line in dead]
    _write_table(storage.join(out, "dead_letters.parquet"), letters)
    review_page.write(cfg, shards_uri, out, rows, letters)
    accepted = [row for row in rows if row["accepted"]]
    index = {"clips": {row["clip"]: row["key"] for row in accepted}}
    storage.write_atomic(storage.join(out, "index.json"), json.dumps(index, indent=0))
    per_set = dict.fromkeys(sorted({task.dataset for task in tasks}), 0)
    for row in accepted:
        per_set[row["dataset"]] += 1
    return {
        "teacher": cfg.rationales.teacher,
        "model": ", ".join(sorted({line["model"] for line in lines if line["model"]})),
        "wanted": len(explained),
        "kept": len(tasks) - new,
        "asked": new,
        "failed": sum(line["purpose"] == "explain" for line in dead),
        "answered": len(rows),
        "accepted": len(accepted),
        "rejected": _counts([reason for row in rows for reason in row["rejected_for"]]),
        "per_set": per_set,
        "usd": round(sum(line["usd"] for line in lines), 6),
        "tokens": sum(line["usage"]["input"] + line["usage"]["output"] for line in lines),
        "reasons": _counts([f"{line['kind']}: {line['reason']}"[:200] for line in dead], most=5),
    }


def _lines_of(ledger: Ledger, tasks: Sequence[TeacherTask]) -> list[Line]:
    """The line of each task that has one, under the names that this run has for clip and set."""
    latest = ledger.latest()
    # A ledger shared with another run may know the clip by another name.
    return [
        {
            **latest[task.key],
            "clip": task.clip,
            "dataset": task.dataset,
            "label": task.label,
            "purpose": task.purpose,
            "sample": task.sample,
        }
        for task in tasks
        if task.key in latest
    ]


def _letter(line: Line) -> dict[str, Any]:
    """A row of dead_letters.parquet."""
    names = ("key", "clip", "dataset", "label", "purpose", "sample", "kind", "reason", "raw", "attempts", "usd", "at")
    return {name: line[name] for name in names}


def _example(line: Line) -> str:
    return f"{line['clip']}: {line['reason']}"


def _counts(names: list[str], most: int = 0) -> dict[str, int]:
    """How often each name occurs, the most frequent first."""
    counts = Counter(names)
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    # 0 means all of them.
    return {name: counts[name] for name in ordered[: most or None]}


def _write_table(uri: str, rows: Sequence[AnswerRow | dict[str, Any]]) -> None:
    """A Parquet file; an empty one has no columns."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink, compression="zstd")
    storage.write_atomic(uri, sink.getvalue())


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Asks the teacher about the training clips of the run."""
    tasks = list_tasks(cfg, ClipStore(paths.shards))
    again = cfg.rationales.retry_failed and manifest.read_manifest(paths.rationales) is not None
    key = digest("rationales", [task.key for task in tasks], cfg.rationales.accept, VERDICTS_VERSION)
    if again:
        # The key is the same, but dead letters are to be asked once more: the stage must not count as finished.
        storage.remove(storage.join(paths.rationales, "manifest.json"))
    return run_once("rationales", paths.rationales, key, lambda: ask_all(cfg, paths.shards, paths.rationales, tasks))
