"""Which parameters learn: names of a SkeletonLLM or HFMultimodal -> groups, freezing, optimiser groups.

Builds no optimiser and knows no stages; a stage is a set of group names with a learning rate for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

Group = Literal["renderer", "vision", "projector", "llm", "lora"]
GROUPS: tuple[Group, ...] = get_args(Group)

# First match wins: adapters lie inside the language model, Qwen's projector inside its vision module.
_MARKS: tuple[tuple[str, Group], ...] = (
    (".lora_", "lora"),
    (".multi_modal_projector.", "projector"),
    (".visual.merger.", "projector"),
    (".visual.deepstack_merger_list.", "projector"),
    (".visual.", "vision"),
    (".vision_tower.", "vision"),
    (".language_model.", "llm"),
    (".lm_head.", "llm"),
)


def group_of(name: str) -> Group:
    """The group of a parameter's qualified name.

    Raises:
        ValueError: the name belongs to no known part.
    """
    dotted = f".{name}"
    if ".renderer." in dotted:
        return "renderer"
    for mark, group in _MARKS:
        if mark in dotted:
            return group
    raise ValueError(f"parameter {name!r}: expected a part of {', '.join(GROUPS)}, found none of their names")


def set_trainable(model: nn.Module, names: Iterable[str]) -> None:
    """Let exactly the named groups learn and freeze everything else.

    A fixed renderer has no parameters: naming `renderer` is then allowed, beside a group that learns.

    Raises:
        ValueError: an unknown group, or one without parameters in this model (`lora` before add_lora).
    """
    wanted = set(names)
    if unknown := sorted(wanted - set(GROUPS)):
        raise ValueError(f"trainable groups: expected some of {', '.join(GROUPS)}, found {', '.join(unknown)}")
    present: set[str] = set()
    for name, parameter in model.named_parameters():
        group = group_of(name)
        present.add(group)
        parameter.requires_grad_(group in wanted)
    fixed = (
        {"renderer"} if isinstance(getattr(model, "renderer", None), nn.Module) and wanted != {"renderer"} else set()
    )
    if absent := sorted(wanted - present - fixed):
        raise ValueError(f"trainable groups: this model has no parameters of {', '.join(absent)}")


def _is_matrix(parameter: nn.Parameter) -> bool:
    """At least two axes longer than one. Under ZeRO-3 the true shape stands in ds_shape."""
    shape = getattr(parameter, "ds_shape", parameter.shape)
    return sum(side > 1 for side in shape) >= 2


def param_groups(model: nn.Module, lrs: Mapping[str, float], weight_decay: float) -> list[dict[str, Any]]:
    """AdamW parameter groups of all trainable parameters: each group's rate, decay on matrices only.

    Biases, norms, layer scales and other vectors are not decayed. Empty groups are left out; the order is that of
    GROUPS, matrices first, so that every rank and every restart builds the same list.

    Raises:
        ValueError: a trainable parameter's group has no learning rate.
    """
    split: dict[tuple[Group, bool], list[nn.Parameter]] = {(g, m): [] for g in GROUPS for m in (True, False)}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            split[group_of(name), _is_matrix(parameter)].append(parameter)
    result: list[dict[str, Any]] = []
    for (group, matrix), parameters in split.items():
        if not parameters:
            continue
        if group not in lrs:
            raise ValueError(f"learning rates: expected one for the trainable group {group!r}, found none")
        decay = weight_decay if matrix else 0.0
        name = f"{group}/{'matrices' if matrix else 'vectors'}"
        result.append({"name": name, "params": parameters, "lr": lrs[group], "weight_decay": decay})
    return result


@dataclass(frozen=True)
class Count:
    """Numbers of one group: all parameters and those that learn."""

    total: int
    trainable: int


def counts(model: nn.Module) -> dict[Group, Count]:
    """Parameters of every group that the model has, in the order of GROUPS."""
    total = dict.fromkeys(GROUPS, 0)
    trainable = dict.fromkeys(GROUPS, 0)
    for name, parameter in model.named_parameters():
        number = getattr(parameter, "ds_numel", parameter.numel())
        group = group_of(name)
        total[group] += number
        trainable[group] += number * parameter.requires_grad
    return {g: Count(total[g], trainable[g]) for g in GROUPS if total[g]}
