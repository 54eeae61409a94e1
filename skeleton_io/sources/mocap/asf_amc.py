"""Acclaim ASF/AMC (CMU, HDM05) -> clips: skeleton from the .asf beside the .amc, joints through forward kinematics.

A bone's rotation is C M C^-1 with C from its `axis` and M from the frame's angles, below its parent's; its end lies at
`length` along `direction`, which is in the rest pose's world (Acclaim file formats as documented by J. Lander, "Working
with Motion Capture File Formats", 1998). Joints are the ends of the bones. World: metres, y up, as in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from skeleton_io.errors import SkeletonFormatError
from skeleton_io.record.rotations import euler_matrices
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topology import Topology
from skeleton_io.sources.shared import captions
from skeleton_io.sources.shared.captions import join_captions
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present, number
from skeleton_io.sources.shared.forward_kinematics import check_size, forward_kinematics
from skeleton_io.sources.shared.joint_names import bone_end_names

FPS = 120.0
"""AMC states no rate; CMU's is 120, and `fps` of clips.json wins."""
INCH = 0.0254
_MOST_BONES = 500  # CMU and HDM05 have 31
_DOFS = {"rx": "X", "ry": "Y", "rz": "Z"}
_ROOT_DOFS = {"TX", "TY", "TZ", "RX", "RY", "RZ"}
_CMU = re.compile(r"(\d+)_(\d+)")


@dataclass(kw_only=True)
class Bone:
    """A bone of the .asf; `offset` is its end in the rest pose's world from its start, in file units."""

    name: str
    parent: int = -1
    offset: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    axis: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    dofs: tuple[str, ...] = ()
    """As listed: "rx", ... of a bone; "TX", ... of the root, whose angles count only."""


@dataclass(frozen=True, kw_only=True)
class Rig:
    """Bones (root first, parents first), metres per file unit, radians per file angle, the root's rest position."""

    bones: list[Bone]
    metres: float
    radians: float
    position: NDArray[np.float64]


class _Asf:
    """Reads the sections of an .asf; `error` names the AMC that asked for it and the ASF's line."""

    def __init__(self, file: SourceFile, path: str, data: bytes) -> None:
        self.file, self.path = file, path
        self.sections: dict[str, list[tuple[int, list[str]]]] = {}
        section = ""
        for place, line in enumerate(data.decode("latin-1").split("\n"), 1):
            words = line.split("#")[0].split()
            if words and words[0].startswith(":"):
                section = words[0].lower()
                self.sections.setdefault(section, [])
            elif words:
                self.sections.setdefault(section, []).append((place, words))

    def error(self, place: int, expected: str, found: str) -> SkeletonFormatError:
        return self.file.error(f"{self.path}, line {place}" if place else self.path, expected, found[:80])

    def lines(self, section: str) -> list[tuple[int, list[str]]]:
        if section not in self.sections:
            raise self.error(0, f"a section {section}", "none")
        return self.sections[section]

    def numbers(self, place: int, words: list[str], count: int) -> NDArray[np.float64]:
        try:
            values = np.array([float(word) for word in words[:count]])
        except ValueError:
            values = np.empty(0)
        if len(values) != count or not np.isfinite(values).all() or np.abs(values).max(initial=0) > 1e9:
            raise self.error(place, f"{count} finite numbers", " ".join(words) or "nothing")
        return values

    def frame(self, place: int, angles: NDArray[np.float64], order: str) -> NDArray[np.float64]:
        """Matrix of an `axis`: the first axis named turns first."""
        if sorted(order) != ["X", "Y", "Z"]:
            raise self.error(place, "an order of X, Y and Z", order)
        return euler_matrices(order[::-1], angles[::-1])


def read_rig(file: SourceFile, path: str, data: bytes) -> Rig:
    """Reads an .asf.

    Raises:
        SkeletonFormatError: with the line.
    """
    asf = _Asf(file, path, data)
    metres, radians = INCH, np.pi / 180
    for place, words in asf.lines(":units"):
        if words[0] == "length":
            unit = asf.numbers(place, words[1:], 1)[0]
            if not 1e-6 < unit < 1e6:
                raise asf.error(place, "a unit above 0", words[1])
            # CMU's `length 0.45` means a file unit of an inch over 0.45.
            metres = INCH / unit
        elif words[0] == "angle":
            radians = 1.0 if words[1:2] == ["rad"] else np.pi / 180
    root, position = _root(asf, radians)
    bones = {"root": root}
    for bone in _bones(asf, radians):
        if bone.name in bones or len(bones) > _MOST_BONES:
            raise asf.error(0, f"at most {_MOST_BONES} bones of different names", bone.name)
        bones[bone.name] = bone
    return Rig(bones=_order_bones(asf, bones), metres=metres, radians=radians, position=position)


def _root(asf: _Asf, radians: float) -> tuple[Bone, NDArray[np.float64]]:
    root, position, angles, order, at = Bone(name="root"), np.zeros(3), np.zeros(3), "XYZ", 0
    for place, words in asf.lines(":root"):
        if words[0] == "order":
            root.dofs = tuple(word.upper() for word in words[1:])
            if not set(root.dofs) <= _ROOT_DOFS:
                raise asf.error(place, "TX TY TZ RX RY RZ", " ".join(words) or "nothing")
        elif words[0] == "axis":
            order, at = "".join(words[1:]).upper(), place
        elif words[0] == "position":
            position = asf.numbers(place, words[1:], 3)
        elif words[0] == "orientation":
            angles = asf.numbers(place, words[1:], 3)
    root.axis = asf.frame(at, angles * radians, order)
    return root, position


def _bones(asf: _Asf, radians: float) -> Iterator[Bone]:
    bone, direction, length = Bone(name=""), np.zeros(3), 0.0
    for place, words in asf.lines(":bonedata"):
        word, rest = words[0].lower(), words[1:]
        if word == "begin":
            bone, direction, length = Bone(name=""), np.zeros(3), 0.0
        elif word == "name" and rest:
            bone.name = rest[0]
        elif word == "direction":
            direction = asf.numbers(place, rest, 3)
        elif word == "length":
            length = asf.numbers(place, rest, 1)[0]
        elif word == "axis":
            bone.axis = asf.frame(place, asf.numbers(place, rest, 3) * radians, "".join(rest[3:]).upper() or "XYZ")
        elif word == "dof":
            bone.dofs = tuple(dof.lower() for dof in rest)
            if not set(bone.dofs) <= set(_DOFS):
                raise asf.error(
                    place, "rx, ry, rz (bones that stretch or slide are not read)", " ".join(rest) or "nothing"
                )
        elif word == "end":
            # Directions are written with few digits; their length is meant to be 1.
            norm = np.linalg.norm(direction)
            bone.offset = direction * (length / norm) if norm > 0 else np.zeros(3)
            if not bone.name:
                raise asf.error(place, "a bone with a name", "none")
            yield bone
            # Without a `begin` the next lines must not change the bone that is done.
            bone = Bone(name="")


def _order_bones(asf: _Asf, bones: dict[str, Bone]) -> list[Bone]:
    """Bones, parents first, with their parents' places."""
    children: dict[str, list[str]] = {}
    for place, words in asf.lines(":hierarchy"):
        if words[0] in ("begin", "end") and len(words) == 1:
            continue
        unknown = [word for word in words if word not in bones]
        if unknown:
            raise asf.error(place, "names of bones", unknown[0])
        children.setdefault(words[0], []).extend(words[1:])
    order, waiting = [], [("root", -1)]
    names = set()
    while waiting:
        name, parent = waiting.pop(0)
        if name in names:
            raise asf.error(0, "a tree of bones", f"{name} twice in :hierarchy")
        names.add(name)
        bones[name].parent = parent
        order.append(bones[name])
        waiting += [(child, len(order) - 1) for child in children.get(name, ())]
    return order


def read_frames(file: SourceFile, bones: list[Bone]) -> list[NDArray[np.float64]]:
    """Values of an .amc per bone, (T, number of dofs).

    Raises:
        SkeletonFormatError: with the line.
    """
    width = {bone.name: len(bone.dofs) for bone in bones}
    rows: dict[str, list[list[str]]] = {bone.name: [] for bone in bones if bone.dofs}
    count = 0
    for place, line in enumerate(file.text().split("\n"), 1):
        words = line.split()
        if not words or words[0][0] in "#:":
            continue
        if len(words) == 1 and words[0].isdigit():
            _check_frame(file, rows, count, place)
            count += 1
        elif words[0] not in rows or len(words) - 1 != width[words[0]] or len(rows[words[0]]) != count - 1:
            expected = (
                f"{width[words[0]]} values, once per frame" if words[0] in rows else "a bone with dof of the .asf"
            )
            raise file.error(f"line {place}", expected, line.strip()[:60])
        else:
            rows[words[0]].append(words[1:])
    _check_frame(file, rows, count, place=0)
    if not count:
        raise file.error("whole file", "a frame", "none")
    try:
        tables = [np.array(rows[b.name], np.float64) if b.dofs else np.empty((count, 0)) for b in bones]
    except ValueError as error:
        raise file.error("whole file", "numbers", str(error)[:80]) from None
    if not all(np.isfinite(values).all() and np.abs(values).max(initial=0) < 1e9 for values in tables):
        raise file.error("whole file", "finite numbers", "NaN, infinity or above 1e9")
    return tables


def _check_frame(file: SourceFile, rows: dict[str, list[list[str]]], count: int, place: int) -> None:
    """Every bone with degrees of freedom has a line in each frame."""
    lacking = [name for name, values in rows.items() if len(values) != count]
    if lacking:
        where = f"frame {count}, before line {place}" if place else f"frame {count}, at the end of the file"
        raise file.error(where, f"a line of {lacking[0]}", "none")


def _rig_beside(file: SourceFile) -> Rig:
    """The .asf of the same name, or of its parts up to an underscore (01 for 01_02), here or one folder up."""
    parts = file.stem.split("_")
    stems = ["_".join(parts[:end]) for end in range(min(len(parts), 8), 0, -1)]
    folders = ["", "../"] if "/" in file.item.path else [""]
    for path in (f"{folder}{stem}.asf" for folder in folders for stem in stems):
        data = file.beside(path)
        if data is not None:
            return read_rig(file, path, data)
    raise file.error("whole file", f"a skeleton beside it, {stems[-1]}.asf", "none")


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per .amc; subject from a name SUBJECT_TRIAL of digits."""
    rig = _rig_beside(file)
    bones = rig.bones
    values = read_frames(file, bones)
    check_size(file, len(values[0]), len(bones))
    offsets = np.stack([bone.offset for bone in bones])

    def local(here: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        turns = np.stack(
            [_turn(bone, some[here], rig.radians) for bone, some in zip(bones, values, strict=True)], axis=1
        )
        # A bone's end turns with the bone itself, not with its parent.
        frame_offsets = (turns @ offsets[..., None])[..., 0]
        frame_offsets[:, 0] = rig.position
        for i, dof in enumerate(bones[0].dofs):
            if dof[0] == "T":
                frame_offsets[:, 0, "XYZ".index(dof[1])] += values[0][here, i]
        return frame_offsets, turns

    positions, turns = forward_kinematics([bone.parent for bone in bones], len(values[0]), local)
    check_present(file, positions)
    names = bone_end_names([bone.name for bone in bones])
    topology = Topology(
        name="asf",
        joints=tuple(names),
        bones=tuple((bone.parent, i) for i, bone in enumerate(bones) if bone.parent >= 0),
    )
    subject = _CMU.fullmatch(file.stem)
    clip = SkeletonSequence(
        id=file.item.id,
        dataset=file.dataset,
        topology=replace(topology, name=f"asf{len(names)}_{topology.hash[:6]}"),
        positions=(positions * rig.metres)[:, None].astype(np.float32),
        orientations=turns[:, None],
        fps=file.fields.get("fps", FPS),
        source=file.source,
        subject=number(subject[1]) if subject else None,
        repetition=number(subject[2]) if subject else None,
        licence=file.licence,
        source_transform=f"times {rig.metres:g}: an ASF unit in metres",
    )
    return [join_captions(clip, file)]


def _turn(bone: Bone, values: NDArray[np.float64], radians: float) -> NDArray[np.float64]:
    """Local rotations (t, 3, 3): the angle listed first turns first, about the bone's own axes."""
    turning = [i for i, dof in enumerate(bone.dofs) if dof[0] in "rR"][::-1]
    order = "".join(bone.dofs[i][1].upper() for i in turning)
    return bone.axis @ euler_matrices(order, values[:, turning] * radians) @ bone.axis.T


def _sniff(path: str, head: bytes) -> bool:
    return b":DEGREES" in head or b":RADIANS" in head or b":FULLY-SPECIFIED" in head


SOURCE = FileSource(
    name="asf_amc",
    version=2,
    pattern=r"(?:.*/)?([^/]+)\.amc",
    parse=parse,
    sniff=_sniff,
    companions=rf".*\.asf|{captions.COMPANIONS}",
    listing=Listing(title="ASF and AMC", files="NN/NN_MM.amc beside NN/NN.asf", joints="any", dims="3", persons="1"),
)
