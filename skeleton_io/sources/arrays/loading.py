"""A YAML that describes files of any layout -> a checked `ArraysDefinition`, and back from plain JSON text.

The one place of the readers that knows YAML and pydantic's decoding."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

from skeleton_io import storage, strict_yaml
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.sources.arrays.checks import find_problems
from skeleton_io.sources.arrays.definition import ArraysDefinition

_MOST_BYTES = 2_000_000  # a definition that names every clip of a set stays below


_ADAPTER = TypeAdapter(ArraysDefinition)


def from_json(text: str) -> ArraysDefinition:
    """Inverse of `ArraysDefinition.to_json`.

    Raises:
        SkeletonFormatError: no such text.
    """
    try:
        return decode(json.loads(text), "definition")
    except ValueError as error:
        raise SkeletonFormatError("definition", "whole text", "a definition as JSON", str(error)[:200]) from None


def load_definition(uri: str) -> ArraysDefinition:
    """Reads a definition and takes the topology file that it may name into itself.

    Raises:
        SkeletonFormatError: not YAML, an unknown or wrong field, a topology that is not there.
    """
    data = storage.read_bytes(uri)
    if len(data) > _MOST_BYTES:
        raise SkeletonFormatError(uri, "whole file", "a definition", f"{len(data)} bytes")
    try:
        content = strict_yaml.parse(data)
    except ValueError as error:
        raise SkeletonFormatError(uri, "whole file", "YAML", str(error)) from None
    if not isinstance(content, dict):
        raise SkeletonFormatError(uri, "whole file", "fields such as files and topology", type(content).__name__)
    topology = content.get("topology")
    if isinstance(topology, str) and topology.endswith(".json"):
        content["topology"] = _topology_file(uri, topology)
    if not content.get("name"):
        content["name"] = storage.name(uri).rsplit(".", 1)[0]
    return decode(content, uri)


def _topology_file(uri: str, reference: str) -> Any:
    base = uri.rsplit("/", 1)[0] if "/" in uri else "."
    path = reference if reference.startswith("/") or "://" in reference else storage.join(base, reference)
    try:
        return json.loads(storage.read_text(path))
    except (OSError, ValueError) as error:
        raise SkeletonFormatError(uri, "topology", f"a topology as JSON at {path}", str(error)[:200]) from None


def decode(content: object, origin: str) -> ArraysDefinition:
    """Plain data -> definition, checked as far as that goes without data.

    Raises:
        SkeletonFormatError: names the field, what was expected and what was found.
    """
    try:
        definition = _ADAPTER.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("constrained", "function")))
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            raise SkeletonFormatError(origin, place, "a field of the definition", "a name that is none") from None
        found = "nothing" if first["type"] in ("missing", "missing_argument") else repr(first["input"])[:80]
        raise SkeletonFormatError(origin, place, first["msg"], found) from None
    for place, problem in find_problems(definition):
        raise SkeletonFormatError(origin, place, *problem)
    return definition
