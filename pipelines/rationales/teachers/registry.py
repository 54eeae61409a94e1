"""`rationales.teacher` -> teacher, limits, cost model and check. A new teacher is one file and one line here."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from models.config import RendererConfig
from pipelines.config.rationales import RationalesConfig
from pipelines.rationales.teachers.base import Answer, Teacher, Usage
from pipelines.rationales.teachers.dispatcher import Expected, TeacherQuestion
from pipelines.rationales.teachers.kinematic import KinematicTeacher
from pipelines.rationales.teachers.limits import LimitConfig
from pipelines.rationales.teachers.openai_api import OpenAITeacher, expected_usage, price, read_key
from pipelines.rationales.teachers.structured import parse, parse_label
from pipelines.runtime.errors import UserError
from skeleton_io import storage


def _kinematic(cfg: RationalesConfig, secret: Any) -> Teacher:
    return KinematicTeacher()


def _openai(cfg: RationalesConfig, secret: Any) -> Teacher:
    return OpenAITeacher(cfg.api, secret)


TEACHERS: dict[str, Callable[[RationalesConfig, Any], Teacher]] = {"kinematic": _kinematic, "openai_api": _openai}
"""Teachers that answer one request at a time; `rationales.WHOLE` has those that take all questions at once."""
CLASSES: dict[str, type[Any]] = {"kinematic": KinematicTeacher, "openai_api": OpenAITeacher}


def make_teacher(cfg: RationalesConfig, secret: Any) -> Teacher:
    """The teacher of the configuration.

    Args:
        cfg: which one.
        secret: from `secret_of`.
    """
    return TEACHERS[cfg.teacher](cfg, secret)


def secret_of(cfg: RationalesConfig) -> Any:
    """What the teacher needs to be let in; None where it needs nothing. Its text shows as asterisks everywhere.

    Raises:
        UserError: it is missing, or the configuration names no model or no prices for a budget.
    """
    if cfg.teacher in ("kinematic", "vllm"):
        return None
    if not cfg.api.model:
        raise UserError(f"rationales.api.model: name the model that {cfg.api.base_url} is to use")
    if cfg.api.budget_usd and not (cfg.api.usd_per_million_input and cfg.api.usd_per_million_output):
        raise UserError("rationales.api.budget_usd needs usd_per_million_input and usd_per_million_output")
    return read_key(cfg.api)


def limits_of(cfg: RationalesConfig) -> LimitConfig:
    """The limits that the configuration sets."""
    api = cfg.api
    return LimitConfig(
        requests_per_minute=api.requests_per_minute,
        tokens_per_minute=api.tokens_per_minute,
        budget_usd=api.budget_usd,
        budget_tokens=api.budget_tokens,
        breaker_failures=api.breaker_failures,
        breaker_s=api.breaker_s,
    )


def expected_of(cfg: RationalesConfig) -> Expected:
    """What requests cost."""
    if cfg.teacher == "kinematic":
        return Expected(usage=_nothing, price=_free)
    return Expected(usage=functools.partial(expected_usage, cfg.api), price=functools.partial(price, cfg.api))


def _nothing(request: Any) -> Usage:
    return Usage()


def _free(usage: Usage) -> float:
    return 0.0


def check_answer(question: TeacherQuestion, answer: Answer) -> None:
    """Raises TeacherError where an answer cannot be read at all. Whether it is right is judged later."""
    (parse if question.request.label is not None else parse_label)(answer.raw)


def teacher_renderer(name: str, drawn: RendererConfig) -> tuple[Any, RendererConfig]:
    """What draws the teacher's frames, and the configuration that its inputs are made with.

    Args:
        name: as in the configuration: "stick", or the export of a training run.
        drawn: frames and size.
    """
    if name == "stick":
        from models.draction.fixed import StickRenderer

        return StickRenderer(drawn).eval(), drawn
    from models.draction import weights
    from models.draction.registry import make_renderer
    from models.skeleton_llm import RENDERER_FILE
    from pipelines.exports.store import local_folder

    with local_folder(name) as folder:
        stored = weights.load_renderer(folder / RENDERER_FILE)
    cfg = dataclasses.replace(stored.cfg, frames=drawn.frames, image_size=drawn.image_size)
    renderer = make_renderer(cfg)
    renderer.load_state_dict(stored.state_dict())
    return renderer.eval(), cfg


def renderer_sha(name: str) -> str:
    """Names the renderer in an answer's key: "stick", or the hash of the weights.

    Raises:
        UserError: no export there.
    """
    if name == "stick":
        return name
    from models.skeleton_llm import RENDERER_FILE

    file = storage.join(name, RENDERER_FILE)
    if not storage.exists(file):
        raise UserError(f"rationales.renderer: no {RENDERER_FILE} in {name}")
    return storage.sha256(storage.read_bytes(file))[:16]
