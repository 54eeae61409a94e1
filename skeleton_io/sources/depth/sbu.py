"""SBU Kinect Interaction, clean version (CSV: frame number, then 15 joints x 3 of each of two persons) -> clips.

The file's numbers are normalised image coordinates (x right, y down) and scaled depth; they are turned back into
metres: +x towards the image's left, +y up, +z away. Yun et al., CVPRW 2012.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topologies import SBU15
from skeleton_io.sources.decoders.table_text import read_numbers
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present, number

FPS = 15.0  # as the paper says
LABELS = (
    ("approaching", "departing", "kicking", "pushing", "shaking hands", "hugging")
    + ("exchanging objects", "punching")
)  # fmt: skip
TRANSFORM = "x = 1.280 - 2.560 x_n; y = 0.960 - 1.920 y_n; z = 1.280 z_n (metres)"
_PERSONS = 2


def to_metres(normalised: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 3) normalised file coordinates -> metres; the inverse of the release's own normalisation."""
    return normalised * np.array([-2.56, -1.92, 1.28]) + np.array([1.28, 0.96, 0.0])


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file, two persons in the file's order (it is not the order in the image)."""
    joints = len(SBU15.joints)
    table = read_numbers(file, file.text(), 1 + _PERSONS * joints * 3, ",")
    steps = np.diff(table[:, 0])
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 2
        raise file.error(f"row {row}", "frame numbers that grow", f"{table[row - 1, 0]:g}")
    values = table[:, 1:].reshape(-1, _PERSONS, joints, 3)
    # The image is 0 to 1 and the depth a few units: a hundred is another format.
    if (np.abs(values) > 100).any():
        raise file.error("coordinates", "normalised values", f"{np.nanmax(np.abs(values)):g}")
    missing = (values == 0).all(-1)
    positions = to_metres(values).astype(np.float32)
    positions[missing] = np.nan
    check_present(file, positions)
    pair, action, take = file.item.path.split("/")[-4:-1]
    if not 1 <= int(action) <= len(LABELS):
        raise file.error("folder", f"action 01 to {len(LABELS):02d}", action)
    return [
        SkeletonSequence(
            id=file.item.id,
            dataset=file.dataset,
            topology=SBU15,
            positions=positions,
            fps=FPS,
            # Frame numbers count the recording; a gap in them is a pause in this clip.
            timestamps=(table[:, 0] - table[0, 0]) / FPS if (steps != 1).any() else None,
            source=file.source,
            label=LABELS[int(action) - 1],
            subject=pair,
            repetition=number(take),
            licence=file.licence,
            source_transform=TRANSFORM,
        )
    ]


SOURCE = FileSource(
    name="sbu",
    version=1,
    pattern=r"(?:.*/)?(s\d\ds\d\d)/(\d\d)/(\d+)/skeleton_pos\.txt",
    parse=parse,
    licence="not stated; research use (Yun et al. 2012)",
    listing=Listing(
        title="SBU Kinect Interaction csv", files="s01s02/05/001/skeleton_pos.txt", joints="15", dims="3", persons="2"
    ),
)
