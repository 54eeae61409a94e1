"""A clip's person -> a BVH file whose forward kinematics give the positions back.

Every joint has position channels (the vector from its parent) and rotation channels that stay 0: positions alone do not
say how a bone is twisted, and bones of captured skeletons change their length, which rotations alone could not follow.
Metres; joints carry the anatomical names in camel case.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from skeleton_io.exporters.refusal import need_all_joints, need_metric_3d
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topology import Topology

_CHANNELS = "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"


def spanning_tree(topology: Topology) -> list[tuple[int, int]]:
    """(joint, its parent or -1), parents first: a spanning tree of the bones from the pelvis.

    Without a pelvis it starts at the first joint that is nobody's child. Joints that no bone reaches hang from it.
    """
    index = topology.index
    children = {child for _, child in topology.bones}
    free = [joint for joint in range(len(topology.joints)) if joint not in children]
    root = index["pelvis"] if "pelvis" in index else (free or [0])[0]
    near: dict[int, list[int]] = {joint: [] for joint in range(len(topology.joints))}
    for parent, child in topology.bones:
        near[parent].append(child)
        near[child].append(parent)
    pairs, parents, queue = [(root, -1)], {root: -1}, deque([root])
    lonely = [joint for joint in range(len(topology.joints)) if joint != root]
    while queue or lonely:
        if not queue:
            joint = lonely.pop(0)
            if joint in parents:
                continue
            parents[joint] = root
            pairs.append((joint, root))
            queue.append(joint)
        joint = queue.popleft()
        for other in near[joint]:
            if other not in parents:
                parents[other] = joint
                pairs.append((other, joint))
                queue.append(other)
    return pairs


def bvh_text(clip: SkeletonSequence, person: int) -> str:
    """One person as BVH.

    Raises:
        Refused: 2D, no metric scale, or a joint that is missing in some frame.
    """
    need_metric_3d(clip)
    need_all_joints(clip, person)
    pairs = spanning_tree(clip.topology)
    places = clip.positions[:, person].astype(np.float64)
    local = {joint: places[:, joint] - (places[:, parent] if parent >= 0 else 0.0) for joint, parent in pairs}
    below: dict[int, list[int]] = {}
    for joint, parent in pairs:
        below.setdefault(parent, []).append(joint)
    lines, order = ["HIERARCHY"], []
    # Depth first without recursion: (joint, depth), or the closing brace of one.
    stack: list[tuple[int, int]] = [(pairs[0][0], 0)]
    while stack:
        joint, depth = stack.pop()
        pad = "  " * depth
        if joint < 0:
            lines.append(f"{pad}}}")
            continue
        order.append(joint)
        # Only a rest pose for viewers: the position channels replace it in every frame.
        offset = np.median(local[joint], axis=0) if depth else np.zeros(3)
        kind = "JOINT" if depth else "ROOT"
        name = "".join(word.capitalize() for word in clip.topology.joints[joint].split("_"))
        lines += [f"{pad}{kind} {name}", f"{pad}{{", f"{pad}  OFFSET {_numbers(offset)}", f"{pad}  {_CHANNELS}"]
        stack.append((-1, depth))
        if joint in below:
            stack += [(child, depth + 1) for child in reversed(below[joint])]
        else:
            lines += [f"{pad}  End Site", f"{pad}  {{", f"{pad}    OFFSET 0 0 0", f"{pad}  }}"]
    lines += ["MOTION", f"Frames: {clip.frames}", f"Frame Time: {1 / clip.fps:.10g}"]
    rotations = np.zeros((clip.frames, 3))
    values = np.concatenate([part for joint in order for part in (local[joint], rotations)], axis=1)
    lines += [_numbers(row) for row in values]
    return "\n".join(lines) + "\n"


def _numbers(row: np.ndarray) -> str:
    # Nine digits bring a float32 back exactly.
    return " ".join("0" if value == 0 else f"{value:.9g}" for value in row.tolist())
