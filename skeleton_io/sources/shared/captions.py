"""Caption and label files beside motions -> what they say of one motion, found by its path or id.

At the top of a set's folder: `annotations.json` (KIT-ML, and HumanML3D in the same form), `train.json`, `val.json`,
`test.json` with `extra_` before or without (BABEL), `descriptions.tsv` and `kit_captions.tsv` (CMU), `answers.csv`
(Aalto). `texts/ID.txt` beside HumanML3D's joints is read by `parse_lines`. A text about a whole motion is a caption,
one on a part of it a segment. Reads no motion; a text whose motion is not there is not looked at.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from skeleton_io.record.sequence import Segment, SkeletonSequence
from skeleton_io.sources.shared.captions_aalto import parse_motion_name, read_answers
from skeleton_io.sources.shared.files import SourceFile
from skeleton_io.sources.shared.side_files import plain_label

BABEL = tuple(f"{kind}{part}.json" for kind in ("", "extra_") for part in ("train", "val", "test"))
NAMES = ("annotations.json", *BABEL, "descriptions.tsv", "kit_captions.tsv", "answers.csv")
COMPANIONS = "|".join(re.escape(name) for name in NAMES)
"""For `FileSource.companions`."""
_WHOLE = 0.05
"""Seconds that a text may begin late or end early and still be about the whole motion."""
_ENDINGS = re.compile(r"(?:_poses|_stageii|_stagei)?(?:\.\w{1,4})?$")


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What the files say of one motion."""

    label: str | None = None
    subject: str | None = None
    setup: str | None = None
    captions: tuple[str, ...] = ()
    segments: tuple[Segment, ...] = ()

    def plus(self, other: Texts) -> Texts:
        """Both; each text once."""
        return Texts(
            label=self.label or other.label,
            subject=self.subject or other.subject,
            setup=self.setup or other.setup,
            captions=tuple(dict.fromkeys((*self.captions, *other.captions))),
            segments=tuple(dict.fromkeys((*self.segments, *other.segments))),
        )


Index = dict[str, dict[tuple[str, ...], Texts]]
"""Last part of a motion's path -> parts of the whole path -> texts."""
Row = tuple[str, Texts]
"""Path or id of a motion, without or with its suffix, and texts."""


def join_captions(clip: SkeletonSequence, file: SourceFile) -> SkeletonSequence:
    """The clip with what the caption files at the top of the set's folder say of it; its own fields win.

    Raises:
        SkeletonFormatError: a caption file is broken.
    """
    up = "../" * file.item.path.count("/")
    texts = Texts()
    notes: list[str] = []
    for name in NAMES:
        data = file.beside(up + name)
        if data is None or not all(sign in data[:_HEAD] for sign in _SIGNS[name]):
            continue
        try:
            index = _index(name, data)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise file.error(name, _FORMATS[name], f"{type(error).__name__}: {error}"[:120]) from None
        matches = _look_up(index, file.item.path)
        if len(matches) == 1:
            texts = texts.plus(matches[0])
        elif matches:
            notes.append(f"{name}: {len(matches)} motions have this name; none is joined")
    own = Texts(
        label=clip.label, subject=clip.subject, setup=clip.setup, captions=clip.captions, segments=clip.segments
    )
    both = own.plus(texts)
    return replace(
        clip,
        label=both.label,
        subject=both.subject,
        setup=both.setup,
        captions=both.captions,
        segments=both.segments,
        notes=(*clip.notes, *notes),
    )


def parse_lines(file: SourceFile, text: str, place: str) -> Texts:
    """HumanML3D's lines: sentence#tagged words#start#end, where 0.0 twice means the whole motion.

    Raises:
        SkeletonFormatError: another number of parts, or times that are none.
    """
    texts = Texts()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        parts = line.split("#")
        try:
            sentence, _, start, end = parts
            # "nan" stands for the whole motion in a few of the released files.
            times = [0.0 if math.isnan(float(time)) else float(time) for time in (start, end)]
            line_texts = _timed(sentence, *times, duration=0.0) if any(times) else _caption(sentence)
        except ValueError:
            raise file.error(f"{place}, line {number}", "sentence#words#start#end", line[:80]) from None
        texts = texts.plus(line_texts)
    return texts


def _caption(text: str) -> Texts:
    return Texts(captions=(" ".join(text.split()),)) if text.strip() else Texts()


def _timed(text: str, start: float, end: float, duration: float) -> Texts:
    """A caption where the times span the whole duration, a segment otherwise."""
    if start <= _WHOLE and end >= duration - _WHOLE and duration > 0:
        return _caption(text)
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start <= end):
        raise ValueError(f"a text from {start:g} to {end:g} s")
    return Texts(segments=(Segment(start=float(start), end=float(end), label=" ".join(text.split())),))


@lru_cache(maxsize=16)
def _index(name: str, data: bytes) -> Index:
    """A caption file by motion. `data` is one object for all clips of a task, whose hash Python keeps."""
    index: Index = {}
    for path, texts in _READERS[name](data.decode("utf-8-sig")):
        parts = _parts(path)
        same = index.setdefault(parts[-1], {})
        same[parts] = same[parts].plus(texts) if parts in same else texts
    return index


def _parts(path: str) -> tuple[str, ...]:
    """ "CMU/13/13_18_poses.npz" -> ("CMU", "13", "13_18")."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    return (*parts[:-1], _ENDINGS.sub("", parts[-1])) if parts else ("",)


def _look_up(index: Index, path: str) -> list[Texts]:
    """Texts of the motions whose paths agree longest with the file's, from the end; more than one: it is open."""
    target = _parts(path)
    best, matches = 0, list[Texts]()
    for parts, texts in index.get(target[-1], {}).items():
        # "M/..." is the mirrored motion of KIT-ML.
        if (parts[0] == "M") != (target[0] == "M"):
            continue
        depth = 0
        while depth < min(len(parts), len(target)) and parts[-1 - depth] == target[-1 - depth]:
            depth += 1
        # kick_01 of another folder is another motion; a name without any folder may stand for all.
        if depth == 1 < min(len(parts), len(target)):
            continue
        if depth > best:
            best, matches = depth, []
        if depth == best:
            matches.append(texts)
    return matches


def _kit_ml(text: str) -> Iterator[Row]:
    for entry in json.loads(text).values():
        duration = float(entry["duration"])
        for annotation in entry["annotations"]:
            yield (
                str(entry["path"]),
                _timed(str(annotation["text"]), float(annotation["start"]), float(annotation["end"]), duration),
            )


def _babel(text: str) -> Iterator[Row]:
    for entry in json.loads(text).values():
        texts = Texts()
        whole = _annotations(entry, "seq_ann")
        parts = _annotations(entry, "frame_ann")
        for annotation in whole:
            texts = texts.plus(_caption(str(annotation["raw_label"])))
        for annotation in parts:
            times = float(annotation["start_t"]), float(annotation["end_t"])
            texts = texts.plus(_timed(str(annotation["proc_label"] or annotation["raw_label"]), *times, duration=0.0))
        kinds = {str(kind) for annotation in whole for kind in annotation["act_cat"] or ()}
        if len(kinds) == 1 and not parts:
            texts = replace(texts, label=plain_label(*kinds))
        yield str(entry["feat_p"]), texts


def _annotations(entry: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Labels of one annotator (train, val) or of several (extra_train, extra_val)."""
    annotators = entry[name + "s"] if name + "s" in entry else [entry[name]] if name in entry else []
    return [label for annotator in annotators or () if annotator for label in annotator["labels"] or ()]


def _tsv(text: str, count: int) -> Iterator[list[str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            parts = line.split("\t")
            if len(parts) != count:
                raise ValueError(f"line {number} has {len(parts)} columns")
            yield parts


def _descriptions(text: str) -> Iterator[Row]:
    for path, caption in _tsv(text, 2):
        yield path, replace(_caption(caption), label=plain_label(caption) or None)


def _kit_captions(text: str) -> Iterator[Row]:
    """Times are those of the motion in KIT-ML; its duration is not given, so the longest text counts as the whole."""
    rows = list(_tsv(text, 5))
    ends: dict[str, float] = {}
    for path, _, _, _, end in rows:
        ends[path] = max(float(end), ends[path]) if path in ends else float(end)
    for path, _, caption, start, end in rows:
        yield path, _timed(caption, float(start), float(end), ends[path])


def _aalto(text: str) -> Iterator[Row]:
    for motion, answers in read_answers(text).items():
        label, subject, setup = parse_motion_name(motion)
        yield motion, Texts(label=label, subject=subject, setup=setup, captions=answers)


_READERS: dict[str, Callable[[str], Iterable[Row]]] = {
    "annotations.json": _kit_ml,
    **dict.fromkeys(BABEL, _babel),
    "descriptions.tsv": _descriptions,
    "kit_captions.tsv": _kit_captions,
    "answers.csv": _aalto,
}
# Other files have these names too: what holds none of these words in its beginning is not meant.
_HEAD = 1 << 16
_SIGNS: dict[str, tuple[bytes, ...]] = {
    "annotations.json": (b'"path"', b'"annotations"'),
    **dict.fromkeys(BABEL, (b'"feat_p"', b'"seq_ann')),
    "descriptions.tsv": (b"\t",),
    "kit_captions.tsv": (b"\t",),
    "answers.csv": (b"survey_language", b"motion"),
}
_FORMATS = {
    "annotations.json": '{id: {"path", "duration", "annotations": [{"text", "start", "end"}]}}',
    **dict.fromkeys(BABEL, '{id: {"feat_p", "seq_ann": {"labels": [...]}, "frame_ann": ...}}'),
    "descriptions.tsv": "id, text",
    "kit_captions.tsv": "id, KIT-ML id, text, start, end",
    "answers.csv": "participant, survey_language, motion, verb, modifier1, modifier2, modifier3",
}
