"""DemoConfig -> a synthetic labelled motion set in three native formats, some files broken on purpose.

Everything is made here from a seed: no recordings, no licence to ask for, no download. The set exists to exercise the
whole pipeline (readers, quarantine, mixed topologies, two persons, unseen subjects); a good result on it says that the
pipeline works, not that a model is good at real motion. Reads nothing.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_type_hints

import numpy as np
from annotated_types import Ge, Le

from skeleton_io.demo.body import Body
from skeleton_io.demo.formats import BROKEN, Sensor, bvh_text, coco_text, jitter, ntu_text
from skeleton_io.demo.motion import ACTIONS, Action, Clip, Style, perform

VERSION = 3
"""Raised whenever the same configuration gives other bytes."""
FPS = 30.0
FORMATS = ("demo_ntu", "demo_bvh", "demo_coco17")
IMAGE_SIZE = (1280, 720)
_VIEWS = {"C001": np.pi / 4, "C002": 0.0, "C003": -np.pi / 4}
_TIMES = {1: "once", 2: "twice", 3: "three times", 4: "four times", 5: "five times"}


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Size and seed of the synthetic motion set.

    Raises:
        ValueError: numbers that leave no training or no test subjects, or an unknown action.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    seed: Annotated[int, Ge(0)] = 0
    """Of all random numbers; the same configuration writes the same bytes."""
    subjects: Annotated[int, Ge(2), Le(999)] = 12
    """Performers; each has bone lengths, tempo, amplitude, handedness and tracking noise of their own."""
    test_subjects: Annotated[int, Ge(1)] = 4
    """The last ones of them, kept out of training; the same in every format."""
    repetitions: Annotated[int, Ge(1)] = 2
    """Clips per training subject, action and format."""
    test_repetitions: Annotated[int, Ge(1)] = 1
    """Clips per test subject, action and format."""
    actions: tuple[str, ...] = ()
    """Labels to perform; empty: all."""
    noise: Annotated[float, Ge(0)] = 1.0
    """Tracking noise relative to the usual: about 8 mm in 3D, 2 px in images. BVH has none."""
    broken: bool = True
    """Also write four spoilt files per format, which must end in quarantine."""

    def __post_init__(self) -> None:
        _check_bounds(self)
        if self.test_subjects >= self.subjects:
            raise ValueError(f"test_subjects must be in 1..{self.subjects - 1}, found {self.test_subjects}")
        unknown = sorted(set(self.actions) - {action.label for action in ACTIONS})
        if unknown:
            raise ValueError(f"unknown actions {unknown}; there are {[action.label for action in ACTIONS]}")


def _check_bounds(cfg: DemoConfig) -> None:
    """The bounds beside the fields, for a configuration that is made in Python and not decoded."""
    for name, hint in get_type_hints(DemoConfig, include_extras=True).items():
        for bound in getattr(hint, "__metadata__", ()):
            ((comparison, limit),) = asdict(bound).items()  # named as in `operator`
            if not getattr(operator, comparison)(getattr(cfg, name), limit):
                words = {"ge": "at least", "le": "at most"}[comparison]
                raise ValueError(f"{name} must be {words} {limit}, found {getattr(cfg, name)}")


@dataclass(frozen=True, kw_only=True)
class _Performer:
    body: Body
    tempo: float
    amplitude: float
    side: str
    noise: float


@dataclass(frozen=True, kw_only=True)
class _Take:
    """One clip to write: who does what for the how-manieth time, seen from where."""

    subject: int
    partner: int
    number: int
    action: Action
    repetition: int
    view: str

    @property
    def stem(self) -> str:
        # NTU's own naming. Its classes end at A120: numbers from 901 cannot be taken for them.
        return f"S001{self.view}P{self.subject + 1:03d}R{self.repetition:03d}A{901 + self.number}"


def _performer(cfg: DemoConfig, subject: int) -> _Performer:
    rng = np.random.default_rng([cfg.seed, 1, subject])
    body = Body(
        height=rng.uniform(1.55, 1.90),
        arm=rng.uniform(0.95, 1.05),
        leg=rng.uniform(0.96, 1.04),
        shoulders=rng.uniform(0.90, 1.12),
    )
    return _Performer(
        body=body,
        tempo=rng.uniform(0.88, 1.18),
        amplitude=rng.uniform(0.88, 1.12),
        side="left" if subject % 3 == 2 else "right",
        noise=cfg.noise * rng.uniform(0.7, 1.4),
    )


def _takes(cfg: DemoConfig, fmt: str) -> list[_Take]:
    """All clips of one format, in the order of subject, action and repetition."""
    takes = []
    first_test = cfg.subjects - cfg.test_subjects
    for subject in range(cfg.subjects):
        group = range(first_test) if subject < first_test else range(first_test, cfg.subjects)
        # The second person comes from the same side of the split, or a test body would be seen in training.
        partner = group[(subject - group[0] + 1) % len(group)]
        for number, action in enumerate(ACTIONS):
            if (cfg.actions and action.label not in cfg.actions) or (fmt == "demo_bvh" and action.duo):
                continue
            for repetition in range(1, 1 + (cfg.repetitions if subject < first_test else cfg.test_repetitions)):
                view = sorted(_VIEWS)[(subject + number + repetition) % 3]
                takes.append(
                    _Take(
                        subject=subject,
                        partner=partner,
                        number=number,
                        action=action,
                        repetition=repetition,
                        view=view,
                    )
                )
    return takes


def _render(cfg: DemoConfig, fmt: str, take: _Take) -> tuple[str, dict[str, object]]:
    """Text of the clip's file and its row of clips.json."""
    key = [cfg.seed, 2, FORMATS.index(fmt), take.subject, take.number, take.repetition]
    rng = np.random.default_rng(key)
    who, other = _performer(cfg, take.subject), _performer(cfg, take.partner)
    other_side = {"left": "right", "right": "left"}[who.side]
    style = Style(
        tempo=who.tempo * rng.uniform(0.93, 1.07),
        amplitude=who.amplitude * rng.uniform(0.94, 1.06),
        side=other_side if rng.random() < 0.15 else who.side,
    )
    bodies = (who.body, other.body) if take.action.duo else (who.body,)
    clip = perform(take.action, bodies, style, rng, FPS)
    yaw = _VIEWS[take.view] + rng.uniform(-0.2, 0.2)
    if take.action.duo:
        # Two persons face each other across the image, either of them on either side.
        yaw = 0.6 * yaw + (np.pi / 2 if rng.random() < 0.5 else -np.pi / 2)
    text = _WRITERS[fmt](clip, yaw, who.noise, rng)
    times = _TIMES[clip.repeats]
    captions = [caption.format(side=style.side, times=times) for caption in take.action.captions]
    row: dict[str, object] = {
        "label": take.action.label,
        "subject": f"P{take.subject + 1:03d}",
        "view": take.view,
        "repetition": f"R{take.repetition:03d}",
        "captions": captions,
    }
    return text, row


def _ntu(clip: Clip, yaw: float, noise: float, rng: np.random.Generator) -> str:
    sensor = Sensor(
        yaw=yaw, distance=rng.uniform(2.8, 3.6), height=rng.uniform(0.9, 1.2), shift=rng.uniform(-0.25, 0.25)
    )
    persons = [sensor.view(motion) for motion in clip.motions]
    persons = [places + jitter(places.shape, 0.008 * noise, rng) for places in persons]
    frames = len(persons[0])
    # Kinect loses everybody for a frame or two in a few recordings.
    empty_frames = frozenset(int(t) for t in rng.integers(5, frames - 5, 2)) if rng.random() < 0.04 else frozenset()
    return ntu_text(persons, empty_frames, rng)


def _bvh(clip: Clip, yaw: float, noise: float, rng: np.random.Generator) -> str:
    return bvh_text(clip.motions[0].turn_and_move(yaw, rng.uniform(-0.4, 0.4, 3) * np.array([1, 0, 1])), FPS)


def _coco(clip: Clip, yaw: float, noise: float, rng: np.random.Generator) -> str:
    sensor = Sensor(yaw=yaw, distance=rng.uniform(3.4, 4.6), height=rng.uniform(0.9, 1.5), shift=rng.uniform(-0.4, 0.4))
    focal = rng.uniform(800, 950)
    return coco_text([sensor.view(motion) for motion in clip.motions], IMAGE_SIZE, focal, 2.0 * noise, FPS, rng)


_WRITERS: dict[str, Callable[[Clip, float, float, np.random.Generator], str]] = {
    "demo_ntu": _ntu,
    "demo_bvh": _bvh,
    "demo_coco17": _coco,
}
_ENDINGS = {"demo_ntu": ".skeleton", "demo_bvh": ".bvh", "demo_coco17": ".json"}
_README = """Synthetic motion set of skeleton-ray, version {version}, seed {seed}.

Computed from joint rotations by forward kinematics; no person was recorded. For trying the pipeline, not for claims
about real motion. {subjects} performers, the last {test_subjects} for testing; {labels} actions.

demo_ntu     NTU RGB+D .skeleton: 25 joints, metres, sensor frame, one or two bodies.
demo_bvh     BVH: 21 joints and 5 End Sites, centimetres, one person.
demo_coco17  COCO-17 keypoints in JSON: pixels, y down, one or two persons.

Each folder holds clips.json (file stem -> label, subject, view, repetition, captions) and protocols.json.
Files of the same name in two folders are separate performances.
Views: C002 from the front, C001 and C003 turned by 45 degrees to the performer's left and right.
{broken}
"""


def write_demo(out: Path, cfg: DemoConfig) -> dict[str, object]:
    """Writes the set below `out`: three folders with files, clips.json and protocols.json, and README.txt last.

    Args:
        out: folder, created where it is missing; files of the same names are replaced.
        cfg: size and seed.

    Returns:
        {"version", "seed", "labels", "train_clips", "test_clips", "formats": {folder: {"clips", "train", "test",
        "broken": {file: kind of damage}}}}; clips do not count the broken files.
    """
    first_test = cfg.subjects - cfg.test_subjects
    names = [f"P{subject + 1:03d}" for subject in range(cfg.subjects)]
    protocol = {"name": "cross_subject", "field": "subject", "train": names[:first_test], "test": names[first_test:]}
    formats: dict[str, dict[str, Any]] = {}
    for fmt in FORMATS:
        folder = out / fmt
        folder.mkdir(parents=True, exist_ok=True)
        takes, rows = _takes(cfg, fmt), {}
        for take in takes:
            text, rows[take.stem] = _render(cfg, fmt, take)
            (folder / (take.stem + _ENDINGS[fmt])).write_text(text)
        train = sum(take.subject < first_test for take in takes)
        broken = _write_broken(folder, fmt, takes[0], cfg, rows) if cfg.broken else {}
        (folder / "clips.json").write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
        (folder / "protocols.json").write_text(json.dumps([protocol], indent=1) + "\n")
        formats[fmt] = {"clips": len(takes), "train": train, "test": len(takes) - train, "broken": broken}
    labels = [action.label for action in ACTIONS if not cfg.actions or action.label in cfg.actions]
    spoilt = [f"{fmt}/{file}: {kind}" for fmt in FORMATS for file, kind in formats[fmt]["broken"].items()]
    text = _README.format(
        version=VERSION,
        seed=cfg.seed,
        subjects=cfg.subjects,
        test_subjects=cfg.test_subjects,
        labels=len(labels),
        broken="\n".join(["\nBroken on purpose, to be found in quarantine:", *spoilt]) if spoilt else "",
    )
    (out / "README.txt").write_text(text)
    return {
        "version": VERSION,
        "seed": cfg.seed,
        "labels": labels,
        "train_clips": sum(entry["train"] for entry in formats.values()),
        "test_clips": sum(entry["test"] for entry in formats.values()),
        "formats": formats,
    }


def _write_broken(
    folder: Path, fmt: str, take: _Take, cfg: DemoConfig, rows: dict[str, dict[str, object]]
) -> dict[str, str]:
    """Spoils copies of one good clip under repetition numbers of their own; adds their rows, returns file -> damage."""
    text, row = _render(cfg, fmt, take)
    damages = {}
    for k, (kind, spoil) in enumerate(BROKEN[fmt].items()):
        repetition = f"R{901 + k}"
        stem = take.stem.replace(f"R{take.repetition:03d}", repetition)
        rows[stem] = {**row, "repetition": repetition}
        (folder / (stem + _ENDINGS[fmt])).write_text(spoil(text))
        damages[stem + _ENDINGS[fmt]] = kind
    return damages
