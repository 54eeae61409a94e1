"""Pieces of an engine's state -> files of one checkpoint, and back on any number of ranks. Starts no threads.

A checkpoint is a folder `step-<steps>-<attempt>`. Each rank writes its pieces into safetensors files of its own and
then, last, a marker `part-<rank>-of-<ranks>.json` that names those files with size, SHA-256 and the pieces in them. A
checkpoint counts once the markers of all its ranks are there: one that was cut off anywhere is not seen. A piece is
addressed by parameter and offset, so a reader takes what its own sharding asks for, whoever wrote it. `attempt` differs
each time a stage is taken up, so files of a broken attempt are never mixed with those of the next.
"""

from __future__ import annotations

import json
import re
import struct
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipelines.trainer.engine import Piece
from skeleton_io import storage

FORMAT = 1
FILE_BYTES = 1 << 30
"""A file is ended once it is this large: memory for writing, and what an object store takes at once, stay bounded."""
_FOLDER = re.compile(r"step-(\d+)-([0-9a-f]+)")
_MARKER = re.compile(r"part-(\d+)-of-(\d+)\.json")


class Damaged(Exception):
    """A checkpoint whose files are not what its markers say."""


@dataclass(frozen=True)
class PartFile:
    """One file of a rank, as its marker names it.

    Attributes:
        file: its name in the checkpoint's folder.
        bytes: its size.
        sha256: of its bytes.
        pieces: (parameter, start in it, length) of each piece in it.
    """

    file: str
    bytes: int
    sha256: str
    pieces: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Part:
    """What one rank wrote: the contents of its marker.

    Attributes:
        step: optimiser steps done.
        rank: of the writer.
        ranks: how many wrote.
        metrics: plain numbers that go with the checkpoint.
        files: of this rank.
    """

    step: int
    rank: int
    ranks: int
    metrics: Mapping[str, Any]
    files: tuple[PartFile, ...]

    def to_json(self) -> str:
        """The marker's text."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str | bytes) -> Part:
        """The marker of a text.

        Raises:
            ValueError: no whole JSON, or another format.
        """
        data = json.loads(text)
        if data.pop("format") != FORMAT:
            raise ValueError(f"expected a marker of format {FORMAT}")
        files = tuple(PartFile(**{**file, "pieces": tuple(map(tuple, file["pieces"]))}) for file in data.pop("files"))
        return cls(**data, files=files)


@dataclass(frozen=True)
class Checkpoint:
    """One complete checkpoint.

    Attributes:
        uri: its folder.
        step: optimiser steps done.
        attempt: which attempt at the stage wrote it.
        parts: by rank.
    """

    uri: str
    step: int
    attempt: int
    parts: tuple[Part, ...]

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What the loop measured there."""
        return self.parts[0].metrics


def folder_name(step: int, attempt: int) -> str:
    """Name of a checkpoint's folder."""
    return f"step-{step:09d}-{attempt:012x}"


def write_part(uri: str, rank: int, ranks: int, step: int, pieces: Sequence[Piece], metrics: Mapping[str, Any]) -> None:
    """Writes one rank's files and, last, its marker.

    Args:
        uri: the checkpoint's folder.
        rank: of the writer.
        ranks: how many write.
        step: optimiser steps done.
        pieces: on the CPU and no longer changed by anyone.
        metrics: plain numbers that go with the checkpoint.

    Raises:
        OSError: the storage refused; there is no marker then.
    """
    files = []
    for number, group in enumerate(_group(pieces)):
        tensors = {}
        for piece in group:
            for kind in ("weight", "mean", "square"):
                tensors[f"{piece.name}@{piece.start}/{kind}"] = getattr(piece, kind)
        data = save(tensors)
        name = f"state-{rank:05d}-of-{ranks:05d}-{number:03d}.safetensors"
        storage.write_atomic(storage.join(uri, name), data)
        stretches = tuple((piece.name, piece.start, piece.weight.numel()) for piece in group)
        files.append(PartFile(file=name, bytes=len(data), sha256=storage.sha256(data), pieces=stretches))
    marker = Part(step=step, rank=rank, ranks=ranks, metrics=dict(metrics), files=tuple(files))
    # Last: a checkpoint whose markers are all there is complete.
    storage.write_atomic(storage.join(uri, f"part-{rank:05d}-of-{ranks:05d}.json"), marker.to_json())


def _group(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Pieces grouped into files; what all ranks share lies apart, as other ranks will fetch it."""
    groups: list[list[Piece]] = []
    for shared in (True, False):
        size = FILE_BYTES
        for piece in pieces:
            if piece.shared != shared:
                continue
            if size >= FILE_BYTES:
                groups.append([])
                size = 0
            groups[-1].append(piece)
            size += 3 * piece.weight.numel() * piece.weight.element_size()
    return groups


def list_folders(root: str) -> dict[str, list[str]]:
    """Folder of a checkpoint, whole or not -> names of the files in it; oldest first."""
    folders: dict[str, list[str]] = {}
    for path in storage.list_files(root) if storage.exists(root) else []:
        folder, _, file = path.partition("/")
        if _FOLDER.fullmatch(folder) and file:
            folders.setdefault(folder, []).append(file)
    return dict(sorted(folders.items()))


def list_complete(root: str) -> list[Checkpoint]:
    """The complete checkpoints below a folder, fewest steps first, of equal steps the newer attempt last."""
    checkpoints = []
    for folder, files in list_folders(root).items():
        match = _FOLDER.fullmatch(folder)
        assert match
        parts = _read_parts(storage.join(root, folder), files)
        if parts is not None and all(part.step == int(match[1]) for part in parts):
            checkpoints.append(Checkpoint(storage.join(root, folder), int(match[1]), int(match[2], 16), parts))
    return sorted(checkpoints, key=lambda c: (c.step, c.attempt))


def _read_parts(uri: str, files: Sequence[str]) -> tuple[Part, ...] | None:
    """All markers of a folder; None where one is missing, is no whole JSON, or names a file that is not there."""
    markers = {int(m[1]): (name, int(m[2])) for name in files if (m := _MARKER.fullmatch(name))}
    ranks = {number for _, number in markers.values()}
    if len(ranks) != 1 or sorted(markers) != list(range(ranks.pop())):
        return None
    try:
        texts = storage.read_many([storage.join(uri, markers[rank][0]) for rank in sorted(markers)])
        parts = tuple(Part.from_json(text) for text in texts)
    except (ValueError, FileNotFoundError):  # cut off, or removed since it was listed
        return None
    present = set(files)
    return None if any({f.file for f in part.files} - present for part in parts) else parts


class PieceReader:
    """Reads stretches of parameters out of a checkpoint; fetches only the files that hold them.

    Args:
        checkpoint: what is read.
        folder: empty folder for files fetched from elsewhere; files of this machine are read where they lie.
    """

    def __init__(self, checkpoint: Checkpoint, folder: str) -> None:
        self.checkpoint, self.folder = checkpoint, folder
        self.where: dict[str, list[tuple[int, int, PartFile]]] = {}
        for part in checkpoint.parts:
            for file in part.files:
                for name, start, size in file.pieces:
                    self.where.setdefault(name, []).append((start, size, file))
        self.paths: dict[str, Path] = {}

    def read(self, piece: Piece) -> None:
        """Copies a piece's weight and moments into its views.

        Raises:
            Damaged: a file is not what its marker says, or a stretch is held by none.
        """
        end = piece.start + piece.weight.numel()
        reached = piece.start
        for start, size, file in sorted(self.where.get(piece.name, []), key=lambda place: place[0]):
            # Writers may have cut elsewhere: only the overlap is copied; a gap leaves `reached` short of the end.
            low, high = max(reached, start), min(end, start + size)
            if low > reached or low >= high:
                continue
            self._copy(piece, f"{piece.name}@{start}", self._path(file), low, high, start)
            reached = high
        if reached < end:
            raise Damaged(f"{self.checkpoint.uri} holds {piece.name} up to {reached}, expected {end}")

    def _copy(self, piece: Piece, key: str, path: Path, low: int, high: int, start: int) -> None:
        """Numbers low..high of the flattened parameter, out of a piece that begins at `start`."""
        try:
            with safe_open(path, "pt") as file:
                for kind in ("weight", "mean", "square"):
                    target: Tensor = getattr(piece, kind)
                    values = file.get_slice(f"{key}/{kind}")[low - start : high - start]
                    with torch.no_grad():
                        target[low - piece.start : high - piece.start].copy_(values)
        except (SafetensorError, struct.error) as error:
            raise Damaged(f"{path}: {error}") from error

    def _path(self, file: PartFile) -> Path:
        """A checked file of the checkpoint on this machine."""
        name = file.file
        if name in self.paths:
            return self.paths[name]
        uri = storage.join(self.checkpoint.uri, name)
        try:
            data = storage.read_bytes(uri)
        except FileNotFoundError as error:
            raise Damaged(f"{uri} is gone") from error
        if len(data) != file.bytes or storage.sha256(data) != file.sha256:
            raise Damaged(f"{uri}: expected {file.bytes} bytes with SHA-256 {file.sha256}, found others")
        if storage.is_local(uri):
            path = storage.local_path(uri)
        else:
            path = Path(self.folder) / name
            path.write_bytes(data)
        self.paths[name] = path
        return path


def read_into(checkpoint: Checkpoint, pieces: Iterable[Piece]) -> None:
    """Copies a checkpoint into an engine's pieces.

    Raises:
        Damaged: see `PieceReader.read`; some pieces may have been overwritten by then.
    """
    with tempfile.TemporaryDirectory() as folder:
        reader = PieceReader(checkpoint, folder)
        for piece in pieces:
            reader.read(piece)
