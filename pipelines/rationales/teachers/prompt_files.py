"""Versioned prompt files -> chat messages, and their hash. A changed wording is a new file, never an edited one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from pipelines.rationales.teachers.base import Purpose, TeacherRequest

FOLDER = Path(__file__).with_name("prompts")
FILES: dict[Purpose, str] = {"explain": "explain_v1.md", "blind": "blind_v1.md"}


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """System and user text of one request."""

    system: str
    user: str


@lru_cache
def prompt_sha(purpose: Purpose) -> str:
    """Hash of the file (16 hex digits); part of every answer's key."""
    return hashlib.sha256((FOLDER / FILES[purpose]).read_bytes()).hexdigest()[:16]


def prompt(request: TeacherRequest, structured: bool) -> Prompt:
    """Fills in the file that fits the request.

    Args:
        request: with a label: to explain; without: blind.
        structured: the server enforces the JSON schema, so that the text need not describe it.
    """
    purpose: Purpose = "blind" if request.label is None else "explain"
    system, user = _templates(purpose)
    values = {
        "frames": len(request.images),
        "duration": request.sequence.duration,
        "label": request.label,
        "candidates": request.candidates,
        "structured": structured,
    }
    return Prompt(system=system.render(values).strip(), user=user.render(values).strip())


@lru_cache
def _templates(purpose: Purpose):  # noqa: ANN202 - jinja2's template class
    # Plain text for a model: escaping would put &amp; into labels.
    env = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    text = (FOLDER / FILES[purpose]).read_text(encoding="utf-8")
    # The two headings part the file; no prompt holds a NUL.
    _, system, user = text.replace("# system\n", "\0").replace("# user\n", "\0").split("\0")
    return env.from_string(system), env.from_string(user)
