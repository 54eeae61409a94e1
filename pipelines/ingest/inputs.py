"""`--input` values -> the sets to ingest: NAME=PATH as it stands, a bare PATH by detection. Reads first bytes only.

Says what it detected and what it left; refuses to choose between formats that both fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute
from pipelines.runtime.progress import say
from skeleton_io import storage
from skeleton_io.sources.detection import Candidate, choose, named_files, what_is_there
from skeleton_io.sources.registry import candidates, split_name
from skeleton_io.sources.shared.side_files import SIDE_FILES


def inputs_from(values: Iterable[str]) -> dict[str, str]:
    """Specification (NAME, NAME:FORMAT, my.yaml, NAME:my.yaml) -> absolute folder or URI.

    Raises:
        UserError: an input that is neither NAME=PATH nor a folder of a known format, or a set named twice.
    """
    inputs: dict[str, str] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if equals and (not name or not path):
            raise UserError(f"--input takes NAME=PATH, my.yaml=PATH or a folder, found {value!r}")
        named = {name: absolute(path)} if equals else _detect(absolute(value))
        for spec, root in named.items():
            if spec in inputs:
                raise UserError(f"--input names the set {spec} twice")
            inputs[spec] = root
    return inputs


def _detect(root: str) -> dict[str, str]:
    """The set in a folder or, where that is no single one, those in its folders."""
    if not storage.exists(root):
        raise UserError(f"no folder at {root} (--input takes NAME=PATH, or a folder of a known format)")
    if storage.is_local(root) and not storage.local_path(root).is_dir():
        raise UserError(f"{root} is a file; give the folder that holds it")
    formats = candidates(root)
    best, rivals = choose(formats)
    if best is not None and not rivals:
        return {_spec(root, best): root}
    # The folders count as sets of their own only where the whole does not make one.
    inside = _folders(root)
    parts = {folder: choose(candidates(folder)) for folder in inside}
    clear = {folder: best for folder, (best, rivals) in parts.items() if best is not None and not rivals}
    if not clear or (len(clear) == 1 and len(inside) == 1):
        raise UserError(_why_not(root, formats))
    inputs: dict[str, str] = {}
    for folder in inside:
        if folder not in clear:
            say(f"[ingest] left out: {_why_not(folder, candidates(folder))}")
            continue
        spec = _spec(folder, clear[folder])
        if split_name(spec)[0] in {split_name(other)[0] for other in inputs}:
            spec = f"{_name(folder)}:{clear[folder].source.name}"
        inputs[spec] = folder
    return inputs


def _folders(root: str) -> list[str]:
    names = {path.split("/", 1)[0] for path in storage.list_files(root) if "/" in path}
    return [storage.join(root, name) for name in sorted(names)]


def _spec(root: str, best: Candidate) -> str:
    """NAME or NAME:FORMAT, said aloud together with what is left."""
    listed = [path for path in storage.list_files(root) if path.rsplit("/", 1)[-1] not in SIDE_FILES]
    others = [path for path in listed if path not in set(best.files)]
    left = f"; not taken: {what_is_there(others)} ({named_files(others)})" if others else ""
    named = best.source.licence is not None
    spec = best.source.name if named else f"{_name(root)}:{best.source.name}"
    say(f"[ingest] {root}: detected {best}{left}")
    say(f"[ingest] the same without detection: --input {spec}={root}")
    return spec


def _name(root: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", storage.name(root.rstrip("/"))).strip("_.-")
    return name or "set"


def _why_not(root: str, formats: list[Candidate]) -> str:
    content = what_is_there(storage.list_files(root))
    if not formats:
        return f"{root} holds {content}, of no format that is known; draft a definition with: skel describe {root}"
    several = "; ".join(str(candidate) for candidate in formats[:4])
    return f"{root} may be {several}: say which with --input NAME:FORMAT={root}"
