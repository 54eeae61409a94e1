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
from typing import Any

import numpy as np

from pipelines.config.rationales import AcceptConfig
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.rationales.duplicates import most_alike
from pipelines.rationales.grounding.rationale import Rationale
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


def judge_answers(cfg: FullConfig, shards_uri: str, lines: list[Line]) -> list[dict[str, Any]]:
    """One row per answered explanation. Grounding runs over the cluster; needs a running Ray.

    Args:
        cfg: `rationales.accept` is applied.
        shards_uri: the clips.
        lines: of the ledger, explanations and blind answers.
    """
    blind = blind_labels(lines)
    told = [line for line in lines if line["status"] == "answered" and line["purpose"] == "explain"]
    rows = sorted(_grounded(shards_uri, told), key=lambda row: row["clip"])
    for row in rows:
        votes = blind.get(row["clip"], [])
        hits = [same_label(vote, row["label"]) for vote in votes]
        row["blind_labels"] = votes
        row["blind_equal"] = hits[0] if hits else None
        row["consistency"] = float(np.mean(hits)) if hits else None
        row["rejected_for"] = rejections(row, cfg.rationales.accept)
    if cfg.rationales.accept.max_similarity < 1:
        _reject_copies(rows, cfg.rationales.accept.max_similarity)
    for row in rows:
        row["accepted"] = not row["rejected_for"]
    return rows


def blind_labels(lines: Iterable[Line]) -> dict[str, list[str]]:
    """Clip -> labels of its blind answers, in the order of the samples; a failed one counts as an empty label."""
    found: dict[str, list[tuple[int, str]]] = {}
    for line in lines:
        if line["purpose"] == "blind":
            label = parse_label(line["raw"]) if line["status"] == "answered" else ""
            found.setdefault(line["clip"], []).append((line["sample"], label))
    return {clip: [label for _, label in sorted(votes)] for clip, votes in found.items()}


def same_label(a: str, b: str) -> bool:
    """Equal but for case, punctuation and spaces."""
    return _plain(a) == _plain(b)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def says_given(text: str) -> bool:
    """Whether a text admits that its author was told the label."""
    return _GIVEN.search(text) is not None


def _grounded(shards_uri: str, told: list[Line]) -> list[dict[str, Any]]:
    import ray

    if not told:
        return []
    items = [{"line": json.dumps(line)} for line in told]
    blocks = -(-len(items) // _ROWS_PER_BATCH)
    rows = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
        GroundingActor,
        fn_constructor_args=(shards_uri,),
        batch_size=None,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, blocks)),
        num_cpus=1,
    )
    del items  # Ray's store has them now
    progress, found = Progress("rationales: judge", len(told), "answers"), []
    for row in rows.iter_rows():
        found.append(json.loads(row["row"]))
        progress.add(1)
    return found


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


def judge(line: Line, store: ClipStore) -> dict[str, Any]:
    """Verdicts on one answered explanation, by itself."""
    rationale = parse(line["raw"])
    # The text that is learned ends in the clip's label as the student is asked for it.
    found = ground(rationale, store.clip(line["clip"]))
    body = "\n".join(rationale.text.splitlines()[:-1])
    return {
        **{name: line[name] for name in ("key", "clip", "dataset", "label", "model")},
        **_content(rationale),
        "label_equal": same_label(rationale.label, line["label"]),
        "no_leakage": not leaks(body, line["label"]) and not says_given(body),
        "words": len(body.split()),
        "claims": len(found.checked) + found.disordered,
        "supported": found.supported,
        "contradicted": found.contradicted,
        "grounding": round(found.share, 4),
        "score": round(found.score, 4),
        "doubts": [c.text for c, v in zip(found.claims, found.values, strict=True) if v is not None and v <= -0.25],
    }


def _content(rationale: Rationale) -> dict[str, Any]:
    steps = [vars(step) for step in rationale.steps]
    return {"summary": rationale.summary, "steps": steps, "evidence": rationale.evidence, "text": rationale.text}


def rejections(row: dict[str, Any], accept: AcceptConfig) -> list[str]:
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


def _reject_copies(rows: list[dict[str, Any]], most: float) -> None:
    """Of accepted rationales of one set that say nearly the same, the first by clip stays."""
    for name in sorted({row["dataset"] for row in rows}):
        mine = [row for row in rows if row["dataset"] == name and not row["rejected_for"]]
        alike = most_alike([row["text"] for row in mine])
        for row, value in zip(mine, alike, strict=True):
            if value > most:
                row["rejected_for"].append("max_similarity")
