"""One thing that is asked about one clip, as a typed job: from the stage through Ray Data to the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.rationales.teachers.base import Purpose


@dataclass(frozen=True, kw_only=True)
class TeacherTask:
    """One question about one training clip. The order of the fields is that of a line of the ledger.

    Attributes:
        key: names the answer in the ledger: hash of all that the answer depends on.
        clip: key of the clip in the shard set.
        dataset: its set.
        label: its label, also where the question hides it.
        asked: hash of who answers and with which settings.
        drawing: hash of how the frames are drawn; empty where the teacher sees none.
        purpose: "explain" with the label, "blind" without.
        sample: number of the blind answer, from 0; 0 for an explanation.
        prompt_sha: hash of the prompt file; empty for an explanation without one.
        candidates: labels that a blind answer may name, sorted; empty for an explanation.
    """

    key: str
    clip: str
    dataset: str
    label: str
    asked: str
    drawing: str
    purpose: Purpose
    sample: int
    prompt_sha: str
    candidates: tuple[str, ...]

    def to_row(self) -> dict[str, Any]:
        """Plain columns for Ray Data."""
        # Text, not a list: Arrow cannot type the empty lists of a block that holds explanations only.
        return {**asdict(self), "candidates": json.dumps(self.candidates)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> TeacherTask:
        """The task of a row of Ray Data, which may hold more columns (numpy scalars become plain values)."""
        texts: dict[str, Any] = {name: str(row[name]) for name in _TEXTS}
        return cls(**texts, sample=int(row["sample"]), candidates=tuple(json.loads(str(row["candidates"]))))

    def facts(self, frames_sha: str | None = None) -> dict[str, Any]:
        """What a line of the ledger says about the question.

        Args:
            frames_sha: hash of the frames that the teacher saw; None where it saw none.
        """
        # The candidates stand in the key: in every line they would be most of the file.
        known = {name: value for name, value in asdict(self).items() if name != "candidates"}
        return known if frames_sha is None else {**known, "frames_sha": frames_sha}


_TEXTS = ("key", "clip", "dataset", "label", "asked", "drawing", "purpose", "prompt_sha")
