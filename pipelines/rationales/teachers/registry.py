"""`rationales.teacher` -> who answers, what lets it in, what it costs. A new teacher is one file and one line here."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.config.rationales import RationalesConfig
from pipelines.rationales.teachers.base import Answer, Teacher, Usage
from pipelines.rationales.teachers.dispatcher import Expected, TeacherQuestion
from pipelines.rationales.teachers.kinematic import KinematicTeacher
from pipelines.rationales.teachers.limits import LimitConfig
from pipelines.rationales.teachers.openai_api import OpenAITeacher, expected_usage, price, read_key
from pipelines.rationales.teachers.structured import parse, parse_label
from pipelines.runtime.errors import UserError


def _no_key(cfg: RationalesConfig) -> None:
    """Teachers of this machine let everybody in."""


@dataclass(frozen=True, kw_only=True)
class TeacherEntry:
    """One teacher of the table: answers one request at a time (`teacher`), or takes all tasks at once (`ask_all`).

    Attributes:
        teacher: the class; its name and version decide its answers' keys, `wants_frames` whether it gets pictures.
        make: (settings, secret) -> a teacher, where the class wants arguments.
        ask_all: "module.function", imported when it is used: (cfg, shards_uri, ledger, tasks, progress, secret) -> why
            it stopped early, empty where it did not. Such a teacher gets pictures.
        identity: settings -> all that decides an answer beside the question, where that is not name and version.
        secret: settings -> what lets it in; raises UserError where it is missing.
        expected: settings -> what requests cost; None: nothing.
        metered: rates, budget and breaker of `rationales.api` hold over all its actors together.
    """

    teacher: type[Teacher] | None = None
    make: Callable[[RationalesConfig, Any], Teacher] | None = None
    ask_all: str = ""
    identity: Callable[[RationalesConfig], tuple[object, ...]] | None = None
    secret: Callable[[RationalesConfig], Any] = _no_key
    expected: Callable[[RationalesConfig], Expected] | None = None
    metered: bool = False

    def __post_init__(self) -> None:
        if (self.teacher is None) == (not self.ask_all):
            raise ValueError("an entry of TEACHERS gives either teacher or ask_all")
        if self.teacher is None and self.identity is None:
            raise ValueError("an entry of TEACHERS with ask_all gives identity")

    @property
    def wants_frames(self) -> bool:
        """Whether frames are drawn for it."""
        return self.teacher is None or self.teacher.wants_frames

    def identify(self, cfg: RationalesConfig) -> tuple[object, ...]:
        """What decides an answer beside clip, label, wording and frames; part of every key."""
        if self.identity is not None:
            return self.identity(cfg)
        assert self.teacher is not None
        return self.teacher.name, self.teacher.version

    def make_teacher(self, cfg: RationalesConfig, secret: Any) -> Teacher:
        """The teacher that answers one request at a time; `secret` as the entry's function gave it."""
        if self.make is not None:
            return self.make(cfg, secret)
        assert self.teacher is not None
        return self.teacher()

    def load_ask_all(self) -> Callable[..., str]:
        """The function that takes all tasks at once."""
        module, _, function = self.ask_all.rpartition(".")
        return getattr(importlib.import_module(module), function)

    def cost_model(self, cfg: RationalesConfig) -> Expected:
        """What requests cost at most."""
        return Expected(usage=_nothing, price=_free) if self.expected is None else self.expected(cfg)


def _nothing(request: Any) -> Usage:
    return Usage()


def _free(usage: Usage) -> float:
    return 0.0


def _make_openai(cfg: RationalesConfig, secret: Any) -> Teacher:
    return OpenAITeacher(cfg.api, secret)


def _chat(cfg: RationalesConfig) -> tuple[object, ...]:
    return "chat", cfg.api.base_url, *_chat_settings(cfg)


def _chat_on_own_gpus(cfg: RationalesConfig) -> tuple[object, ...]:
    return "chat", "", *_chat_settings(cfg)


def _chat_settings(cfg: RationalesConfig) -> tuple[object, ...]:
    return cfg.api.model, [cfg.api.temperature, cfg.api.max_tokens, cfg.api.image_detail]


def _server_key(cfg: RationalesConfig) -> Any:
    """The key of the server, whose text shows as asterisks everywhere.

    Raises:
        UserError: it is missing, or the configuration names no model or no prices for a budget.
    """
    if not cfg.api.model:
        raise UserError(f"rationales.api.model: name the model that {cfg.api.base_url} is to use")
    if cfg.api.budget_usd and not (cfg.api.usd_per_million_input and cfg.api.usd_per_million_output):
        raise UserError("rationales.api.budget_usd needs usd_per_million_input and usd_per_million_output")
    return read_key(cfg.api)


def _api_prices(cfg: RationalesConfig) -> Expected:
    return Expected(usage=functools.partial(expected_usage, cfg.api), price=functools.partial(price, cfg.api))


# Those that take all tasks stand above this room and are named by path. `openai_batch` has the identity of
# `openai_api`: an answer is the same however it was ordered, and is not paid for twice.
TEACHERS: dict[str, TeacherEntry] = {
    "kinematic": TeacherEntry(teacher=KinematicTeacher),
    "openai_api": TeacherEntry(
        teacher=OpenAITeacher,
        make=_make_openai,
        identity=_chat,
        secret=_server_key,
        expected=_api_prices,
        metered=True,
    ),
    "openai_batch": TeacherEntry(
        ask_all="pipelines.rationales.openai_batch.ask_in_batches",
        identity=_chat,
        secret=_server_key,
        expected=_api_prices,
    ),
    "vllm": TeacherEntry(
        ask_all="pipelines.rationales.vllm.ask_vllm", identity=_chat_on_own_gpus, expected=_api_prices
    ),
}


def entry_of(cfg: RationalesConfig) -> TeacherEntry:
    """The entry that `rationales.teacher` names.

    Raises:
        UserError: there is none of that name.
    """
    if cfg.teacher not in TEACHERS:
        raise UserError(f"rationales.teacher: no teacher {cfg.teacher!r}; there is {', '.join(TEACHERS)}")
    return TEACHERS[cfg.teacher]


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


def check_answer(question: TeacherQuestion, answer: Answer) -> None:
    """Raises TeacherError where an answer cannot be read at all. Whether it is right is judged later."""
    (parse if question.request.label is not None else parse_label)(answer.raw)
