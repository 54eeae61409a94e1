"""Numbers of each step -> metrics.jsonl, TensorBoard, trackers, progress lines. Used by rank 0 only; chooses nothing.

A line of metrics.jsonl: step (from 1), epoch, loss, the family's own numbers (SkeletonLLM's: `training.step_metrics`),
grad_norm, lr/<group>, seconds, clips, clips_per_second, data_wait_share, clips_checksum (which clips the step saw),
workers, cpu_seconds (of all ranks since the step before), memory_gb (the rank with most), in measured steps
time/<region> (shares of rank 0's time), and validation_accuracy where it was taken. Where the family counts them:
tokens and tokens_per_second; tflops and mfu (per worker).

A storage that refuses (full, or not there for a while) ends no training: it is said once, and everything is tried again
with the next flush. TensorBoard's files need no TensorBoard; the viewer is the extra `tensorboard`.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from contextlib import suppress
from typing import Any

from pipelines.config.faults import MetricsConfig
from pipelines.runtime.progress import Progress, say
from pipelines.trainer.telemetry.event_file import EventFile
from pipelines.trainer.telemetry.trackers import Trackers
from skeleton_io import storage

METRICS_FILE = "metrics.jsonl"
TENSORBOARD = "tensorboard"
SHARE_PREFIX = "time/"
_FLUSH_S = 20.0
_FLUSH_SHARE = 0.05
"""Most of the time that goes into flushes of their own accord: all lines are written anew, and the training waits."""
_NOT_PLOTTED = ("step", "clips", "tokens", "seconds", "clips_checksum")
_ENDS = 10
"""Steps that the first and the last loss of a summary are averaged over."""


class TrainLog:
    """Metrics of one stage.

    Args:
        out: URI of the stage.
        name: shown in progress lines.
        steps: of the whole stage.
        global_batch: clips per step.
        done: steps that a checkpoint has; what was written about later ones is dropped.
        metrics: trackers to write to.

    Raises:
        UserError: a tracker's package is not installed.
    """

    def __init__(
        self, out: str, name: str, steps: int, global_batch: int, done: int, metrics: MetricsConfig | None = None
    ) -> None:
        self.steps = steps
        self.trackers = Trackers(metrics or MetricsConfig(), out, f"train {name}", bool(done))
        self.out, self.rows = out, [row for row in read_rows(out) if row["step"] <= done] if done else []
        self.progress = Progress(f"train {name}", steps * global_batch, "clips")
        self.progress.skip(done * global_batch)
        board = storage.join(out, TENSORBOARD)
        if not done:
            storage.remove(board)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if storage.is_local(board):
            target = str(storage.local_path(board))
        else:
            self._folder = tempfile.TemporaryDirectory()
            target = self._folder.name
        self.board_uri = board
        self.target, self.purge_step = target, done + 1
        self.writer: EventFile | None = None
        self.unplotted: list[tuple[int, dict[str, float]]] = []
        self.refused = False
        self.flushed, self.flush_s = time.monotonic(), 0.0

    def add(self, row: dict[str, Any]) -> None:
        """One step."""
        self.rows.append(row)
        numbers = {key: float(value) for key, value in row.items() if key not in _NOT_PLOTTED}
        self.unplotted.append((row["step"], numbers))
        self.trackers.add(row["step"], numbers)
        self.progress.add(row["clips"], self._describe(row))
        if time.monotonic() - self.flushed > max(_FLUSH_S, self.flush_s / _FLUSH_SHARE):
            self.flush()

    def note(self, key: str, value: float) -> None:
        """One more number of the latest step; of none where the lines before a restart were lost."""
        if not self.rows:
            return
        self.rows[-1][key] = value
        self.unplotted.append((self.rows[-1]["step"], {key: value}))
        self.trackers.add(self.rows[-1]["step"], {key: value})

    def _describe(self, row: dict[str, Any]) -> str:
        """What a progress line says beside clips, rate and time left."""
        parts = [f"step {row['step']}/{self.steps}", f"loss {row['loss']:.3f}"]
        parts += [f"{row['tokens_per_second']:,.0f} tokens/s"] if "tokens_per_second" in row else []
        parts += [f"data wait {100 * row['data_wait_share']:.0f} %"]
        parts += [f"MFU {100 * row['mfu']:.1f} %"] if "mfu" in row else []
        parts += [f"{row['memory_gb']:.1f} GB"] if "memory_gb" in row else []
        return ", ".join(parts)

    def flush(self) -> None:
        """Everything so far is on storage when this returns, unless the storage refuses."""
        start = time.monotonic()
        try:
            storage.write_atomic(storage.join(self.out, METRICS_FILE), "".join(json.dumps(r) + "\n" for r in self.rows))
            self._plot()
            if self._folder is not None:
                storage.upload(self._folder.name, self.board_uri)
            self.refused = False
        except Exception as error:  # noqa: BLE001 - clients of object stores raise what they like
            if not self.refused:
                say(f"[train] metrics cannot be written for now ({type(error).__name__}: {error}); training goes on")
            self.refused = True
        self.flushed = time.monotonic()
        self.flush_s = self.flushed - start

    def _plot(self) -> None:
        """Writes the event file. After a refusal a new one is begun, as the old one may end in half a record."""
        if self.writer is None or self.refused:
            self.writer = EventFile(self.target, self.purge_step)
        for step, numbers in self.unplotted:
            self.writer.add(step, numbers)
        self.writer.flush()
        if self.unplotted:
            self.purge_step = self.unplotted[-1][0] + 1
        self.unplotted = []

    def close(self) -> None:
        """Flushes and lets go of the files."""
        self.flush()
        if self.writer is not None:
            with suppress(OSError):
                self.writer.close()
        self.trackers.close()
        if self._folder is not None:
            self._folder.cleanup()


def read_rows(out: str) -> list[dict[str, Any]]:
    """Lines of a stage's metrics.jsonl; none where there is no file."""
    uri = storage.join(out, METRICS_FILE)
    return [json.loads(line) for line in storage.read_text(uri).splitlines()] if storage.exists(uri) else []


def time_shares(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Region -> share of the time of the measured steps, but for the first, which warms up; empty where none was."""
    measured = [row for row in rows if any(key.startswith(SHARE_PREFIX) for key in row)]
    measured = measured[1:] or measured
    seconds = sum(row["seconds"] for row in measured)
    names = sorted({key for row in measured for key in row if key.startswith(SHARE_PREFIX)})
    return {
        name.removeprefix(SHARE_PREFIX): sum(row[name] * row["seconds"] for row in measured if name in row) / seconds
        for name in names
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Steps, first and last loss, rates of a stage from its lines; losses NaN where the lines were lost."""
    if not rows:
        lost = dict.fromkeys(("train_seconds", "clips_per_second", "tokens_per_second", "data_wait_share"), 0.0)
        return {"steps": 0, "clips": 0, "loss_first": math.nan, "loss_last": math.nan, **lost}
    clips, seconds = sum(r["clips"] for r in rows), sum(r["seconds"] for r in rows)
    first, last = rows[:_ENDS], rows[-_ENDS:]
    rated = [r for r in rows if "mfu" in r]
    measured = {"mfu": sum(r["mfu"] * r["seconds"] for r in rated) / sum(r["seconds"] for r in rated)} if rated else {}
    shares = time_shares(rows)
    measured |= {"time_shares": shares} if shares else {}
    measured |= {"memory_gb": max(r["memory_gb"] for r in rows)} if "memory_gb" in rows[-1] else {}
    return measured | {
        "steps": len(rows),
        "clips": clips,
        "loss_first": sum(r["loss"] for r in first) / len(first),
        "loss_last": sum(r["loss"] for r in last) / len(last),
        "train_seconds": seconds,
        "clips_per_second": clips / seconds,
        **({"tokens_per_second": sum(r["tokens"] for r in rows) / seconds} if "tokens" in rows[-1] else {}),
        "data_wait_share": sum(r["data_wait_share"] * r["seconds"] for r in rows) / seconds,
    }
