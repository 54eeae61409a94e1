"""Answers of the ledger -> rows of answers.parquet: every verdict on every rationale, and whether it is accepted.

Verdicts: the label is the clip's; nothing before the last line names it or says that it was given; the claims hold
against the motion (`pipelines.rationales.grounding.verify`); the length is reasonable; no accepted rationale of the
same set says nearly the same; and, where blind answers were asked for, what share of them names the label.
`rationales.accept` says which of these decide. Nothing is thrown away: a rejected rationale stays in the table with its
reasons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TypedDict, cast

import numpy as np

from pipelines.config.rationales import AcceptConfig
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.rationales.duplicates import most_alike
from pipelines.rationales.grounding.verify import GROUNDING_VERSION, ground
from pipelines.rationales.teachers.kinematic import leaks
from pipelines.rationales.teachers.ledger import Line
from pipelines.rationales.teachers.structured import parse, parse_label
from pipelines.runtime.progress import Progress

VERDICTS_VERSION = 1 + GROUNDING_VERSION
"""Raised whenever the same answers get other verdicts."""
_GIVEN = re.compile(
    r"\b(?:ground[- ]truth|(?:given|provided|stated|true|correct|known|specified|supplied)\s+(?:label|action|class)|"
    r"as\s+(?:stated|given|labell?ed|provided|specified)|(?:label|action)\s+(?:is|was)\s+(?:given|provided|stated)|"
    r"you\s+(?:told|said|stated)|I\s+was\s+told|according\s+to\s+the\s+(?:label|prompt|question))\b",
    re.IGNORECASE,
)
_ROWS_PER_BATCH = 64
_DOUBT = -0.25
"""Value of a claim from which on down a reader of the review page is shown its words."""


class StepRow(TypedDict):
    """A step of a rationale; start and end in seconds."""

    start: float
    end: float
    part: str
    motion: str
    cause: str


class JudgedRationale(TypedDict):
    """A rationale and the verdicts on it by itself.

    grounding: share of its claims that the motion shows; score: by its worst claims, 1 to -3; doubts: the words of
    claims that do not hold.
    """

    key: str
    clip: str
    dataset: str
    label: str
    model: str
    summary: str
    steps: list[StepRow]
    evidence: str
    text: str
    label_equal: bool
    no_leakage: bool
    words: int
    claims: int
    supported: int
    contradicted: int
    grounding: float
    score: float
    doubts: list[str]


class AnswerRow(JudgedRationale):
    """A row of answers.parquet: the verdicts that all answers together give are added.

    blind_equal: whether the first blind answer names the label, consistency: share of them that do; both None where
    there are none. rejected_for: names of the rules of `rationales.accept` that it breaks.
    """

    blind_labels: list[str]
    blind_equal: bool | None
    consistency: float | None
    rejected_for: list[str]
    accepted: bool


def judge_answers(cfg: FullConfig, shards_uri: str, lines: list[Line]) -> list[AnswerRow]:
    """One row per answered explanation. Grounding runs over the cluster; needs a running Ray.

    Args:
        cfg: `rationales.accept` is applied.
        shards_uri: the clips.
        lines: of the ledger, explanations and blind answers.
    """
    blind = blind_labels(lines)
    explained = [line for line in lines if line["status"] == "answered" and line["purpose"] == "explain"]
    judged = sorted(_ground_all(shards_uri, explained), key=lambda row: row["clip"])
    rows = [_with_votes(row, blind.get(row["clip"], [])) for row in judged]
    for row in rows:
        row["rejected_for"] = rejections(row, cfg.rationales.accept)
    if cfg.rationales.accept.max_similarity < 1:
        _reject_copies(rows, cfg.rationales.accept.max_similarity)
    for row in rows:
        row["accepted"] = not row["rejected_for"]
    return rows


def _with_votes(judged: JudgedRationale, votes: list[str]) -> AnswerRow:
    """A row that nothing has rejected or accepted yet."""
    hits = [same_label(vote, judged["label"]) for vote in votes]
    return {
        **judged,
        "blind_labels": votes,
        "blind_equal": hits[0] if hits else None,
        "consistency": float(np.mean(hits)) if hits else None,
        "rejected_for": [],
        "accepted": False,
    }


def blind_labels(lines: Iterable[Line]) -> dict[str, list[str]]:
    """Clip -> labels of its blind answers, in the order of the samples; a failed one counts as an empty label."""
    votes_by_clip: dict[str, list[tuple[int, str]]] = {}
    for line in lines:
        if line["purpose"] == "blind":
            # A refusal to name a label is a vote for none.
            label = parse_label(line["raw"]) if line["status"] == "answered" else ""
            votes_by_clip.setdefault(line["clip"], []).append((line["sample"], label))
    return {clip: [label for _, label in sorted(votes)] for clip, votes in votes_by_clip.items()}


def same_label(a: str, b: str) -> bool:
    """Equal but for case, punctuation and spaces."""
    return _plain(a) == _plain(b)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def says_given(text: str) -> bool:
    """Whether a text admits that its author was told the label."""
    return _GIVEN.search(text) is not None


def _ground_all(shards_uri: str, lines: list[Line]) -> list[JudgedRationale]:
    import ray

    if not lines:
        return []
    # As JSON: Arrow would make columns of the nested fields, and a type for each that all lines must fit.
    items = [{"line": json.dumps(line)} for line in lines]
    # Rounded up; one block is one call of an actor.
    blocks = -(-len(items) // _ROWS_PER_BATCH)
    judged = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
        GroundingActor,
        fn_constructor_args=(shards_uri,),
        batch_size=None,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, blocks)),
        num_cpus=1,
    )
    del items  # Ray's store has them now
    progress, rows = Progress("rationales: judge", len(lines), "answers"), []
    for item in judged.iter_rows():
        rows.append(json.loads(item["row"]))
        progress.add(1)
    return rows


class GroundingActor:
    """One actor: ledger lines -> rows with the verdicts that need the clip.

    Args:
        shards_uri: the clips.
    """

    def __init__(self, shards_uri: str) -> None:
        self._store = ClipStore(shards_uri)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Column `line` (JSON) -> column `row` (JSON)."""
        rows = [json.dumps(judge(json.loads(str(line)), self._store)) for line in batch["line"]]
        return {"row": np.array(rows, object)}


def judge(line: Line, store: ClipStore) -> JudgedRationale:
    """Verdicts on one answered explanation, by itself."""
    rationale = parse(line["raw"])
    # The text that is learned ends in the clip's label as the student is asked for it.
    grounding = ground(rationale, store.clip(line["clip"]))
    # The last line must name the label; only what stands before it can leak.
    body = "\n".join(rationale.text.splitlines()[:-1])
    return {
        "key": line["key"],
        "clip": line["clip"],
        "dataset": line["dataset"],
        "label": line["label"],
        "model": line["model"],
        "summary": rationale.summary,
        "steps": [cast("StepRow", vars(step)) for step in rationale.steps],
        "evidence": rationale.evidence,
        "text": rationale.text,
        "label_equal": same_label(rationale.label, line["label"]),
        "no_leakage": not leaks(body, line["label"]) and not says_given(body),
        "words": len(body.split()),
        "claims": len(grounding.checked) + grounding.disordered,
        "supported": grounding.supported,
        "contradicted": grounding.contradicted,
        "grounding": round(grounding.share, 4),
        "score": round(grounding.score, 4),
        "doubts": [
            c.text for c, v in zip(grounding.claims, grounding.values, strict=True) if v is not None and v <= _DOUBT
        ],
    }


def rejections(row: AnswerRow, accept: AcceptConfig) -> list[str]:
    """Names of the rules that a rationale breaks."""
    consistency = row["consistency"]
    broken = {
        "label_equal": accept.label_equal and not row["label_equal"],
        "no_leakage": accept.no_leakage and not row["no_leakage"],
        "min_grounding": row["grounding"] < accept.min_grounding,
        "min_score": row["score"] < accept.min_score,
        "max_contradicted": row["contradicted"] > accept.max_contradicted,
        "min_words": row["words"] < accept.min_words,
        "max_words": row["words"] > accept.max_words,
        "blind_equal": accept.blind_equal and not row["blind_equal"],
        "min_consistency": (0.0 if consistency is None else consistency) < accept.min_consistency,
    }
    return [name for name, bad in broken.items() if bad]


def _reject_copies(rows: list[AnswerRow], most: float) -> None:
    """Of accepted rationales of one set that say nearly the same, the first by clip stays."""
    for name in sorted({row["dataset"] for row in rows}):
        mine = [row for row in rows if row["dataset"] == name and not row["rejected_for"]]
        # Against accepted ones only: a copy of a rejected text is no copy of what is learned.
        alike = most_alike([row["text"] for row in mine])
        for row, value in zip(mine, alike, strict=True):
            if value > most:
                row["rejected_for"].append("max_similarity")
