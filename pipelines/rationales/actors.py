"""The two kinds of Ray Data actors of the stage `rationales`: clips -> pictures; questions -> lines of the ledger.

The second runs one event loop per process with many requests in flight. A row that Ray runs again after a process died
is asked again only if no line of it reached the ledger. Chooses no questions and judges no answers.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import math
import warnings
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import numpy as np

from models.config import RendererConfig
from pipelines.config.rationales import RationalesConfig
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.rationales.teachers import registry
from pipelines.rationales.teachers.base import TeacherRequest
from pipelines.rationales.teachers.dispatcher import Dispatcher, TeacherQuestion
from pipelines.rationales.teachers.ledger import Ledger, LedgerWriter
from pipelines.rationales.teachers.limits import Grant, Limits
from pipelines.rationales.teachers.openai_api import chat_body
from pipelines.rationales.teachers.registry import check_answer
from skeleton_io import storage

Batch = dict[str, np.ndarray]
_LEARNED: dict[str, Any] = {
    name: getattr(RendererConfig(), name)
    for name in ("kind", "learn_camera", "velocity_stride_s", "depth_mix", "depth_mix_init", "nfm", "nfm_width",
                 "gru", "gru_width", "feature_dim", "heatmap_sigma")
}  # fmt: skip
CLIPS_PER_BATCH = 64
BATCHES_AT_A_TIME = 8
"""Batches that one actor works on at once, so that the end of one leaves no gap."""
_CLOSE_S = 5


class FrameActor:
    """Adds the column `images` (a list of PNG files per row) and `frames_sha` to questions.

    Args:
        shards_uri: shard set.
        cfg: which renderer.
        drawn: how the frames are drawn.
        account: handle of the actor with the shared `Limits`; once it says stop, nothing more is drawn.
    """

    def __init__(self, shards_uri: str, cfg: RationalesConfig, drawn: RendererConfig, account: Any = None) -> None:
        import torch

        torch.set_num_threads(1)
        self._store, self._account = ClipStore(shards_uri), account
        self._renderer, self._drawn = registry.teacher_renderer(cfg.renderer, drawn)

    def __call__(self, batch: Batch) -> Batch:
        """Column `clip` -> with pictures."""
        if self._stopped():
            # Nobody will be asked: a hundred thousand clips left must not be drawn first.
            nothing = np.empty(len(batch["clip"]), object)
            nothing[:] = [[b""] for _ in nothing]
            return {**batch, "images": nothing, "frames_sha": np.full(len(nothing), "", object)}
        frames = [self.draw(str(clip)) for clip in batch["clip"]]
        images, shas = np.empty(len(frames), object), np.empty(len(frames), object)
        for place, drawn in enumerate(frames):
            images[place] = [png(frame) for frame in drawn]
            shas[place] = storage.sha256(drawn.tobytes())
        return {**batch, "images": images, "frames_sha": shas}

    def _stopped(self) -> bool:
        if self._account is None:
            return False
        import ray

        state: dict[str, Any] = ray.get(self._account.state.remote())
        return bool(state["stop"])

    def draw(self, clip: str) -> np.ndarray:
        """(F, H, W, 3) uint8."""
        import torch

        from pipelines.data.renderer_input import clip_input

        with torch.no_grad():
            frames = self._renderer([clip_input(self._store.clip(clip), self._drawn, None, None)])[0]
        return (frames.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).contiguous().numpy()


def png(frame: np.ndarray) -> bytes:
    """(H, W, 3) uint8 -> PNG file."""
    from PIL import Image

    sink = io.BytesIO()
    # Level 1: a black picture with a few limbs hardly shrinks further, and packing would cost more than drawing.
    Image.fromarray(frame).save(sink, format="PNG", compress_level=1)
    return sink.getvalue()


class RequestActor:
    """Questions with pictures -> the request that a server gets, as JSON in the column `body`.

    Args:
        shards_uri: shard set.
        cfg: server and model.
        structured: whether the JSON schema is asked for.
    """

    def __init__(self, shards_uri: str, cfg: RationalesConfig, structured: bool) -> None:
        self._store, self._cfg, self._structured = ClipStore(shards_uri), cfg, structured

    def __call__(self, batch: Batch) -> Batch:
        """Replaces the column `images`."""
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        bodies = [chat_body(self._cfg.api, request_of(row, self._store), self._structured) for row in rows]
        texts = np.array([json.dumps(body) for body in bodies], object)
        return {**{name: values for name, values in batch.items() if name != "images"}, "body": texts}


def request_of(row: dict[str, Any], store: ClipStore) -> TeacherRequest:
    """A row of questions, with pictures where they were drawn, as a request."""
    images = tuple(("image/png", bytes(image)) for image in row["images"]) if "images" in row else ()
    return TeacherRequest(
        sequence=store.clip(str(row["clip"])),
        label=str(row["label"]) if row["purpose"] == "explain" else None,
        candidates=tuple(json.loads(str(row["candidates"]))),
        images=images,
    )


def facts_of(row: dict[str, Any]) -> dict[str, Any]:
    """What the ledger keeps of a row of questions: plain values."""
    kept = {name: value for name, value in row.items() if name not in ("images", "body", "candidates")}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in kept.items()}


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


class TeacherActor:
    """Asks the teacher; the answers are in the ledger when a batch is done.

    Args:
        shards_uri: shard set.
        ledger_uri: where lines go.
        cfg: which teacher.
        secret: its key, or None.
        account: handle of the actor with the shared `Limits`; None: a teacher without limits.
    """

    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, shards_uri: str, ledger_uri: str, cfg: RationalesConfig, secret: Any, account: Any) -> None:
        import ray

        context = ray.get_runtime_context()
        holder = str(context.get_actor_id())
        # A process that died may have left lines of batches that are now run again.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray warns of its own inner call
            again = context.was_current_actor_reconstructed
        self._settled = Ledger(ledger_uri).settled(cfg.retry_failed) if again else set[str]()
        self._store, self._cfg = ClipStore(shards_uri), cfg
        if account is not None:
            ray.get(account.enter.remote(holder))
        self._teacher = registry.make_teacher(cfg, secret)
        self._asking = Dispatcher(
            teacher=self._teacher,
            account=LocalAccount(Limits(registry.limits_of(cfg))) if account is None else RayAccount(account),
            ledger=LedgerWriter(ledger_uri),
            holder=holder,
            in_flight=max(1, math.ceil(cfg.api.in_flight / cfg.actors)) if account is not None else 1,
            attempts=cfg.api.attempts,
            expected=registry.expected_of(cfg),
            check=check_answer,
        )

    async def __call__(self, batch: Batch) -> AsyncIterator[Batch]:
        """Columns of questions (and images) -> one row {answered, failed, stopped}."""
        self._loop = asyncio.get_running_loop()
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        todo = [row for row in rows if row["key"] not in self._settled]
        ends = await asyncio.gather(*(self._ask(row) for row in todo))
        count = {end: np.array([ends.count(end)]) for end in ("answered", "failed", "stopped")}
        count["answered"] += len(rows) - len(todo)
        yield count

    def __del__(self) -> None:
        """Ray Data lets its actors go this way; connections left open would be complained of in the user's terminal."""
        loop, close = self._loop, getattr(self._teacher, "close", None) if self._loop else None
        if loop is not None and loop.is_running() and close is not None:
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(close(), loop).result(_CLOSE_S)

    async def _ask(self, row: dict[str, Any]) -> str:
        return await self._asking.ask(TeacherQuestion(facts=facts_of(row), request=request_of(row, self._store)))


def draw_frames(cfg: FullConfig, shards_uri: str, todo: list[dict[str, Any]], account: Any = None) -> Any:
    """Ray Data set of questions with pictures.

    Args:
        cfg: `rationales` and `renderer` are used.
        shards_uri: shard set.
        todo: questions.
        account: handle of the actor with the shared `Limits`; None where nothing stops.
    """
    import ray

    asked = cfg.rationales
    blocks = -(-len(todo) // CLIPS_PER_BATCH)
    return ray.data.from_items(todo, override_num_blocks=blocks).map_batches(
        FrameActor,
        fn_constructor_args=(shards_uri, asked, frames_config(cfg), account),
        batch_size=None,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=min(asked.actors, blocks)),
        num_cpus=0.5,
    )


def frames_config(cfg: FullConfig) -> RendererConfig:
    """How the teacher's frames are drawn. What only the learned renderer looks at is left at its default where another
    one draws, so that changing it voids no paid answer.
    """
    asked = cfg.rationales
    shown = dataclasses.replace(cfg.renderer, frames=asked.frames, image_size=asked.image_size)
    return dataclasses.replace(shown, **_LEARNED) if asked.renderer == "stick" else shown


def ask_teacher(
    cfg: FullConfig, shards_uri: str, ledger_uri: str, rows: Any, blocks: int, secret: Any, account: Any
) -> Any:
    """Ray Data set of what became of each batch of questions: rows {answered, failed, stopped}.

    Args:
        cfg: `rationales` is used.
        shards_uri: shard set.
        ledger_uri: where the lines go.
        rows: Ray Data set of questions, with pictures where the teacher wants them.
        blocks: of `rows`.
        secret: the server's key, or None.
        account: handle of the actor with the shared `Limits`; None: a teacher without limits.
    """
    import ray

    asked = cfg.rationales
    at_a_time = BATCHES_AT_A_TIME if account is not None else 1
    return rows.map_batches(
        TeacherActor,
        fn_constructor_args=(shards_uri, ledger_uri, asked, secret, account),
        batch_size=None,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(
            size=min(asked.actors, blocks),
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
