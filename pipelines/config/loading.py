"""YAML -> one frozen configuration tree, checked before anything starts. Loads no torch and no Ray.

The tree is the union of what the stages need; `skel <stage>` and `full.py` read the same file. Defaults stand in the
fields of `tree` and nowhere else. Command-line overrides by field name (`--train.zero-stage 2`) are decoded
by tyro on top of the file.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipelines.config.checks import check_stages, check_workers
from pipelines.config.tree import (
    FullConfig,
)
from pipelines.runtime.errors import UserError
from skeleton_io import strict_yaml
from skeleton_io.protocols.files import is_file

_ADAPTER = TypeAdapter(FullConfig)


def decode(data: object, origin: str) -> FullConfig:
    """Plain data -> configuration.

    Raises:
        UserError: an unknown key or a wrong value; names the field and what was expected.
    """
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            place = ".".join(str(part) for part in item["loc"])
            if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
                problems.append(f"unknown key {place!r}")
            else:
                problems.append(f"{place}: {item['msg']}, found {item['input']!r}")
        raise UserError(f"{origin}: " + "; ".join(problems)) from None


def load(path: str) -> FullConfig:
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
    config = _absolute(decode(data or {}, path))
    check(config, path)
    return config


def _absolute(config: FullConfig) -> FullConfig:
    """Paths made absolute: workers run in other folders, and what they wrote to a relative one would be lost there.

    `data.inputs` is left to `full.fill_inputs`, and `mllm.path` is one where such a folder is here, else a hub's id.
    """
    named = {name: _path(value) if is_file(value) else value for name, value in config.data.protocols.items()}
    train = config.train
    stages = tuple(
        dataclasses.replace(stage, start=_path(stage.start)) if "/" in stage.start else stage for stage in train.stages
    )
    negatives = dataclasses.replace(train.negatives, file=_path(train.negatives.file))
    questions = dataclasses.replace(train.questions, file=_path(train.questions.file))
    train = dataclasses.replace(train, stages=stages, negatives=negatives, questions=questions)
    beside = {name: _path(uri) for name, uri in config.evaluate.beside.items()}
    scoring = dataclasses.replace(config.evaluate, synonyms=_path(config.evaluate.synonyms), beside=beside)
    asked = config.rationales
    drawn = asked.renderer if asked.renderer == "stick" else _path(asked.renderer)
    asked = dataclasses.replace(asked, ledger=_path(asked.ledger), renderer=drawn)
    mllm = config.mllm
    mllm = dataclasses.replace(mllm, path=_path(mllm.path)) if Path(mllm.path).is_dir() else mllm
    data = dataclasses.replace(config.data, protocols=named)
    changed = {"data": data, "train": train, "evaluate": scoring, "rationales": asked, "mllm": mllm}
    return dataclasses.replace(config, **changed)


def _path(value: str) -> str:
    """A path as an absolute one; a URI or nothing as it is."""
    return str(Path(value).resolve()) if value and "://" not in value else value


def check(config: FullConfig, origin: str) -> None:
    """Contradictions inside a configuration that types do not show.

    Raises:
        UserError: with the field and what to change.
    """
    train, data = config.train, config.data
    positive = {"train.workers": train.workers, "train.global_batch": train.global_batch}
    positive |= {"train.micro_batch": train.micro_batch, "evaluate.batch": config.evaluate.batch}
    positive |= {"evaluate.actors": config.evaluate.actors, "rationales.actors": config.rationales.actors}
    api = config.rationales.api
    positive |= {"rationales.api.in_flight": api.in_flight, "rationales.api.attempts": api.attempts}
    positive |= {"train.checkpoint_every": train.checkpoint_every, "train.keep_checkpoints": train.keep_checkpoints}
    positive |= {"tune.trials": config.tune.trials, "tune.epochs": config.tune.epochs}
    positive |= {"data.clips_per_shard": data.clips_per_shard, "renderer.frames": config.renderer.frames}
    for key, value in positive.items():
        if value < 1:
            raise UserError(f"{origin}: {key} must be at least 1, found {value}")
    if train.clip_grad < 0 or train.validate_every < 0 or train.keep_best < 0:
        raise UserError(f"{origin}: train.clip_grad, validate_every and keep_best must be at least 0")
    if train.export_best and not (train.keep_best and train.validate_clips and data.validation_share):
        raise UserError(
            f"{origin}: train.export_best needs train.keep_best, train.validate_clips and data.validation_share above 0"
        )
    if not 0 <= data.validation_share < 1:
        raise UserError(f"{origin}: data.validation_share must be in [0, 1), found {data.validation_share}")
    check_workers(train, origin)
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
        resolve(config, key, origin)
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


def resolve(config: FullConfig, key: str, origin: str) -> object:
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
        resolve(config, key, origin)
        _put(data, key, value)
    changed = decode(data, origin)
    check(changed, origin)
    return changed


def to_plain(config: FullConfig) -> dict[str, Any]:
    """The tree as plain data, defaults included."""
    return _ADAPTER.dump_python(config, mode="json")


def to_yaml(config: FullConfig) -> str:
    """The tree as YAML that `load` reads back to an equal configuration."""
    return strict_yaml.dump(to_plain(config))


def override(config: FullConfig, arguments: list[str]) -> FullConfig:
    """Typed command-line overrides, `--train.zero-stage 2`, on top of a loaded file; tyro explains wrong ones."""
    if not arguments:
        return config
    import tyro

    changed = _absolute(tyro.cli(FullConfig, default=config, args=arguments))
    check(changed, "command line")
    return changed
