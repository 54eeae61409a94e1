"""SkeletonSequence: one clip, as every reader returns it and every later stage takes it. Validates itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.topology import Topology

Scale = Literal["metric", "normalised", "pixels"]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A labelled interval of a clip, in seconds from its first frame."""

    start: float
    end: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a clip came from and who read it."""

    uri: str
    """Path relative to the input that the user named, so that shards do not depend on the machine."""
    sha256: str
    """Hash of the file's bytes."""
    reader: str
    """Name of the source, for example "ntu"."""
    reader_version: int
    """Raised whenever the reader's output changes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SkeletonSequence:
    """One clip: metres where the format has a scale, +y up, right-handed, NaN = missing, persons are tracks.

    For camera formats the frame is the sensor's: +x towards the image's left (the right of a person who faces the
    sensor), +y up, +z into the scene.

    Raises:
        ValueError: where shapes, rates or values contradict each other.
    """

    id: str
    """Unique within the data set; unique over a shard set together with `dataset`."""
    dataset: str
    topology: Topology
    positions: NDArray[np.float32]
    """(T, P, J, C) with C = 3, or 2 for image formats."""
    fps: float
    source: Source
    scale: Scale = "metric"
    confidence: NDArray[np.float32] | None = None
    """(T, P, J) in [0, 1], where the format has one."""
    orientations: NDArray[np.float32] | None = None
    """(T, P, J, 4) unit quaternions wxyz of the joints in the record's frame, where the format has them."""
    timestamps: NDArray[np.float64] | None = None
    """(T,) seconds, for irregular capture."""
    image_size: tuple[int, int] | None = None
    """(width, height) in pixels of image formats."""
    track_ids: tuple[str, ...] = ()
    """One per person; empty: numbered."""
    label: str | None = None
    captions: tuple[str, ...] = ()
    segments: tuple[Segment, ...] = ()
    subject: str | None = None
    view: str | None = None
    setup: str | None = None
    repetition: str | None = None
    licence: str | None = None
    source_transform: str = ""
    """What the reader applied to the file's numbers, as text, for example "x = 1920 - x_px"."""
    quality: dict[str, float] = field(default_factory=dict)
    """Measured by `quality.measure`: missing_share, frozen_share, bone_variation, jump_share, time_gap_share."""
    notes: tuple[str, ...] = ()
    """What was dropped or mended on the way, with the reason."""

    def __post_init__(self) -> None:
        shape = self.positions.shape
        if len(shape) != 4 or shape[2] != len(self.topology.joints) or shape[3] not in (2, 3) or 0 in shape:
            joints = len(self.topology.joints)
            raise ValueError(f"{self.id}: positions must be (T, P, {joints}, 2 or 3), found {shape}")
        if self.positions.dtype != np.float32:
            raise ValueError(f"{self.id}: positions must be float32, found {self.positions.dtype}")
        if np.isinf(self.positions).any():
            raise ValueError(f"{self.id}: positions must be finite or NaN, found an infinite value")
        if not np.isfinite(self.positions).any():
            raise ValueError(f"{self.id}: every joint of every frame is missing")
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"{self.id}: fps must be positive, found {self.fps}")
        if self.confidence is not None and self.confidence.shape != shape[:3]:
            raise ValueError(f"{self.id}: confidence must be {shape[:3]}, found {self.confidence.shape}")
        if self.orientations is not None and self.orientations.shape != (*shape[:3], 4):
            raise ValueError(f"{self.id}: orientations must be {(*shape[:3], 4)}, found {self.orientations.shape}")
        if self.timestamps is not None and self.timestamps.shape != shape[:1]:
            raise ValueError(f"{self.id}: timestamps must be {shape[:1]}, found {self.timestamps.shape}")
        if self.track_ids and len(self.track_ids) != shape[1]:
            raise ValueError(f"{self.id}: {shape[1]} persons but {len(self.track_ids)} track ids")
        if shape[3] == 2 and self.image_size is None and self.scale == "pixels":
            raise ValueError(f"{self.id}: pixel coordinates need image_size")
        # The column holds 32-bit numbers.
        if self.image_size is not None and not all(0 < side < 2**31 for side in self.image_size):
            raise ValueError(f"{self.id!a}: image_size must be positive and below 2^31, found {self.image_size}")
        _check_text(self)

    @property
    def key(self) -> str:
        """Identity over a whole shard set: "dataset/id"."""
        return f"{self.dataset}/{self.id}"

    @property
    def frames(self) -> int:
        """T."""
        return self.positions.shape[0]

    @property
    def persons(self) -> int:
        """P."""
        return self.positions.shape[1]

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the last."""
        return (self.frames - 1) / self.fps

    @property
    def present(self) -> NDArray[np.bool_]:
        """(T, P, J): joints whose coordinates are all known."""
        return np.asarray(np.isfinite(self.positions).all(-1))


def _check_text(seq: SkeletonSequence) -> None:
    """Refuses text that no shard can hold: half of a surrogate pair, which JSON may smuggle in.

    Raises:
        ValueError: names the field's text.
    """
    optional = (seq.label, seq.subject, seq.view, seq.setup, seq.repetition, seq.licence)
    texts = (seq.id, seq.dataset, seq.source_transform, *seq.captions, *seq.notes, *seq.track_ids, *seq.quality)
    for text in (*texts, *(s.label for s in seq.segments), *(t for t in optional if t is not None)):
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise ValueError(f"{seq.id!a}: text must be Unicode, found {text[:80]!a}")
