"""C3D (c3d.org) -> clips of markers: integer and real data of Intel, DEC and SGI/MIPS files.

Read here in numpy, every length checked against the bytes that are there: the package ezc3d refuses SGI files and
crashes the process on some damaged ones; the tests compare with it where it can read. Analog channels, force plates
and events are not read. "The C3D File Format User Guide", Motion Lab Systems, 2008, gives the layout.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.sources.mocap.c3d_markers import sort_markers
from skeleton_io.sources.shared import captions
from skeleton_io.sources.shared.captions import join_captions
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present, zeros_to_nan
from skeleton_io.sources.shared.forward_kinematics import check_size

BLOCK = 512
KEY = 0x50
"""Second byte of header and of parameters."""
_INTEL, _DEC, _MIPS = 84, 85, 86
_UNITS = {"mm": 0.001, "cm": 0.01, "dm": 0.1, "m": 1.0, "in": 0.0254, "inch": 0.0254, "inches": 0.0254, "ft": 0.3048}
_UP = {
    "+Z": ((0, 2, 1), (1, 1, -1), "(x, y, z) -> (x, z, -y)"),
    "-Z": ((0, 2, 1), (1, -1, 1), "(x, y, z) -> (x, -z, y)"),
    "+X": ((1, 0, 2), (-1, 1, 1), "(x, y, z) -> (-y, x, z)"),
    "-X": ((1, 0, 2), (1, -1, 1), "(x, y, z) -> (y, -x, z)"),
    "+Y": ((0, 1, 2), (1, 1, 1), ""),
    "-Y": ((0, 1, 2), (1, -1, -1), "(x, y, z) -> (x, -y, -z)"),
}
"""POINT:Y_SCREEN, the axis that points up -> rotation to +y."""
_MODEL_OUTPUTS = ("ANGLES", "FORCES", "MOMENTS", "POWERS", "SCALARS", "REACTIONS")
"""Parameters of POINT that list points which are no places."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """How a file writes numbers: its processor."""

    processor: int

    def ints(self, data: bytes) -> NDArray[np.int16]:
        """16-bit integers."""
        return np.frombuffer(data, ">i2" if self.processor == _MIPS else "<i2").astype(np.int16)

    def words(self, data: bytes) -> NDArray[np.int64]:
        """16-bit integers without a sign."""
        return self.ints(data).astype(np.int64) & 0xFFFF

    def floats(self, data: bytes) -> NDArray[np.float32]:
        """32-bit reals. DEC's have their halves exchanged and an exponent that is larger by 2."""
        if self.processor != _DEC:
            return np.frombuffer(data, ">f4" if self.processor == _MIPS else "<f4").astype(np.float32)
        halves = np.frombuffer(data, "<u2").reshape(-1, 2)[:, ::-1]
        bits = np.ascontiguousarray(halves).view("<u4")[:, 0]
        # An exponent of 0 is the number 0, whatever the fraction; 2 less would be no exponent any more: 0 as well.
        return np.where((bits >> 23) & 0xFF > 2, bits - np.uint32(2 << 23), np.uint32(0)).view(np.float32)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A file's points in its own units and axes.

    Attributes:
        points: (T, N, 3), NaN where the file marks a point as absent.
        residuals: (T, N) in the file's unit; 0 for points that were filled in, negative for absent ones.
        labels: one per point, "" where the file has none.
        parameters: "GROUP:NAME" -> numbers, or a list of texts.
    """

    points: NDArray[np.float32]
    residuals: NDArray[np.float32]
    labels: list[str]
    rate: float
    parameters: dict[str, Any]


def read_parameters(file: SourceFile, numbers: Numbers, start: int) -> dict[str, Any]:
    """The parameter section from byte `start` on.

    Ends where its own head says: the SGI files of c3d.org's second sample give their last entry a length that leads
    far beyond.

    Raises:
        SkeletonFormatError: an entry that reaches beyond the file.
    """
    data, at = file.data, start + 4
    end = min(len(data), start + BLOCK * (data[start + 2] or 255))
    groups: dict[int, str] = {}
    entries: list[tuple[int, str, Any]] = []
    while at + 2 <= end:
        length, group = abs(_signed(data[at])), _signed(data[at + 1])
        name = data[at + 2 : at + 2 + length].decode("latin-1").strip().upper()
        at += 2 + length
        if length == 0 or group == 0:
            break
        if at + 2 > end:
            raise file.error(f"byte {at}", f"the length of parameter {name!a}", "the end of the parameters")
        step = int(numbers.words(data[at : at + 2])[0])
        if group < 0:
            groups[-group] = name
        else:
            entries.append((group, name, _value(file, numbers, at + 2, name)))
        if step == 0:
            break
        # The step counts from its own first byte.
        at += max(step, 2)
    return {f"{groups[group]}:{name}": value for group, name, value in entries if group in groups}


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _value(file: SourceFile, numbers: Numbers, at: int, name: str) -> Any:
    """Numbers of a parameter in one dimension, or its texts."""
    head = file.data[at : at + 2]
    sides = [int(side) for side in file.data[at + 2 : at + 2 + head[1]]] if len(head) == 2 else []
    if len(head) < 2 or head[1] > 7 or len(sides) < head[1]:
        raise file.error(f"byte {at}", f"the type and up to 7 dimensions of parameter {name!a}", "something else")
    kind = _signed(head[0])
    size = abs(kind)
    if kind not in (-1, 1, 2, 4):
        raise file.error(f"byte {at}", f"a type -1, 1, 2 or 4 of parameter {name!a}", str(kind))
    start = at + 2 + len(sides)
    count = int(np.prod(sides, dtype=object)) if sides else 1
    content = file.data[start : start + count * size]
    if len(content) != count * size:
        raise file.error(f"byte {start}", f"{count * size} bytes of parameter {name!a}", f"{len(content)}")
    if kind == -1:
        width = sides[0] if sides else 1
        return [content[i : i + width].decode("latin-1").strip(" \0") for i in range(0, len(content), width or 1)]
    return {1: lambda: np.frombuffer(content, np.uint8), 2: lambda: numbers.words(content),
            4: lambda: numbers.floats(content)}[size]()  # fmt: skip


def read_recording(file: SourceFile) -> Recording:
    """Reads header, parameters and points.

    Raises:
        SkeletonFormatError: with the byte.
    """
    data = file.data
    start = (data[0] - 1) * BLOCK if data else -1
    if len(data) < 2 * BLOCK or data[1] != KEY or start < 0 or start + 4 > len(data):
        raise file.error("byte 0", "a C3D header: block of the parameters, 0x50", repr(data[:2]))
    numbers = Numbers(processor=data[start + 3])
    if numbers.processor not in (_INTEL, _DEC, _MIPS):
        raise file.error(f"byte {start + 3}", "processor 84 (Intel), 85 (DEC) or 86 (SGI)", str(data[start + 3]))
    header = numbers.words(data[:BLOCK])
    parameters = read_parameters(file, numbers, start)
    points = int(_first_number(parameters, "POINT:USED", header[1]))
    scale = float(_first_number(parameters, "POINT:SCALE", numbers.floats(data[12:16])[0]))
    rate = float(_first_number(parameters, "POINT:RATE", numbers.floats(data[20:24])[0]))
    begin = (int(_first_number(parameters, "POINT:DATA_START", header[8])) - 1) * BLOCK
    if points < 1 or begin < BLOCK or not np.isfinite(scale) or scale == 0:
        found = f"{points} points from byte {begin}, scale {scale:g}"
        raise file.error("header", "points, where they begin and their scale", found)
    if not (np.isfinite(rate) and 1e-3 < rate < 1e5):
        raise file.error("POINT:RATE", "frames per second", f"{rate:g}")
    count = _count(parameters, header)
    check_size(file, count, points)
    values = _frames(file, numbers, (points, int(header[2])), begin, scale < 0, count)
    xyz, last = values[..., :3].astype(np.float32), values[..., 3]
    if scale > 0:
        xyz = xyz * np.float32(scale)
    # The low byte of the fourth word is the residual in units of the scale; below 0: no measurement.
    absent = ~(last >= 0)
    low = np.where(absent, 0, np.minimum(np.nan_to_num(last), 32767)).astype(np.int64) & 0xFF
    residuals = np.where(absent, -1, low * abs(scale)).astype(np.float32)
    xyz[absent] = np.nan
    labels = _texts(parameters, "LABELS")[:points]
    return Recording(
        points=zeros_to_nan(xyz), residuals=residuals, labels=labels + [""] * (points - len(labels)), rate=rate,
        parameters=parameters,
    )  # fmt: skip


def _first_number(parameters: dict[str, Any], name: str, otherwise: Any) -> Any:
    """First number of a parameter; what the header says where there is none."""
    value = parameters.get(name)
    return value[0] if isinstance(value, np.ndarray) and value.size else otherwise


def _texts(parameters: dict[str, Any], name: str) -> list[str]:
    """Texts of POINT:name, POINT:name2, ...: one parameter holds 255 at most."""
    texts: list[str] = []
    for end in ("", *map(str, range(2, 100))):
        value = parameters.get(f"POINT:{name}{end}")
        if not isinstance(value, list):
            break
        texts += value
    return texts


def _count(parameters: dict[str, Any], header: NDArray[np.int64]) -> int:
    """Frames. The header's 16-bit numbers end at 65535; longer files say more in parameters."""
    ends = [parameters.get(f"TRIAL:ACTUAL_{end}_FIELD") for end in ("START", "END")]
    if all(isinstance(end, np.ndarray) and len(end) >= 2 for end in ends):
        first, last = (int(end[0]) + (int(end[1]) << 16) for end in ends if end is not None)
        if last >= first > 0:
            return last - first + 1
    if header[4] < 0xFFFF:
        return int(header[4] - header[3]) + 1
    for name in ("POINT:LONG_FRAMES", "POINT:FRAMES"):
        value = float(_first_number(parameters, name, 0))
        if np.isfinite(value) and value >= header[4] - header[3] + 1:
            return int(value)
    return int(header[4] - header[3]) + 1


def _frames(
    file: SourceFile, numbers: Numbers, widths: tuple[int, int], begin: int, real: bool, count: int
) -> NDArray[np.int16 | np.float32]:
    """(T, N, 4) of the data section; `widths` are the points and the analog values of a frame."""
    points, analog = widths
    size = 4 if real else 2
    step = (points * 4 + analog) * size
    there = max(len(file.data) - begin, 0) // step
    if not 1 <= count <= there:
        raise file.error(f"byte {begin}", f"{count} frames of {step} bytes", f"{there}")
    content = file.data[begin : begin + count * step]
    values = numbers.floats(content) if real else numbers.ints(content)
    return values.reshape(count, -1)[:, : points * 4].reshape(count, points, 4)


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file; persons by the prefixes of their markers' names."""
    recording = read_recording(file)
    units = (_texts(recording.parameters, "UNITS") or [""])[0].lower()
    up = next(iter(_texts(recording.parameters, "Y_SCREEN")), "").upper()
    up = up if up in _UP else f"+{up}" if f"+{up}" in _UP else "+Z"
    outputs = {label for name in _MODEL_OUTPUTS for label in _texts(recording.parameters, name) if label}
    markers = [i for i, label in enumerate(recording.labels) if label not in outputs]
    if not markers:
        raise file.error("POINT:LABELS", "a point that is a place", f"{len(recording.labels)} outputs of a model")
    points, residuals = recording.points[:, markers], recording.residuals[:, markers]
    check_present(file, points)
    axes, signs, transform = _UP[up]
    metres = _UNITS[units if units in _UNITS else "mm"]
    world = points[..., axes] * (np.array(signs) * metres).astype(np.float32)
    names, places, topology = sort_markers(file, [recording.labels[i] for i in markers])
    check_size(file, len(points), len(places) * len(topology.joints))
    body = np.concatenate([world, np.full_like(world[:, :1], np.nan)], 1)[:, places]
    # 1 measured, 0.5 filled in. Files of software that writes no residuals have 0 everywhere and say nothing.
    trust = np.where(np.isnan(points[..., 0]), 0, np.where(residuals > 0, 1, 0.5)).astype(np.float32)
    trust = np.concatenate([trust, np.zeros_like(trust[:, :1])], 1)[:, places]
    subject = recording.parameters.get("SUBJECTS:NAMES")
    clip = SkeletonSequence(
        id=file.item.id,
        dataset=file.dataset,
        topology=topology,
        positions=body,
        confidence=trust if (residuals > 0).any() else None,
        fps=file.fields.get("fps", recording.rate),
        source=file.source,
        track_ids=names,
        subject=(re.sub(r"\s+", " ", subject[0]) or None) if isinstance(subject, list) and subject else None,
        licence=file.licence,
        source_transform="; ".join(filter(None, (transform, f"times {metres:g}"))),
        notes=tuple([] if units in _UNITS else [f"unit {units!a} taken as mm"])
        + tuple(
            [f"{len(recording.labels) - len(markers)} outputs of a model left out"]
            * (len(markers) < len(recording.labels))
        ),
    )
    return [join_captions(clip, file)]


def _sniff(path: str, head: bytes) -> bool:
    return len(head) > 1 and head[0] > 0 and head[1] == KEY


SOURCE = FileSource(
    name="c3d",
    version=1,
    pattern=r"(?:.*/)?([^/]+)\.[cC]3[dD]",
    parse=parse,
    sniff=_sniff,
    companions=rf"(?:.*/)?topology\.json|{captions.COMPANIONS}",
    listing=Listing(title="C3D markers", files="*.c3d", joints="any", dims="3", persons="1"),
)
