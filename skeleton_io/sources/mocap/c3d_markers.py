"""Names of motion capture markers -> persons and a topology. Markers are on the skin: no joint's name is invented.

A name SUBJECT:MARKER gives the person. LASI beside RASI become left_asi and right_asi, so that mirroring works. Bones
and other names come from the user's topology.json beside the file: {"names": {"LSHO": "left_shoulder"}, "bones":
[["LSHO", "LELB"]]}, markers as in the file; both parts are optional.
"""

from __future__ import annotations

import json
import re
from typing import Any

from skeleton_io.record.topology import Topology, joint_meaning
from skeleton_io.sources.shared.files import SourceFile

_MOST_MARKERS = 5000
_MOST_PERSONS = 50  # every one of them gets all markers: memory grows with the product


def sort_markers(file: SourceFile, labels: list[str]) -> tuple[tuple[str, ...], list[list[int]], Topology]:
    """Names of the persons (empty for one without a name), their points, and the markers' topology.

    Returns:
        The second is (P, J): index of each marker's point in `labels`, -1 where that person has none.

    Raises:
        SkeletonFormatError: too many of them, or a topology.json that does not fit.
    """
    split = [label.split(":", 1) if ":" in label else ["", label] for label in labels]
    owners = list(dict.fromkeys(owner for owner, _ in split))
    if "" in owners and len(owners) > 1:
        # Points without an owner (props, stray ones) beside a subject's: one body of points, with their full names.
        split, owners = [["", label.replace(":", "_")] for label in labels], [""]
    table: dict[str, dict[str, int]] = {owner: {} for owner in owners}
    for place, (owner, label) in enumerate(split):
        marker, number = label or f"point{place + 1}", 2
        while marker in table[owner]:
            marker, number = f"{label or 'point'}_{number}", number + 1
        table[owner][marker] = place
    markers = list(dict.fromkeys(marker for own in table.values() for marker in own))
    if len(markers) > _MOST_MARKERS or len(owners) > _MOST_PERSONS:
        found = f"{len(markers)} and {len(owners)}"
        raise file.error("POINT:LABELS", f"at most {_MOST_MARKERS} markers and {_MOST_PERSONS} persons", found)
    places = [[table[owner].get(marker, -1) for marker in markers] for owner in owners]
    return tuple(owner for owner in owners if owner), places, _topology(file, markers)


def _topology(file: SourceFile, markers: list[str]) -> Topology:
    data = file.beside("topology.json")
    content: dict[str, Any] = {}
    if data is not None:
        try:
            content = json.loads(data)
            names = {str(key): str(value) for key, value in content["names"].items()} if "names" in content else {}
            bones = [(str(a), str(b)) for a, b in content["bones"]] if "bones" in content else []
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise file.error("topology.json", '{"names": {...}, "bones": [[a, b], ...]}', str(error)[:80]) from None
    else:
        names, bones = {}, []
    index = {marker: place for place, marker in enumerate(markers)}
    pairs = tuple((index[a], index[b]) for a, b in bones if a in index and b in index and a != b)
    joints = _unique([names[marker] if marker in names else _joint_name(marker, set(markers)) for marker in markers])
    bare = Topology(name="c3d", joints=tuple(joints), bones=pairs)
    return Topology(name=f"c3d{len(joints)}_{bare.hash[:6]}", joints=bare.joints, bones=pairs)


def _joint_name(marker: str, all_of_them: set[str]) -> str:
    """Snake case; a side only where the other side's marker is there too."""
    side, rest = "", marker
    for letter, other, prefix in (("L", "R", "left_"), ("R", "L", "right_"), ("l", "r", "left_"), ("r", "l", "right_")):
        if len(marker) > 1 and marker[0] == letter and other + marker[1:] in all_of_them:
            side, rest = prefix, marker[1:].lstrip("_- .") or marker[1:]
            break
    word = re.sub(r"\W+", "_", rest).strip("_").lower() or "point"
    # A marker's own name must not say a joint in the vocabulary: a marker called "head" lies on it.
    return side + word + ("_marker" if joint_meaning(side + word).limb != "other" else "")


def _unique(names: list[str]) -> list[str]:
    unique: dict[str, None] = {}
    for name in names:
        free, number = name, 2
        while free in unique:
            free, number = f"{name}_{number}", number + 1
        unique[free] = None
    return list(unique)
