"""Ray Data actors that ask: rows of `TeacherTask` -> lines of the ledger, or the bodies of requests.

One event loop per process with many requests in flight. A row that Ray runs again after a process died is asked again
only if no line of it reached the ledger. Chooses no tasks and judges no answers.
"""

from __future__ import annotations

import asyncio
import json
import math
import warnings
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.config.rationales import RationalesConfig
from pipelines.data.clip_store import ClipStore
from pipelines.rationales.teachers import registry
from pipelines.rationales.teachers.base import TeacherRequest
from pipelines.rationales.teachers.dispatcher import Dispatcher, TeacherQuestion
from pipelines.rationales.teachers.ledger import Ledger, LedgerWriter
from pipelines.rationales.teachers.limits import Grant, Limits
from pipelines.rationales.teachers.openai_api import chat_body
from pipelines.rationales.teachers.registry import TeacherEntry, check_answer
from pipelines.rationales.teachers.task import TeacherTask

Batch = dict[str, np.ndarray]
BATCHES_AT_A_TIME = 8
"""Batches that one actor works on at once, so that the end of one leaves no gap."""
_CLOSE_S = 5


class RequestActor:
    """Tasks with pictures -> the request that a server gets, as JSON in the column `body`.

    Args:
        shards_uri: shard set.
        cfg: server and model.
        structured: whether the JSON schema is asked for.
    """

    def __init__(self, shards_uri: str, cfg: RationalesConfig, structured: bool) -> None:
        self._store, self._cfg, self._structured = ClipStore(shards_uri), cfg, structured

    def __call__(self, batch: Batch) -> Batch:
        """Replaces the column `images`."""
        requests = [question_of(row, self._store).request for row in _rows_of(batch)]
        bodies = [chat_body(self._cfg.api, request, self._structured) for request in requests]
        texts = np.array([json.dumps(body) for body in bodies], object)
        return {**{name: values for name, values in batch.items() if name != "images"}, "body": texts}


def _rows_of(batch: Batch) -> list[dict[str, Any]]:
    """Columns -> rows."""
    return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]


def request_of(task: TeacherTask, store: ClipStore, images: Iterable[bytes] = ()) -> TeacherRequest:
    """A task as the teacher gets it.

    Args:
        task: what is asked.
        store: where its clip is.
        images: PNG files of its frames; none where none were drawn.
    """
    return TeacherRequest(
        sequence=store.clip(task.clip),
        label=task.label if task.purpose == "explain" else None,
        candidates=task.candidates,
        images=tuple(("image/png", bytes(image)) for image in images),
    )


def question_of(row: Mapping[str, Any], store: ClipStore) -> TeacherQuestion:
    """A row of tasks, with pictures where they were drawn, ready to be sent."""
    task = TeacherTask.from_row(row)
    request = request_of(task, store, row.get("images", ()))
    return TeacherQuestion(task=task, request=request, frames_sha=frames_sha_of(row))


def frames_sha_of(row: Mapping[str, Any]) -> str | None:
    """Hash of the frames that were drawn for a row of tasks; None where none were."""
    return str(row["frames_sha"]) if "frames_sha" in row else None


class RayAccount:
    """`Limits` in a Ray actor, as `dispatcher.Account`."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def reserve(self, holder: str, tokens: int, usd: float) -> Grant:
        """See `Limits.reserve`."""
        return await self._handle.reserve.remote(holder, tokens, usd)

    async def report(
        self, holder: str, tokens: int, usd: float, held_tokens: int, held_usd: float, failed: bool, after_s: float
    ) -> None:
        """See `Limits.report`."""
        await self._handle.report.remote(holder, tokens, usd, held_tokens, held_usd, failed, after_s)

    async def halt(self, reason: str) -> None:
        """See `Limits.halt`."""
        await self._handle.halt.remote(reason)


class LocalAccount:
    """Limits of one process: for teachers that cost nothing and need no agreement between actors."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def reserve(self, holder: str, tokens: int, usd: float) -> Grant:
        """See `Limits.reserve`."""
        return self._limits.reserve(holder, tokens, usd)

    async def report(
        self, holder: str, tokens: int, usd: float, held_tokens: int, held_usd: float, failed: bool, after_s: float
    ) -> None:
        """See `Limits.report`."""
        self._limits.report(holder, tokens, usd, held_tokens, held_usd, failed, after_s)

    async def halt(self, reason: str) -> None:
        """See `Limits.halt`."""
        self._limits.halt(reason)


@dataclass(frozen=True, kw_only=True)
class TeacherJob:
    """What the actors of one stage need to ask their teacher.

    Attributes:
        entry: whom to ask. Sent along, since a teacher from outside is in the table of the driver only.
        cfg: `rationales` of the configuration.
        shards_uri: shard set.
        ledger_uri: where lines go.
        secret: what lets the teacher in, or None.
        account: handle of the actor with the shared `Limits`; None: a teacher without limits.
    """

    entry: TeacherEntry
    cfg: RationalesConfig
    shards_uri: str
    ledger_uri: str
    secret: Any = None
    account: Any = None


class TeacherActor:
    """Asks the teacher; the answers are in the ledger when a batch is done.

    Args:
        job: whom to ask, under which limits, and where the lines go.
    """

    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, job: TeacherJob) -> None:
        import ray

        context, cfg, account = ray.get_runtime_context(), job.cfg, job.account
        # An actor that Ray starts again keeps its id, so `enter` frees what its dead process held.
        holder = str(context.get_actor_id())
        # A process that died may have left lines of batches that are now run again.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray warns of its own inner call
            again = context.was_current_actor_reconstructed
        self._settled = Ledger(job.ledger_uri).settled(cfg.retry_failed) if again else set[str]()
        self._store = ClipStore(job.shards_uri)
        if account is not None:
            ray.get(account.enter.remote(holder))
        self._teacher = job.entry.make_teacher(cfg, job.secret)
        self._dispatcher = Dispatcher(
            teacher=self._teacher,
            account=LocalAccount(Limits(registry.limits_of(cfg))) if account is None else RayAccount(account),
            ledger=LedgerWriter(job.ledger_uri),
            holder=holder,
            # A teacher without limits computes: a second request would only wait for the same processor.
            in_flight=max(1, math.ceil(cfg.api.in_flight / cfg.actors)) if account is not None else 1,
            attempts=cfg.api.attempts,
            expected=job.entry.cost_model(cfg),
            check=check_answer,
        )

    async def __call__(self, batch: Batch) -> AsyncIterator[Batch]:
        """Columns of tasks (and images) -> one row {answered, failed, stopped}."""
        self._loop = asyncio.get_running_loop()
        rows = _rows_of(batch)
        todo = [row for row in rows if row["key"] not in self._settled]
        ends = await asyncio.gather(*(self._dispatcher.ask(question_of(row, self._store)) for row in todo))
        count = {end: np.array([ends.count(end)]) for end in ("answered", "failed", "stopped")}
        # What the dead process had settled counts for the progress all the same.
        count["answered"] += len(rows) - len(todo)
        yield count

    def __del__(self) -> None:
        """Ray Data lets its actors go this way; connections left open would be complained of in the user's terminal."""
        loop, close = self._loop, getattr(self._teacher, "close", None) if self._loop else None
        if loop is not None and loop.is_running() and close is not None:
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(close(), loop).result(_CLOSE_S)


def ask_teacher(job: TeacherJob, rows: Any, blocks: int) -> Any:
    """Ray Data set of what became of each batch of tasks: rows {answered, failed, stopped}.

    Args:
        job: whom to ask.
        rows: Ray Data set of tasks, with pictures where the teacher wants them.
        blocks: of `rows`.
    """
    import ray

    at_a_time = BATCHES_AT_A_TIME if job.account is not None else 1
    return rows.map_batches(
        TeacherActor,
        fn_constructor_args=(job,),
        batch_size=None,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(
            size=min(job.cfg.actors, blocks),
            max_tasks_in_flight_per_actor=at_a_time,
            max_concurrent_calls_per_actor=at_a_time,
        ),
        num_cpus=0.25,
    )


def shared_limits(cfg: RationalesConfig, spent: tuple[float, int]) -> Any:
    """Ray actor with the limits that all askers share.

    Args:
        cfg: rates, budget and prices.
        spent: money and tokens that the ledger holds already.
    """
    import ray

    return ray.remote(num_cpus=0, max_concurrency=1)(Limits).remote(  # type: ignore[attr-defined]
        registry.limits_of(cfg), *spent
    )
