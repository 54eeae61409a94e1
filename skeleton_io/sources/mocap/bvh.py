"""Biovision Hierarchy (BVH) -> clips: any hierarchy, 3 or 6 channels on any joint, any order of rotations.

Positions follow from forward kinematics; a joint's position channels replace its OFFSET (as animation software reads
them), all levels are composed. The record keeps the file's own right-handed world with y up, in metres.
`read_motion` reads the text, `read_clip` makes the record.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from skeleton_io.record.rotations import euler_matrices
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topology import Topology
from skeleton_io.sources.decoders.table_text import read_numbers
from skeleton_io.sources.shared import captions as captions_of
from skeleton_io.sources.shared.captions import join_captions
from skeleton_io.sources.shared.files import FileSource, Listing, SourceFile, check_present
from skeleton_io.sources.shared.forward_kinematics import check_size, forward_kinematics, y_up
from skeleton_io.sources.shared.joint_names import anatomical_names

UNITS = (("metres", 1.0), ("centimetres", 0.01), ("millimetres", 0.001), ("inches", 0.0254), ("CMU units", 0.056444))
"""Tried in this order; BVH itself states no unit. A CMU unit is an inch over 0.45."""
STATURE = (1.0, 2.4)
"""Metres that trunk, head and one leg along the bones can measure together."""
NORMALISED_STATURE = 1.7
"""What a figure of no known unit becomes, so that it is drawn and compared like the others."""
_MOST_NODES = 2000  # a body with hands and face has some 200
_CHANNELS = {f"{axis.lower()}{kind}": (kind, axis) for axis in "XYZ" for kind in ("position", "rotation")}


@dataclass(kw_only=True)
class Node:
    """A joint, or the end of a chain (`end`), with its channels as ("position" or "rotation", axis)."""

    name: str
    parent: int
    end: bool
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    channels: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Nodes (parents first), channel values (T, sum of channels) as in the file, seconds per frame."""

    nodes: list[Node]
    values: NDArray[np.float64]
    frame_time: float


class _Tokens:
    """Words of the hierarchy with their lines."""

    def __init__(self, file: SourceFile, lines: list[str]) -> None:
        self.file = file
        spaced = (line.replace("{", " { ").replace("}", " } ") for line in lines)
        self.words = [(word, place) for place, line in enumerate(spaced, 1) for word in line.split()]
        self.at = 0

    def next(self, expected: str) -> str:
        if self.at >= len(self.words):
            raise self.file.error("end of file", expected, "nothing more")
        self.at += 1
        return self.words[self.at - 1][0]

    def want(self, word: str) -> None:
        token = self.next(word)
        if token != word:
            raise self.file.error(self.place, word, repr(token[:40]))

    def number(self, expected: str) -> float:
        token = self.next(expected)
        try:
            return float(token)
        except ValueError:
            raise self.file.error(self.place, expected, repr(token[:40])) from None

    @property
    def place(self) -> str:
        return f"line {self.words[self.at - 1][1]}"


def read_motion(file: SourceFile) -> Motion:
    """Reads hierarchy and motion.

    Raises:
        SkeletonFormatError: with the line.
    """
    lines = file.text().split("\n")
    start = next((i for i, line in enumerate(lines) if line.strip() == "MOTION"), None)
    if start is None:
        raise file.error("whole file", "a line MOTION", "none")
    nodes = _hierarchy(_Tokens(file, lines[:start]))
    head = [line.split(":") for line in lines[start + 1 : start + 3]]
    if [part[0].strip() for part in head] != ["Frames", "Frame Time"] or any(len(part) != 2 for part in head):
        raise file.error(
            f"line {start + 2}", "Frames: n and Frame Time: s", repr("; ".join(lines[start + 1 :][:2]))[:80]
        )
    try:
        frames, frame_time = int(head[0][1]), float(head[1][1])
    except ValueError as error:
        raise file.error(f"line {start + 2}", "numbers after Frames and Frame Time", str(error)) from None
    if frames < 1 or not 1e-5 < frame_time < 1e3:
        raise file.error(f"line {start + 2}", "frames and a frame time above 0", f"{frames} and {frame_time:g}")
    width = sum(len(node.channels) for node in nodes)
    values = read_numbers(file, "\n".join(lines[start + 3 :]), width, first_line=start + 4)
    if len(values) != frames:
        raise file.error("end of file", f"{frames} frames, as line {start + 2} says", f"{len(values)}")
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values).all(-1)))
        raise file.error(f"frame {row}", "finite numbers", "NaN or infinity")
    return Motion(nodes=nodes, values=values, frame_time=frame_time)


def _hierarchy(tokens: _Tokens) -> list[Node]:
    tokens.want("HIERARCHY")
    tokens.want("ROOT")
    nodes: list[Node] = []
    open_nodes: list[int] = []
    kind = "ROOT"
    while True:
        words = []
        while (word := tokens.next("a name and {")) != "{":
            words.append(word)
        parent = open_nodes[-1] if open_nodes else -1
        nodes.append(Node(name=" ".join(words), parent=parent, end=kind == "End"))
        open_nodes.append(len(nodes) - 1)
        if len(nodes) > _MOST_NODES:
            raise tokens.file.error(tokens.place, f"at most {_MOST_NODES} joints", "more")
        kind = ""
        while not kind:
            word = tokens.next("OFFSET, CHANNELS, JOINT, End Site or }")
            if word in ("JOINT", "End"):
                kind = word
            elif word == "}":
                open_nodes.pop()
                if not open_nodes:
                    if tokens.at < len(tokens.words):
                        tokens.at += 1
                        raise tokens.file.error(tokens.place, "MOTION", repr(tokens.words[tokens.at - 1][0][:40]))
                    return nodes
            else:
                _property(tokens, word, nodes[open_nodes[-1]])


def _property(tokens: _Tokens, word: str, node: Node) -> None:
    if word == "OFFSET":
        x, y, z = (tokens.number("a number of OFFSET") for _ in range(3))
        node.offset = (x, y, z)
    elif word == "CHANNELS":
        count = tokens.number("the number of channels")
        if count not in range(1, 7):
            raise tokens.file.error(tokens.place, "1 to 6 channels", f"{count:g}")
        for _ in range(int(count)):
            name = tokens.next("a channel")
            if name.lower() not in _CHANNELS:
                raise tokens.file.error(tokens.place, "Xposition ... Zrotation", repr(name[:40]))
            node.channels.append(_CHANNELS[name.lower()])
    else:
        raise tokens.file.error(tokens.place, "OFFSET, CHANNELS, JOINT, End Site or }", repr(word[:40]))


def pose_nodes(motion: Motion) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Positions (T, N, 3) in the file's unit and quaternions wxyz (T, N, 4) of all nodes."""
    nodes = motion.nodes
    first = np.cumsum([0, *(len(node.channels) for node in nodes)])

    def local(here: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values = motion.values[here]
        frame_offsets = np.tile(np.array([node.offset for node in nodes]), (len(values), 1, 1))
        turns = np.empty((len(values), len(nodes), 3, 3))
        for place, node in enumerate(nodes):
            own = values[:, first[place] : first[place + 1]]
            order, angles = "", []
            for (kind, axis), value in zip(node.channels, own.T, strict=True):
                if kind == "position":
                    frame_offsets[:, place, "XYZ".index(axis)] = value
                else:
                    order += axis
                    angles.append(np.radians(value))
            turns[:, place] = euler_matrices(order, np.stack(angles, -1) if angles else np.empty((len(values), 0)))
        return frame_offsets, turns

    return forward_kinematics([node.parent for node in nodes], len(motion.values), local)


def read_clip(
    file: SourceFile, label: str | None = None, setup: str | None = None, repetition: str | None = None,
    captions: tuple[str, ...] = (), family: str = "bvh",
) -> SkeletonSequence:  # fmt: skip
    """The file's clip with these texts.

    Args:
        file: a BVH file.
        label, setup, repetition, captions: what the caller knows from elsewhere.
        family: first part of the topology's name; the number of joints and a hash make it unique.
    """
    motion = read_motion(file)
    check_size(file, len(motion.values), len(motion.nodes))
    joint_nodes, names, bones = _joints(motion.nodes)
    positions, turns = pose_nodes(motion)
    if len(joint_nodes) < len(motion.nodes):
        positions, turns = positions[:, joint_nodes], turns[:, joint_nodes]
    positions, turns, scale, transform = _to_metres(positions, turns, names, bones)
    check_present(file, positions)
    rate = 1 / motion.frame_time
    # Frame times are written with few digits: 0.0333333 means 30 frames per second.
    fps = float(round(rate)) if abs(rate - round(rate)) < 1e-3 * rate else rate
    topology = Topology(name=family, joints=tuple(names), bones=tuple(bones))
    return SkeletonSequence(
        id=file.item.id,
        dataset=file.dataset,
        topology=replace(topology, name=f"{family}{len(names)}_{topology.hash[:6]}"),
        positions=positions[:, None].astype(np.float32),
        orientations=turns[:, None],
        fps=file.fields.get("fps", fps),
        source=file.source,
        scale="metric" if scale else "normalised",
        label=label,
        captions=captions,
        setup=setup,
        repetition=repetition,
        licence=file.licence,
        source_transform=transform,
    )


def _joints(nodes: list[Node]) -> tuple[list[int], list[str], list[tuple[int, int]]]:
    """Nodes that become joints, their names, bones. Ends become head tops, hand tips, toes where those are missing."""
    joints = [i for i, node in enumerate(nodes) if not node.end]
    names = dict(zip(joints, anatomical_names([nodes[i].name for i in joints]), strict=True))
    tips = {"head": "head_top", "left_wrist": "left_hand_tip", "right_wrist": "right_hand_tip",
            "left_ankle": "left_toes", "right_ankle": "right_toes"}  # fmt: skip
    for place, node in enumerate(nodes):
        if not node.end or node.parent not in names:
            continue
        above = names[node.parent]
        tip = tips[above] if above in tips else above[:-1] + "tip" if above[-2:-1] == "_" else None
        # Many exporters write ends of length 0.
        if tip and tip not in names.values() and any(node.offset):
            names[place] = tip
    first = joints[0]
    children = [i for i in names if nodes[i].parent == first]
    if names[first] == "root" and len(children) == 1 and names[children[0]] == "pelvis" and len(names) > 1:
        del names[first]  # a container above the hips: composed already, no part of the body
    joint_nodes = sorted(names)
    index = {node: place for place, node in enumerate(joint_nodes)}
    bones = [(index[nodes[i].parent], index[i]) for i in joint_nodes if nodes[i].parent in index]
    return joint_nodes, [names[i] for i in joint_nodes], bones


def _to_metres(
    positions: NDArray[np.float64], turns: NDArray[np.float32], names: list[str], bones: list[tuple[int, int]]
) -> tuple[NDArray[np.float64], NDArray[np.float32], bool, str]:
    """Positions and orientations with y up and in metres, whether the unit was recognised, and what was done."""
    steps = []
    if _is_z_up(positions, names):
        positions, new_turns = y_up(positions, turns)
        turns = turns if new_turns is None else new_turns
        steps.append("z was up: (x, y, z) -> (x, z, -y)")
    stature = _stature(positions, names, bones)
    for unit, metres in UNITS:
        if STATURE[0] <= stature * metres <= STATURE[1]:
            steps.append(f"times {metres:g}: stature {stature:.4g} taken as {unit}")
            positions *= metres
            return positions, turns, True, "; ".join(steps)
    factor = NORMALISED_STATURE / stature if stature > 0 else 1.0
    steps.append(f"times {factor:.6g}: stature {stature:.4g} fits no unit, set to {NORMALISED_STATURE:g}")
    positions *= factor
    return positions, turns, False, "; ".join(steps)


def _stature(positions: NDArray[np.float64], names: list[str], bones: list[tuple[int, int]]) -> float:
    """Median length along the bones from the head down to an ankle; the bounding box's diagonal without those names."""
    above = {child: parent for parent, child in bones}

    def climb(name: str) -> list[int]:
        path = [names.index(name)] if name in names else []
        while path and path[-1] in above:
            path.append(above[path[-1]])
        return path

    head, leg = climb("head"), climb("left_ankle") or climb("right_ankle")
    if not head or not leg:
        extent = positions.max(1) - positions.min(1)
        return float(np.median(np.linalg.norm(extent, axis=-1)))
    # Where both climbs meet is the pelvis; what lies above it (a root on the floor) does not count.
    shared = set(head) & set(leg)
    pairs = [(a, b) for path in (head, leg) for a, b in pairwise(path) if a not in shared]
    lengths = [np.median(np.linalg.norm(positions[:, a] - positions[:, b], axis=-1)) for a, b in pairs]
    return float(np.sum(lengths))


def _is_z_up(positions: NDArray[np.float64], names: list[str]) -> bool:
    """Head above ankles along z, not y, in the typical frame."""
    ankles = [names.index(name) for name in ("left_ankle", "right_ankle") if name in names]
    if "head" not in names or not ankles:
        return False
    _, y, z = np.median(positions[:, names.index("head")] - positions[:, ankles].mean(1), axis=0)
    # Twice: a person who bends far forward is not yet a world with z up.
    return bool(abs(z) > 2 * abs(y))


def _sniff(path: str, head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"HIERARCHY")


def parse(file: SourceFile) -> list[SkeletonSequence]:
    """One clip per file; labels and captions come from side and caption files."""
    return [join_captions(read_clip(file), file)]


SOURCE = FileSource(
    name="bvh",
    version=2,
    pattern=r"(?:.*/)?([^/]+)\.bvh",
    parse=parse,
    sniff=_sniff,
    companions=captions_of.COMPANIONS,
    listing=Listing(title="BVH of any hierarchy", files="*.bvh", joints="any", dims="3", persons="1"),
)
