"""Berkeley MHAD joints as csv (header `time,Hips.x,Hips.y,...`, centimetres) -> clips.

The mocap of the set, +y up and right-handed as the record has it; the person faces +z. Columns are found by their
names, so that their order is free. Ofli et al., WACV 2013.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import BERKELEY30
from skeleton_io.sources.decoders.table_text import read_numbers
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present, number, zeros_to_nan

FPS = 480.0
"""Of the optical capture; taken where a file has a single line."""
LABELS = (
    ("jump in place", "jumping jacks", "bend", "punch", "wave two hands", "wave one hand", "clap", "throw")
    + ("sit down and stand up", "sit down", "stand up")
)  # fmt: skip
_ARM = ("Shoulder", "Arm", "ArmRoll", "ForeArm", "ForeArmRoll", "Hand")
_LEG = ("UpLeg", "UpLegRoll", "Leg", "LegRoll", "Foot", "ToeBase")
JOINTS = (
    ("Hips", "spine", "spine1", "spine2", "Neck", "Head")
    + tuple(side + part for side in ("Right", "Left") for part in _ARM)
    + tuple(side + part for side in ("Right", "Left") for part in _LEG)
)
"""The file's names, in the order of the topology."""
_JITTER = 0.02
"""Steps of time may differ from their mean by this share, which is how far the file's five decimals round them."""


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file."""
    header, _, body = file.text().partition("\n")
    columns = [name.strip() for name in header.split(",")]
    required = ["time", *(f"{joint}.{axis}" for joint in JOINTS for axis in "xyz")]
    at = {name: place for place, name in enumerate(columns)}
    lacking = [name for name in required if name not in at]
    if lacking or len(at) != len(columns):
        found = f"no {lacking[0]}" if lacking else "a column twice"
        raise file.error("line 1", f"{len(required)} columns: time, Hips.x, ...", found)
    table = read_numbers(file, body, len(columns), ",", first_line=2)
    if not len(table):
        raise file.error("line 2", "a frame", "end of file")
    positions = zeros_to_nan(table[:, [at[name] for name in required[1:]]].reshape(-1, 1, len(JOINTS), 3) / 100)
    check_present(file, positions)
    fps, stamps = _times(file, table[:, at["time"]])
    name = re.search(r"s(\d+)_a(\d+)_r(\d+)", file.stem)
    subject, action, take = (number(part) for part in name.groups()) if name else (None, None, None)
    if action is not None and not 1 <= int(action) <= len(LABELS):
        raise file.error("file name", f"action 1 to {len(LABELS)}", action)
    return [
        SkeletonSequence(
            id=file.item.id,
            dataset=file.dataset,
            topology=BERKELEY30,
            positions=positions,
            fps=fps,
            timestamps=stamps,
            source=file.source,
            label=LABELS[int(action) - 1] if action else None,
            subject=subject,
            repetition=take,
            licence=file.licence,
            source_transform="metres = centimetres / 100",
        )
    ]


def _times(file: SourceFile, time: NDArray[np.float64]) -> tuple[float, NDArray[np.float64] | None]:
    """Rate and, where the steps are uneven, the time of each frame from the first."""
    steps = np.diff(time)
    if not np.isfinite(time).all() or (steps <= 0).any():
        row = int(np.argmax(~(np.diff(time, prepend=-np.inf) > 0))) + 2
        raise file.error(f"line {row}", "times that grow", f"{time[row - 2]:g}")
    if not len(steps):
        return FPS, None
    mean = float(steps.mean())
    even = bool((np.abs(steps - mean) <= _JITTER * mean).all())
    # Two decimals: what the rounding of the times leaves of the rate.
    return round(1 / mean, 2), None if even else time - time[0]


def _sniff(path: str, head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").startswith(b"time,Hips.x,")


SOURCE = FileSource(
    name="berkeley_mhad",
    version=1,
    pattern=r"(?:.*/)?skl_(s\d+_a\d+_r\d+)_pos\.csv",
    parse=parse,
    sniff=_sniff,
    licence="not stated with the csv files; the set is for research (Ofli et al. 2013)",
    listing=Listing(title="Berkeley MHAD csv", files="skl_s01_a01_r03_pos.csv", joints="30", dims="3", persons="1"),
)
