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
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.cluster.spread import quiet
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.rationales import review_page
from pipelines.rationales.actors import CLIPS_PER_BATCH, ask_teacher, draw_frames, frames_config, shared_limits
from pipelines.rationales.openai_batch import ask_in_batches
from pipelines.rationales.teachers import registry
from pipelines.rationales.teachers.ledger import Ledger, Line
from pipelines.rationales.teachers.prompt_files import prompt_sha
from pipelines.rationales.verdicts import VERDICTS_VERSION, judge_answers
from pipelines.rationales.vllm import ask_vllm
from pipelines.runtime import manifest
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import StageFailed, UserError
from pipelines.runtime.manifest import run_once
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.progress import Progress, say
from skeleton_io import storage

DRAWING_VERSION = 1
"""Raised whenever the same clip gives the teacher visibly different frames; a test pins their hash."""
_CONTENT = ["dataset", "id", "source_sha256", "reader", "reader_version", "topology_hash", "scale", "fps", "T", "P"]

WHOLE: dict[str, Callable[..., str]] = {"openai_batch": ask_in_batches, "vllm": ask_vllm}
"""Teachers that take all questions at once: (cfg, shards_uri, ledger, questions, progress, secret) -> why they stopped
early, empty where they did not."""

Question = dict[str, Any]
"""key, clip, dataset, label, purpose, sample, candidates (JSON), and the hashes that the key is made of."""


def recipe(cfg: FullConfig) -> dict[str, str]:
    """Hashes of what decides an answer beside the clip, its label and the wording: model and frames.

    The frames enter by how they are drawn, not by their bytes: those differ in the last bit between machines, which is
    no reason to pay for an answer twice. The bytes' hash stands in each line.
    """
    asked, api = cfg.rationales, cfg.rationales.api
    if asked.teacher == "kinematic":
        teacher = registry.CLASSES[asked.teacher]
        return {"asked": digest(teacher.name, teacher.version), "drawing": ""}
    sampling = [api.temperature, api.max_tokens, api.image_detail]
    shown = digest("drawing", DRAWING_VERSION, registry.renderer_sha(asked.renderer), frames_config(cfg))
    where = "" if asked.teacher == "vllm" else api.base_url
    return {"asked": digest("chat", where, api.model, sampling), "drawing": shown}


def questions(cfg: FullConfig, store: ClipStore) -> list[Question]:
    """What is to be asked about the training clips, sorted by set and id: to explain, and blind where configured.

    Raises:
        UserError: `train.sets` names a set that the shards do not hold.
    """
    selection, labels = select(cfg, store), store.labels()
    chosen = selection.train
    unknown = sorted(set(cfg.train.sets) - set(chosen))
    if unknown:
        raise UserError(f"train.sets names {', '.join(unknown)}; the shards hold {', '.join(store.sets)}")
    rows = store.meta().select(_CONTENT).to_pylist()
    contents = {f"{row['dataset']}/{row['id']}": list(row.values()) for row in rows}
    found, how = [], recipe(cfg)
    for name in sorted(cfg.train.sets or chosen):
        candidates = json.dumps(selection.labels[name])
        for clip in _limited(chosen[name], cfg.rationales.max_clips):
            who = {"clip": clip, "dataset": name, "label": labels[clip], **how}
            content = contents[clip]
            for sample in range(cfg.rationales.blind_samples):
                wording = prompt_sha("blind")
                key = digest("blind", how, wording, content, candidates, sample)
                blind = {"purpose": "blind", "sample": sample, "prompt_sha": wording, "candidates": candidates}
                found.append({"key": key, **who, **blind})
            wording = prompt_sha("explain") if how["drawing"] else ""
            explain = {"purpose": "explain", "sample": 0, "prompt_sha": wording, "candidates": "[]"}
            found.append({"key": digest("explain", how, wording, content, labels[clip]), **who, **explain})
    return found


def _limited(clips: tuple[str, ...], most: int) -> tuple[str, ...]:
    """At most so many clips, chosen by hash of their key."""
    if not most:
        return clips
    return tuple(sorted(sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).hexdigest())[:most]))


def ledger_uri(cfg: FullConfig, out: str) -> str:
    """Where the account is kept."""
    return cfg.rationales.ledger or storage.join(out, "ledger")


def ask_all(cfg: FullConfig, shards_uri: str, out: str, asked: list[Question]) -> dict[str, Any]:
    """Asks for what is not in the ledger yet, judges the answers and writes table and index.

    Args:
        cfg: `rationales` and `renderer` are used.
        shards_uri: shard set.
        out: folder of the stage.
        asked: from `questions`.

    Returns:
        Summary: counts, money, verdicts.

    Raises:
        StageFailed: the teacher answered nothing at all, the budget is used up, or no request can succeed.
        UserError: no key, model or prices.
    """
    ledger = Ledger(ledger_uri(cfg, out))
    settled = ledger.settled(cfg.rationales.retry_failed)
    todo = [row for row in asked if row["key"] not in settled]
    progress = Progress("rationales", len(asked), "questions")
    progress.skip(len(asked) - len(todo))
    if len(todo) < len(asked):
        say(f"[rationales] {len(asked) - len(todo)} of {len(asked)} questions are settled from before")
    stop = _ask(cfg, shards_uri, ledger, todo, progress) if todo else ""
    return _finish(cfg, shards_uri, out, asked, len(todo), stop)


def _ask(cfg: FullConfig, shards_uri: str, ledger: Ledger, todo: list[Question], progress: Progress) -> str:
    """Asks all of `todo`; returns why asking stopped early, empty where it did not."""
    secret = registry.secret_of(cfg.rationales)
    if cfg.rationales.teacher in WHOLE:
        return WHOLE[cfg.rationales.teacher](cfg, shards_uri, ledger, todo, progress, secret)
    import ray

    quiet()
    account = None if cfg.rationales.teacher == "kinematic" else shared_limits(cfg.rationales, ledger.spent())
    counts = {"answered": 0, "failed": 0, "stopped": 0}
    for report in _reports(cfg, shards_uri, ledger.uri, todo, secret, account):
        counts = {end: counts[end] + int(report[end]) for end in counts}
        note = ", ".join(f"{count} {end}" for end, count in counts.items() if count and end != "answered")
        progress.add(sum(int(report[end]) for end in counts), note)
    if account is None:
        return ""
    state: dict[str, Any] = ray.get(account.state.remote())
    say(f"[rationales] {state['tokens']} tokens, {state['usd']:.4f} USD in the ledger")
    return state["stop"]


def _reports(cfg: FullConfig, shards_uri: str, ledger: str, todo: list[Question], secret: Any, account: Any) -> Any:
    """Ray Data pipeline: questions -> pictures -> answers; yields {answered, failed, stopped} per batch."""
    import ray

    blocks = -(-len(todo) // CLIPS_PER_BATCH)
    free = account is None
    rows = (
        ray.data.from_items(todo, override_num_blocks=blocks) if free else draw_frames(cfg, shards_uri, todo, account)
    )
    return ask_teacher(cfg, shards_uri, ledger, rows, blocks, secret, account).iter_rows()


def _finish(cfg: FullConfig, shards_uri: str, out: str, asked: list[Question], new: int, stop: str) -> dict[str, Any]:
    """Table, index and summary."""
    lines = Ledger(ledger_uri(cfg, out)).latest()
    mine: list[Line] = [{**lines[row["key"]], **_who(row)} for row in asked if row["key"] in lines]
    del lines  # a shared ledger may hold far more
    if stop:
        left = len(asked) - len(mine)
        raise StageFailed(f"rationales: {stop}; {len(mine)} questions are settled and kept, {left} are left")
    if len(mine) != len(asked):
        raise StageFailed("rationales: some clips were not asked; the answers are kept, start again")
    dead = [line for line in mine if line["status"] == "failed"]
    wanted = [line for line in mine if line["purpose"] == "explain"]
    if asked and all(line["status"] == "failed" for line in wanted):
        raise StageFailed(f"rationales: none of {len(wanted)} clips got one, for example {_example(dead[0])}")
    rows = judge_answers(cfg, shards_uri, mine)
    _write_table(storage.join(out, "answers.parquet"), rows)
    letters = [_letter(line) for line in dead]
    _write_table(storage.join(out, "dead_letters.parquet"), letters)
    review_page.write(cfg, shards_uri, out, rows, letters)
    accepted = [row for row in rows if row["accepted"]]
    index = {"clips": {row["clip"]: row["key"] for row in accepted}}
    storage.write_atomic(storage.join(out, "index.json"), json.dumps(index, indent=0))
    per_set = dict.fromkeys(sorted({row["dataset"] for row in asked}), 0)
    for row in accepted:
        per_set[row["dataset"]] += 1
    return {
        "teacher": cfg.rationales.teacher,
        "model": ", ".join(sorted({line["model"] for line in mine if line["model"]})),
        "wanted": len(wanted),
        "kept": len(asked) - new,
        "asked": new,
        "failed": sum(line["purpose"] == "explain" for line in dead),
        "answered": len(rows),
        "accepted": len(accepted),
        "rejected": _counts([reason for row in rows for reason in row["rejected_for"]]),
        "per_set": per_set,
        "usd": round(sum(line["usd"] for line in mine), 6),
        "tokens": sum(line["usage"]["input"] + line["usage"]["output"] for line in mine),
        "reasons": _counts([f"{line['kind']}: {line['reason']}"[:200] for line in dead], most=5),
    }


def _who(row: Question) -> dict[str, Any]:
    """A ledger shared with another run may know the clip by another name."""
    return {name: row[name] for name in ("clip", "dataset", "label", "purpose", "sample")}


def _letter(line: Line) -> dict[str, Any]:
    names = ("key", "clip", "dataset", "label", "purpose", "sample", "kind", "reason", "raw", "attempts", "usd", "at")
    return {name: line[name] for name in names}


def _example(line: Line) -> str:
    return f"{line['clip']}: {line['reason']}"


def _counts(names: list[str], most: int = 0) -> dict[str, int]:
    """How often each name occurs, the most frequent first."""
    counts = Counter(names)
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    return {name: counts[name] for name in ordered[: most or None]}


def _write_table(uri: str, rows: list[dict[str, Any]]) -> None:
    """A Parquet file; an empty one has no columns."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, compression="zstd")
    storage.write_atomic(uri, sink.getvalue())


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Asks the teacher about the training clips of the run."""
    asked = questions(cfg, ClipStore(paths.shards))
    again = cfg.rationales.retry_failed and manifest.read_manifest(paths.rationales) is not None
    key = digest("rationales", [row["key"] for row in asked], cfg.rationales.accept, VERDICTS_VERSION)
    if again:
        storage.remove(storage.join(paths.rationales, "manifest.json"))
    return run_once("rationales", paths.rationales, key, lambda: ask_all(cfg, paths.shards, paths.rationales, asked))
