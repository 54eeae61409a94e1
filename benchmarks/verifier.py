"""How well does the verifier find rationales that are wrong on purpose, and how often does it doubt right ones?

    python benchmarks/verifier.py --shards URI [--clips 60] [--seed 0]

Rationales are the kinematic teacher's own, made from the CLEAN clip. Teacher and verifier share code, so everything,
right and wrong, is checked on a DEGRADED copy: 1 cm of noise per coordinate (2D: 1 % of the person's size), 20 frames
per second with the clock running up to 5 % fast or slow, and only the 13 joints that COCO, Kinect and motion capture
have in common. Corruptions: side (left and right exchanged in all words), order (two steps exchange what they tell),
label (another class), text (the rationale of another class's clip, under this clip's label), moved (intervals shifted
by 40 % of the clip). Exchanging sides leaves "the left hand goes up" true where both hands go up: side, order and moved
count only where, on the clean clip, the travel or turn that a step now tells differs from what happens by more than
`FALSE` of its size. How many were not counted is printed. The threshold of the score is the
5 % quantile of the right rationales, over all sets; a second table has what the default rules of `rationales.accept`
refuse, on the same copies and, for the right ones, on the clean clips too.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipelines.config.rationales import AcceptConfig
from pipelines.data.clip_store import ClipStore
from pipelines.rationales.grounding.claims import parts_of
from pipelines.rationales.grounding.rationale import Rationale, Step
from pipelines.rationales.grounding.verify import ground
from pipelines.rationales.teachers.base import TeacherRequest
from pipelines.rationales.teachers.kinematic import KinematicTeacher
from skeleton_io.kinematics.tracks import person_tracks
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topology import Topology

FALSE_ALARMS = 0.05
FALSE = 0.7
KINDS = ("side", "order", "label", "text", "moved")
_KEPT = [("head", "nose"), ("neck", "chest")] + [
    tuple(f"{side}_{name}" for name in names)
    for side in ("left", "right")
    for names in (("shoulder",), ("elbow",), ("wrist", "hand"), ("hip",), ("knee",), ("ankle", "foot"))
]


def degraded(clip: SkeletonSequence, rng: np.random.Generator) -> SkeletonSequence:
    """The noisy, re-timed, joint-reduced copy."""
    names = clip.topology.joints
    kept = [next((n for n in group if n in names), None) for group in _KEPT]
    if kept[1] is not None and kept[0] is not None:
        kept[1] = None  # 13 joints: the neck only stands in for a head that is not there
    columns = [names.index(name) for name in kept if name is not None]
    places = clip.positions[:, :, columns].astype(np.float64)
    frames = len(places)
    rate = float(rng.uniform(0.95, 1.05))
    wanted = np.arange(0, (frames - 1) / clip.fps, 1 / 20.0) * clip.fps
    warped = np.clip(wanted * rate, 0, frames - 1)
    nearest = np.clip(np.round(warped).astype(int), 0, frames - 1)
    flat = places.reshape(frames, -1)
    moved = np.stack([np.interp(warped, np.arange(frames), flat[:, c]) for c in range(flat.shape[1])], axis=1)
    moved = np.where(np.isfinite(moved), moved, flat[nearest]).reshape(len(warped), *places.shape[1:])
    size = np.nanmedian(np.nanmax(places, axis=(0, 2)) - np.nanmin(places, axis=(0, 2)))
    noise = 0.01 if clip.scale == "metric" else 0.01 * float(size)
    moved += rng.normal(0, noise, moved.shape)
    bones = tuple((i, i + 1) for i in range(len(columns) - 1))
    topology = Topology(name="common13", joints=tuple(names[c] for c in columns), bones=bones)
    return replace(
        clip,
        topology=topology,
        positions=moved.astype(np.float32),
        fps=20.0,
        confidence=None,
        orientations=None,
        timestamps=None,
    )


def swapped(text: str) -> str:
    """Left and right exchanged."""
    return re.sub(r"\b(left|right)\b", lambda m: "right" if m[0] == "left" else "left", text)


def corrupted(kind: str, right: Rationale, other: Rationale, clip: SkeletonSequence) -> Rationale | None:
    """A wrong rationale; None where the corruption would leave it true."""
    if kind == "label":
        return replace(right, label=other.label)
    if kind == "text":
        return replace(other, label=right.label)
    changed: list[tuple[Step, Step]] = []
    if kind == "side":
        changed = [(s, replace(s, part=swapped(s.part), motion=swapped(s.motion))) for s in right.steps]
    elif kind == "order":
        pairs = [(i, j) for j in range(len(right.steps)) for i in range(j)]
        for i, j in sorted(pairs, key=lambda pair: pair[0] - pair[1]):
            one, two = right.steps[i], right.steps[j]
            news = replace(one, part=two.part, motion=two.motion), replace(two, part=one.part, motion=one.motion)
            if _false(two, news[0], clip, mirrored=False) or _false(one, news[1], clip, mirrored=False):
                steps = list(right.steps)
                steps[i], steps[j] = news
                return replace(right, steps=tuple(steps))
        return None
    else:
        shift = 0.4 * clip.duration
        for step in right.steps:
            start = (step.start + shift) % clip.duration
            changed.append((step, replace(step, start=start, end=min(clip.duration, start + step.end - step.start))))
    if not any(_false(old, new, clip, mirrored=kind == "side") for old, new in changed):
        return None
    steps = tuple(sorted((new for _, new in changed), key=lambda step: step.start))
    if kind == "moved":
        return replace(right, steps=steps)
    words = {"summary": swapped(right.summary), "evidence": swapped(right.evidence)}
    return replace(right, steps=tuple(new for _, new in changed), **words)


def _false(old: Step, new: Step, clip: SkeletonSequence, mirrored: bool) -> bool:
    """Whether what the changed step tells did not happen: its part travelled (or turned, or went back and forth)
    another way than the old step's part."""
    told, happened = _travel(old, clip), _travel(new, clip)
    if told is None or happened is None or new == old:
        return False
    if "swing" in new.motion:
        # There and back leaves no displacement, and "left and right" is as true as "right and left".
        return float(happened[3]) < (1 - FALSE) * float(told[3])
    turns = "rotate" in new.motion
    told, happened = (told[4:], happened[4:]) if turns else (told[:3], happened[:3])
    if mirrored:
        told = told * (-1 if turns else np.array([-1, 1, 1]))
    return float(np.linalg.norm(told - happened)) > FALSE * max(float(np.linalg.norm(told)), 0.2)


def _travel(step: Step, clip: SkeletonSequence) -> np.ndarray | None:
    """Of a step's part over its interval: displacement in the person's left, up, forward (3), path (1), turn (1)."""
    parts, _ = parts_of(step.part)
    found = re.search(r"person (\d)", step.part)
    track = person_tracks(clip, int(found[1]) - 1 if found else 0)
    place = track.part(parts[0]) if track is not None and parts else None
    if track is None or place is None:
        return None
    first, last = (min(max(round(t * clip.fps), 0), clip.frames - 1) for t in (step.start, step.end))
    change = place[last] - place[first]
    way = track.direction(parts[0], change, (first + last) // 2)[:3] if track.view == "space" else change
    path = np.linalg.norm(np.diff(place[first : last + 1], axis=0), axis=-1).sum()
    return np.array([*way, path, track.heading[last] - track.heading[first]])


def scores(store: ClipStore, keys: list[str], seed: int) -> list[dict[str, Any]]:
    """One row per (clip, right or kind of wrong): score and whether the label differs."""
    # Too short to be told anything about.
    keys = [key for key in keys if store.clip(key).duration > 0.5]
    teacher, labels, rng = KinematicTeacher(), store.labels(), np.random.default_rng(seed)
    told = {key: teacher.explain(TeacherRequest(sequence=store.clip(key), label=labels[key])) for key in keys}
    rows = []
    for key in keys:
        clip, right = degraded(store.clip(key), rng), told[key]
        if not right.steps:
            continue
        strangers = [
            k for k in keys if labels[k] != labels[key] and told[k].steps and k.split("/")[0] == key.split("/")[0]
        ]
        other = told[strangers[int(rng.integers(len(strangers)))]] if strangers else None
        rows.append({"key": key, "kind": "right", **measured(right, clip)})
        for kind in KINDS if other is not None else ("side", "order", "moved"):
            wrong = corrupted(kind, right, other or right, store.clip(key))
            if wrong is None:
                rows.append({"key": key, "kind": f"true {kind}", "score": 0.0, "refused": False})
            else:
                caught = {"score": -9.0, "refused": True}
                found = caught if wrong.label != labels[key] else measured(wrong, clip)
                rows.append({"key": key, "kind": kind, **found})
        rows.append({"key": key, "kind": "clean", **measured(right, store.clip(key))})
    return rows


def measured(rationale: Rationale, clip: SkeletonSequence) -> dict[str, Any]:
    """Score, and whether the default rules refuse what the motion does not bear out."""
    found, rules = ground(rationale, clip), AcceptConfig()
    refused = (
        found.share < rules.min_grounding
        or found.score < rules.min_score
        or found.contradicted > rules.max_contradicted
    )
    return {"score": found.score, "refused": refused}


def chosen(store: ClipStore, most: int, seed: int) -> list[str]:
    """At most so many labelled clips of each set."""
    rng, found = np.random.default_rng(seed), []
    for name in store.sets:
        keys = [key for key in store.labels() if key.startswith(f"{name}/")]
        found += sorted(rng.choice(keys, min(most, len(keys)), replace=False).tolist())
    return found


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown lines: detection per set and kind at the common threshold."""
    right = np.array([row["score"] for row in rows if row["kind"] == "right"])
    threshold = float(np.quantile(right, FALSE_ALARMS))
    sets = sorted({row["key"].split("/")[0] for row in rows})
    out = [f"Threshold {threshold:.3f}, {len(right)} right rationales.", ""]
    out += ["| set | clips | false alarms | " + " | ".join(KINDS) + " | left true |"]
    out += ["|---|---|---|---|" + "---|" * len(KINDS)]
    for name in [*sets, "all"]:
        mine = [row for row in rows if name in ("all", row["key"].split("/")[0])]
        cells = []
        for kind in ("right", *KINDS):
            found = [row["score"] < threshold for row in mine if row["kind"] == kind]
            cells.append(f"{100 * np.mean(found):.1f} % ({len(found)})" if found else "-")
        true = [f"{kind} {sum(row['kind'] == f'true {kind}' for row in mine)}" for kind in ("side", "order", "moved")]
        out.append(f"| {name} | {len({row['key'] for row in mine})} | " + " | ".join(cells) + f" | {', '.join(true)} |")
    out += ["", f"Refused by the default rules (`min_score` {AcceptConfig().min_score}):", ""]
    out += [
        "| right, clean clip | right, degraded copy | " + " | ".join(KINDS) + " |",
        "|---|---|" + "---|" * len(KINDS),
    ]
    shares = [np.mean([row["refused"] for row in rows if row["kind"] == kind]) for kind in ("clean", "right", *KINDS)]
    return [*out, "| " + " | ".join(f"{100 * share:.1f} %" for share in shares) + " |"]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", required=True)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", default="")
    args = parser.parse_args()
    store = ClipStore(args.shards)
    rows = scores(store, chosen(store, args.clips, args.seed), args.seed)
    if args.json:
        Path(args.json).write_text(json.dumps(rows))
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
