"""Stage: a teacher explains every training clip. Ray Data actors -> Parquet parts, kept answer by answer.

The teacher gets the clip, its label and frames of the fixed stick renderer. Each batch is written as it finishes, under
a name that its keys decide: a stopped run asks for nothing twice, and a batch that Ray repeats writes one file, not
two. `index.json` comes last and says which rows belong to the run. Asks about training clips only: neither validation
nor test clips are ever shown to a teacher.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.config import RendererConfig
from models.prompts import PROMPTS_VERSION
from pipelines import manifest
from pipelines.config import FullConfig, RationalesConfig, digest
from pipelines.datasource import ClipStore
from pipelines.errors import StageFailed, UserError
from pipelines.manifest import RunPaths
from pipelines.progress import Progress, say
from pipelines.raydata import quiet
from pipelines.selection import select
from pipelines.teachers.base import Rationale, Teacher, TeacherRequest
from pipelines.teachers.kinematic import KinematicTeacher
from skeleton_io import storage

TEACHERS: dict[str, Callable[[], Teacher]] = {"kinematic": KinematicTeacher}
"""`rationales.teacher` -> its class. A new teacher is one file and one line here."""
DRAWING_VERSION = 1
"""Raised whenever the same clip gives the teacher visibly different frames."""
CLIPS_PER_PART = 32
"""Clips asked between two writes: what a stopped run loses at most, per actor."""
_CONTENT = ["dataset", "id", "source_sha256", "reader", "reader_version", "topology_hash", "scale", "fps", "T", "P"]
_STEP = pa.struct(
    [(name, pa.float64()) for name in ("start", "end")] + [(name, pa.string()) for name in ("part", "motion", "cause")]
)
_WHO = [("key", pa.string()), ("clip", pa.string()), ("dataset", pa.string()), ("label", pa.string())]
_MADE = [("teacher", pa.string()), ("teacher_version", pa.int32()), ("prompts_version", pa.string())]
PARTS = pa.schema(
    [*_WHO, ("summary", pa.string()), ("steps", pa.list_(_STEP)), ("evidence", pa.string()), ("text", pa.string())]
    + [*_MADE, ("frames_sha256", pa.string()), ("seconds", pa.float64())]
)
FAILED = pa.schema([*_WHO, ("reason", pa.string()), *_MADE])


def recipe(cfg: FullConfig) -> str:
    """Hash of what decides an answer beside the clip and its label.

    The frames enter by how they are drawn, not by their bytes: those differ in the last bit between machines, which is
    no reason to pay for an answer twice. The bytes' hash stands in each row.
    """
    teacher = TEACHERS[cfg.rationales.teacher]()
    versions = [teacher.name, teacher.version, PROMPTS_VERSION, DRAWING_VERSION]
    return digest("rationale", versions, drawing(cfg))


def drawing(cfg: FullConfig) -> RendererConfig:
    """How the teacher's frames are drawn."""
    asked = cfg.rationales
    return dataclasses.replace(cfg.renderer, frames=asked.frames, image_size=asked.image_size)


def questions(cfg: FullConfig, store: ClipStore) -> list[dict[str, str]]:
    """One {key, clip, dataset, label} per training clip, sorted by set and id.

    Raises:
        UserError: `train.sets` names a set that the shards do not hold.
    """
    chosen, labels = select(cfg, store).train, store.labels()
    unknown = sorted(set(cfg.train.sets) - set(chosen))
    if unknown:
        raise UserError(f"train.sets names {', '.join(unknown)}; the shards hold {', '.join(store.sets)}")
    rows = store.meta().select(_CONTENT).to_pylist()
    contents = {f"{row['dataset']}/{row['id']}": list(row.values()) for row in rows}
    found, how = [], recipe(cfg)
    for name in sorted(cfg.train.sets or chosen):
        clips = chosen[name]
        if cfg.rationales.max_clips:
            ranked = sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).hexdigest())
            clips = tuple(sorted(ranked[: cfg.rationales.max_clips]))
        for clip in clips:
            key = digest(how, contents[clip], labels[clip])
            found.append({"key": key, "clip": clip, "dataset": name, "label": labels[clip]})
    return found


class Asker:
    """One actor: draws clips, asks the teacher, writes the answers.

    Args:
        shards_uri: shard set.
        out: folder of the stage.
        cfg: which teacher.
        drawn: how the frames are drawn.
    """

    def __init__(self, shards_uri: str, out: str, cfg: RationalesConfig, drawn: RendererConfig) -> None:
        import torch

        from models.draction.fixed import StickRenderer

        torch.set_num_threads(1)
        self.store, self.out, self.drawn = ClipStore(shards_uri), out, drawn
        self.teacher = TEACHERS[cfg.teacher]()
        self.renderer = StickRenderer(drawn).eval()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Columns key, clip, dataset, label -> one row {asked, failed}; the answers are on storage by then."""
        rows = [dict(zip(batch, map(str, values), strict=True)) for values in zip(*batch.values(), strict=True)]
        made = {
            "teacher": self.teacher.name,
            "teacher_version": self.teacher.version,
            "prompts_version": PROMPTS_VERSION,
        }
        answers, failures = [], []
        for row in rows:
            try:
                answers.append({**row, **made, **self._ask(row)})
            except Exception as error:  # noqa: BLE001 - one clip must not end a pass over all; the reason is kept
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                failures.append({**row, **made, "reason": reason})
        _write(self.out, "parts", answers, PARTS)
        _write(self.out, "failed", failures, FAILED)
        return {"asked": np.array([len(rows)]), "failed": np.array([len(failures)])}

    def _ask(self, row: dict[str, str]) -> dict[str, Any]:
        start = time.monotonic()
        sequence = self.store.clip(row["clip"])
        frames = self._draw(row["clip"])
        answer = self.teacher.ask(TeacherRequest(sequence=sequence, label=row["label"], frames=frames))
        seconds = round(time.monotonic() - start, 4)
        return {**_plain(answer), "frames_sha256": storage.sha256(frames.tobytes()), "seconds": seconds}

    def _draw(self, clip: str) -> np.ndarray:
        """(F, H, W, 3) uint8."""
        import torch

        from pipelines.collate import clip_input

        with torch.no_grad():
            frames = self.renderer([clip_input(self.store.clip(clip), self.drawn, None, None)])[0]
        return (frames.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).contiguous().numpy()


def _plain(answer: Rationale) -> dict[str, Any]:
    steps = [dataclasses.asdict(step) for step in answer.steps]
    return {"summary": answer.summary, "steps": steps, "evidence": answer.evidence, "text": answer.text}


def _write(out: str, kind: str, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """One Parquet file, named by its keys; nothing where there are no rows."""
    if not rows:
        return
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    name = f"part-{digest([row['key'] for row in rows])}.parquet"
    storage.write_atomic(storage.join(out, kind, name), sink.getvalue())


def read_parts(out: str, kind: str, schema: pa.Schema, columns: Iterable[str]) -> pa.Table:
    """Columns of all rows below `out`/`kind`, whichever run wrote them."""
    wanted, folder = list(columns), storage.join(out, kind)
    names = storage.list_files(folder, ".parquet") if storage.exists(folder) else []
    bodies = storage.read_many([storage.join(folder, name) for name in names])
    tables = [pq.read_table(pa.BufferReader(body), columns=wanted) for body in bodies]
    empty = schema.empty_table().select(wanted)
    return pa.concat_tables([empty, *(table.select(wanted) for table in tables)])


def ask_all(cfg: FullConfig, shards_uri: str, out: str, asked: list[dict[str, str]]) -> dict[str, Any]:
    """Asks for what is not there yet and writes the index.

    Args:
        cfg: `rationales` and `renderer` are used.
        shards_uri: shard set.
        out: folder of the stage.
        asked: from `questions`.

    Returns:
        {"teacher", "teacher_version", "wanted", "kept", "asked", "failed", "per_set" {set: answers}, "reasons"}.

    Raises:
        StageFailed: the teacher answered nothing at all.
    """
    import ray

    storage.remove(storage.join(out, "failed"))
    done = set(read_parts(out, "parts", PARTS, ["key"])["key"].to_pylist())
    todo = [row for row in asked if row["key"] not in done]
    progress = Progress("rationales", len(asked), "clips")
    progress.skip(len(asked) - len(todo))
    if len(todo) < len(asked):
        say(f"[rationales] {len(asked) - len(todo)} of {len(asked)} answers are kept from before")
    failed = 0
    if todo:
        quiet()
        parts = -(-len(todo) // CLIPS_PER_PART)
        reports = ray.data.from_items(todo, override_num_blocks=parts).map_batches(
            Asker,
            fn_constructor_args=(shards_uri, out, cfg.rationales, drawing(cfg)),
            batch_size=None,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=min(cfg.rationales.actors, parts)),
            num_cpus=0.5,
        )
        for report in reports.iter_rows():
            failed += int(report["failed"])
            progress.add(int(report["asked"]), f"{failed} without answer" if failed else "")
    return _finish(cfg, out, asked, len(todo))


def _finish(cfg: FullConfig, out: str, asked: list[dict[str, str]], new: int) -> dict[str, Any]:
    """Index and summary."""
    done = set(read_parts(out, "parts", PARTS, ["key"])["key"].to_pylist())
    failures = read_parts(out, "failed", FAILED, ["clip", "reason"]).to_pylist()
    answered = [row for row in asked if row["key"] in done]
    if asked and not answered:
        reason = f"{failures[0]['clip']}: {failures[0]['reason']}" if failures else "no answer was written"
        raise StageFailed(f"rationales: none of {len(asked)} clips got one, for example {reason}")
    if len(answered) + len(failures) != len(asked):
        raise StageFailed("rationales: some clips were not asked; the answers are kept, start again")
    index = {"clips": {row["clip"]: row["key"] for row in answered}}
    storage.write_atomic(storage.join(out, "index.json"), json.dumps(index, indent=0))
    per_set = dict.fromkeys(sorted({row["dataset"] for row in asked}), 0)
    for row in answered:
        per_set[row["dataset"]] += 1
    teacher = TEACHERS[cfg.rationales.teacher]()
    return {
        "teacher": teacher.name,
        "teacher_version": teacher.version,
        "wanted": len(asked),
        "kept": len(asked) - new,
        "asked": new,
        "failed": len(failures),
        "per_set": per_set,
        "reasons": sorted({item["reason"] for item in failures})[:5],
    }


def load_rationales(uri: str) -> dict[str, str]:
    """Clip key -> rationale text of the last finished run; empty where the stage never finished."""
    where = storage.join(uri, "index.json")
    if not storage.exists(where):
        return {}
    wanted = json.loads(storage.read_text(where))["clips"]
    rows = read_parts(uri, "parts", PARTS, ["key", "text"]).to_pylist()
    texts = {row["key"]: row["text"] for row in rows}
    return {clip: texts[wanted[clip]] for clip in sorted(wanted)}


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Asks the teacher about the training clips of the run."""
    asked = questions(cfg, ClipStore(paths.shards))
    key = digest("rationales", [row["key"] for row in asked])
    return manifest.run_stage(
        "rationales", paths.rationales, key, lambda: ask_all(cfg, paths.shards, paths.rationales, asked)
    )
