"""YAML -> one frozen configuration tree, checked before anything starts. Loads no torch and no Ray.

The tree is the union of what the stages need; `skel <stage>` and `full.py` read the same file. Whatever comes in, from
YAML, the command line or a search, is decoded by one adapter, which knows types and bounds, and then checked for
contradictions.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from models.bounds import WORDS
from pipelines.config.checks import check_family, check_stages, check_workers
from pipelines.config.paths import with_absolute_paths
from pipelines.config.tree import FullConfig
from pipelines.runtime.errors import UserError
from skeleton_io import strict_yaml

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_ADAPTER = TypeAdapter(FullConfig)


def decode(data: object, origin: str) -> FullConfig:
    """Plain data -> configuration.

    Raises:
        UserError: an unknown key or a wrong value; names the field and what was expected.
    """
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        raise UserError(f"{origin}: " + "; ".join(_problem(item) for item in error.errors())) from None


def _problem(item: ErrorDetails) -> str:
    """One of pydantic's errors in our words."""
    place = ".".join(str(part) for part in item["loc"])
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"unknown key {place!r}"
    for comparison, limit in item.get("ctx", {}).items():
        if comparison in WORDS:
            return f"{place} must be {WORDS[comparison]} {limit:g}, found {item['input']!r}"
    return f"{place}: {item['msg']}, found {item['input']!r}"


def load_config(path: str) -> FullConfig:
    """Reads one YAML file.

    Raises:
        UserError: no such file, not YAML, or not a configuration.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"no configuration at {path}; the presets are in tune_configs/")
    try:
        data = strict_yaml.parse(file.read_bytes(), aliases=True)
    except ValueError as error:
        raise UserError(f"{path}: not YAML: {error}") from None
    config = with_absolute_paths(decode(data or {}, path))
    check_config(config, path)
    return config


def check_config(config: FullConfig, origin: str) -> None:
    """Contradictions inside a configuration that types do not show.

    Raises:
        UserError: with the field and what to change.
    """
    train, data = config.train, config.data
    if train.export_best and not (train.keep_best and train.validate_clips and data.validation_share):
        raise UserError(
            f"{origin}: train.export_best needs train.keep_best, train.validate_clips and data.validation_share above 0"
        )
    check_workers(train, origin)
    check_family(config.mllm.family, origin)
    try:
        config.renderer.check()
    except ValueError as error:
        raise UserError(f"{origin}: {error}") from None
    check_stages(config, origin)
    _check_space(config, origin)
    names = {name.partition(":")[0] for name in data.inputs}
    for name in {name for pair in config.evaluate.transfer for name in (*pair.sources, pair.test)}:
        if names and name not in names:
            raise UserError(f"{origin}: evaluate.transfer names {name!r}; data.inputs has {', '.join(sorted(names))}")


def _check_space(config: FullConfig, origin: str) -> None:
    """The search space: fields of the renderer or training, in ranges that make sense and decode."""
    for key, span in config.tune.space.items():
        resolve_field(config, key, origin)
        if key.split(".")[0] not in ("renderer", "train"):
            raise UserError(f"{origin}: tune.space key {key!r}: only renderer and train fields are searched")
        spans = (span.uniform, span.log_uniform, span.randint)
        if sum([bool(span.choice), *(pair is not None for pair in spans)]) != 1:
            raise UserError(f"{origin}: tune.space {key}: give exactly one of choice, uniform, log_uniform, randint")
        for low, high in (pair for pair in spans if pair is not None):
            if low >= high or (span.log_uniform is not None and low <= 0):
                raise UserError(f"{origin}: tune.space {key}: the range must rise (above 0 on a log scale)")
        ends = span.choice or next(pair for pair in spans if pair is not None)
        for value in ends:
            plain = to_plain(config)
            _put(plain, key, value)
            decode(plain, f"{origin}: tune.space {key}")


def resolve_field(config: FullConfig, key: str, origin: str) -> object:
    """Value of a dotted field.

    Raises:
        UserError: the key does not lead to a field.
    """
    node: object = config
    for part in key.split("."):
        names = [f.name for f in dataclasses.fields(node)] if dataclasses.is_dataclass(node) else []
        if part not in names:
            known = f"; there is {', '.join(names)}" if names else ""
            raise UserError(f"{origin}: tune.space key {key!r} does not resolve: no field {part!r}{known}")
        node = getattr(node, part)
    if dataclasses.is_dataclass(node):
        raise UserError(f"{origin}: tune.space key {key!r} does not resolve: it names a section, not a field")
    return node


def _put(data: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted field of the plain tree."""
    *path, last = key.split(".")
    for part in path:
        data = data[part]
    data[last] = value


def with_values(config: FullConfig, values: dict[str, Any], origin: str) -> FullConfig:
    """A copy with dotted fields replaced, decoded and checked again."""
    data = to_plain(config)
    for key, value in values.items():
        resolve_field(config, key, origin)
        _put(data, key, value)
    changed = decode(data, origin)
    check_config(changed, origin)
    return changed


def to_plain(config: FullConfig) -> dict[str, Any]:
    """The tree as plain data, defaults included."""
    return _ADAPTER.dump_python(config, mode="json")


def to_yaml(config: FullConfig) -> str:
    """The tree as YAML that `load_config` reads back to an equal configuration."""
    return strict_yaml.dump(to_plain(config))


def override_config(config: FullConfig, arguments: list[str]) -> FullConfig:
    """Typed command-line overrides, `--train.zero-stage 2`, on top of a loaded file.

    Raises:
        UserError: a field that there is not, a wrong value or one beyond its field's bounds, or a contradiction.
    """
    if not arguments:
        return config
    from pipelines.runtime.arguments import read_fields  # tyro

    origin = "command line"
    changed = decode(to_plain(read_fields(config, arguments)), origin)
    changed = with_absolute_paths(changed)
    check_config(changed, origin)
    return changed
