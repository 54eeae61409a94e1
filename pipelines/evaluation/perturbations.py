"""The table of perturbations that a model is tried under: names, levels, units, to which clips they apply.

A cell (curve, level, seed) and a clip's key -> the perturbed clip, the same in every process. Scores nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipelines.data.clip_store import ClipStore
from pipelines.runtime.errors import UserError
from skeleton_io.record import perturb, transforms
from skeleton_io.record.sequence import SkeletonSequence

Change = Callable[[SkeletonSequence, float, np.random.Generator], SkeletonSequence]
CLEAN = "clean"
_MARK = "|"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One perturbation at rising strength.

    Attributes:
        name: what the command line and robustness.json call it.
        title: for people.
        unit: of the levels.
        levels: the first one is the clip as it is, which is scored once for all curves.
        change: (clip, level, generator) -> perturbed clip.
        random: whether the generator is used; then every level is scored under several seeds.
        applies: whether a clip can be perturbed in this way at all.
    """

    name: str
    title: str
    unit: str
    levels: tuple[float, ...]
    change: Change
    random: bool = False
    applies: Callable[[SkeletonSequence], bool] = lambda seq: True


def _people(seq: SkeletonSequence) -> bool:
    return int(seq.present.any(2).any(0).sum()) > 1


def _in_space(seq: SkeletonSequence) -> bool:
    return seq.positions.shape[3] == 3


def _reducible(seq: SkeletonSequence) -> bool:
    """Whether all the sizes can be made and every step leaves something out."""
    try:
        # Some topologies hold none of the joints that a smaller one needs.
        sizes = [len(perturb.reduce_topology(seq, joints).topology.joints) for joints in perturb.REDUCED]
    except ValueError:
        return False
    return sizes[-1] < len(seq.topology.joints)


_TABLE = (
    Curve(
        name="joint-dropout",
        title="Joint dropout",
        unit="share of joints",
        levels=(0.0, 0.1, 0.2, 0.3, 0.5),
        change=perturb.drop_joints,
        random=True,
    ),
    Curve(
        name="noise",
        title="Noise",
        unit="cm",
        levels=(0.0, 2.0, 5.0, 10.0),
        # Levels are in centimetres, positions in metres.
        change=lambda seq, level, rng: perturb.add_noise(seq, level / 100, rng),
        random=True,
    ),
    Curve(
        name="limb-occlusion",
        title="Hidden limbs",
        unit="limbs of four",
        levels=(0.0, 1.0, 2.0, 3.0, 4.0),
        change=lambda seq, level, rng: perturb.hide_limbs(seq, int(level), rng),
        random=True,
    ),
    Curve(
        name="frame-drop",
        title="Dropped frames",
        unit="share of frames",
        levels=(0.0, 0.25, 0.5, 0.75),
        change=perturb.drop_frames,
        random=True,
    ),
    Curve(
        name="frame-rate",
        title="Lower frame rate",
        unit="times slower sampling",
        levels=(1.0, 2.0, 4.0, 8.0),
        change=lambda seq, level, rng: perturb.other_rate(seq, 1 / level),
    ),
    Curve(
        name="view",
        title="View turned about the vertical",
        unit="degrees",
        levels=(0.0, 15.0, 30.0, 60.0, 90.0),
        change=lambda seq, level, rng: transforms.yaw(seq, math.radians(level)),
        applies=_in_space,
    ),
    Curve(
        name="mirror",
        title="Mirrored",
        unit="1: mirrored",
        levels=(0.0, 1.0),
        change=lambda seq, level, rng: transforms.mirror(seq),
    ),
    Curve(
        name="missing-person",
        title="Second person missing",
        unit="1: missing",
        levels=(0.0, 1.0),
        change=lambda seq, level, rng: perturb.lose_person(seq),
        applies=_people,
    ),
    Curve(
        name="topology",
        title="Fewer joints",
        unit="joints",
        levels=(25.0, 20.0, 17.0, 13.0),
        change=lambda seq, level, rng: perturb.reduce_topology(seq, int(level)),
        applies=_reducible,
    ),
)
CURVES = {curve.name: curve for curve in _TABLE}


def select_curves(names: tuple[str, ...]) -> tuple[Curve, ...]:
    """Curves by name, in the order of the table; all where none are named.

    Raises:
        UserError: an unknown name.
    """
    unknown = sorted(set(names) - set(CURVES))
    if unknown:
        raise UserError(f"--curves {unknown[0]}: expected some of {', '.join(CURVES)}")
    return tuple(curve for curve in CURVES.values() if not names or curve.name in names)


@dataclass(frozen=True, order=True)
class Cell:
    """Clips at one level of one curve under one seed; `CLEAN` is the clips as they are."""

    curve: str
    level: float
    seed: int

    def key(self, clip: str) -> str:
        """Text that `PerturbedClips.clip` takes."""
        return f"{self.curve}{_MARK}{self.level:g}{_MARK}{self.seed}{_MARK}{clip}"

    @staticmethod
    def of(key: str) -> tuple[Cell, str]:
        """Inverse of `key`: cell and clip."""
        curve, level, seed, clip = key.split(_MARK, 3)
        return Cell(curve, float(level), int(seed)), clip


def list_cells(curve: Curve, seeds: int) -> list[Cell]:
    """All cells of a curve but the clean one."""
    runs = range(seeds) if curve.random else range(1)
    return [Cell(curve.name, level, seed) for level in curve.levels[1:] for seed in runs]


def perturb_clip(seq: SkeletonSequence, cell: Cell) -> SkeletonSequence:
    """The clip in a cell. All levels of a seed draw the same numbers: what 10 % lose, 20 % lose as well."""
    if cell.curve == CLEAN:
        return seq
    # Not the level: the same numbers at every level make the curve monotone for a clip.
    entropy = hashlib.sha256(f"{cell.curve}/{cell.seed}/{seq.key}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(entropy[:8], "little"))
    return CURVES[cell.curve].change(seq, cell.level, rng)


class PerturbedClips:
    """A clip store whose keys name a cell and a clip."""

    def __init__(self, store: ClipStore) -> None:
        self.store = store

    def clip(self, key: str) -> SkeletonSequence:
        """See `Cell.key`."""
        cell, name = Cell.of(key)
        return perturb_clip(self.store.clip(name), cell)
