"""What a user names as a model -> the export folder to load: of a run, of one of its training stages, or an export.

Looks for files only; loading is `store.load_model`'s.
"""

from __future__ import annotations

import json

from models.skeleton_llm import RENDERER_FILE
from pipelines.exports.store import CONFIG_FILE, LABELS_FILE, WEIGHTS_FILE, weight_hashes
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import UserError
from pipelines.runtime.manifest import read_manifest
from pipelines.runtime.paths import RunPaths
from skeleton_io import storage

_FILES = (CONFIG_FILE, LABELS_FILE, RENDERER_FILE)


def is_export(uri: str) -> bool:
    """Whether a folder holds what `write_export` writes."""
    return all(storage.exists(storage.join(uri, name)) for name in _FILES)


def find_export(uri: str, subject: str = "") -> str:
    """The export that a model's name stands for.

    Args:
        uri: folder or URI of an export, of a training stage (its `export/`), or of a run (its last finished stage).
        subject: what an error begins with; empty: the option that names models, `--model URI`.

    Raises:
        UserError: nothing there, or no finished model in it.
    """
    subject = subject or f"--model {uri}"
    if not storage.exists(uri):
        raise UserError(f"{subject}: no such folder")
    for place in (uri, storage.join(uri, "export")):
        if is_export(place):
            return place
    train = RunPaths(uri).train
    if storage.exists(train):
        finished = [
            (manifest["finished"], stage)
            for stage in _stages(train)
            if (manifest := read_manifest(storage.join(train, stage)))
            and is_export(storage.join(train, stage, "export"))
        ]
        if finished:
            return storage.join(train, max(finished)[1], "export")
        raise UserError(f"{subject}: no stage of this run is finished; run `skel train` to its end first")
    raise UserError(
        f"{subject}: neither a run (train/STAGE/export), nor a training stage, nor an export "
        f"({', '.join(_FILES)}, mllm/)"
    )


def _stages(train: str) -> list[str]:
    fs, path = storage.filesystem(train)
    return sorted({storage.name(str(entry)) for entry in fs.ls(path, detail=False)})


def identity(export_uri: str) -> str:
    """Hash (16 hex digits) of all bytes of an export, which tells it from every other one.

    The LLM's weights are gigabytes: their hashes are read, and made only for an export that was written without them.
    """
    small = [storage.sha256(storage.read_bytes(storage.join(export_uri, name))) for name in _FILES]
    written = storage.join(export_uri, WEIGHTS_FILE)
    hashes = json.loads(storage.read_text(written)) if storage.exists(written) else weight_hashes(export_uri)
    return digest("export", small, hashes)
