"""`mllm.family` and a checkpoint's model_type -> the family's rules. A new family is one file and one line here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.mllm.families.base import Family  # loads torch, which a check of a configuration must not

# Paths, not classes: what names the families must load none of them.
FAMILIES: dict[str, str] = {
    "internvl": ".internvl:InternVL",
    "qwen2_5_vl": ".qwen2_5_vl:Qwen25VL",
    "qwen3_vl": ".qwen3_vl:Qwen3VL",
}
"""model_type of transformers -> "module:Class"; a module that begins with a dot lies in this folder."""


def family_named(name: str) -> Family:
    """The rules of a family.

    Raises:
        ValueError: there is no such family; names those that there are.
    """
    if name not in FAMILIES:
        raise ValueError(f"expected a model of {', '.join(FAMILIES)}, found {name!r}")
    return _load(FAMILIES[name])


@cache
def _load(path: str) -> Family:
    module, _, kind = path.partition(":")
    return getattr(import_module(module, __package__), kind)()
