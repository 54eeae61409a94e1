"""Questions about motions + a model's answers -> accuracy per kind, by closed choice and by free text, as JSON data.

The questions come from the motion (`skeleton_io.questions.motion`) or from a JSON file of anybody's. Runs no model.

The file is a list (or {"questions": a list}) of {"clip": "SET/ID", "question": text, "answer": text, "choices": [texts]
with the answer among them, optional, "kind": text, optional}.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models import prompts
from pipelines.inference.answerer import Prompt
from pipelines.runtime.errors import UserError
from pipelines.scores import rules
from pipelines.scores.metrics import Scoreboard
from skeleton_io import storage
from skeleton_io.questions.motion import KINDS, family, questions_of
from skeleton_io.record.sequence import SkeletonSequence

OTHER = "other"
"""Kind and family of external questions that name none."""


@dataclass(frozen=True, kw_only=True)
class QuestionItem:
    """One question about one clip; `choices` is empty where only free text is asked for."""

    clip: str
    question: str
    answer: str
    kind: str = OTHER
    choices: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Unique within a question set."""
        text = json.dumps([self.clip, self.question, self.kind, self.choices])
        return f"{hashlib.sha256(text.encode()).hexdigest()[:16]}|{self.clip}"

    def to_prompt(self, tokens: int) -> Prompt:
        """As the model is asked. The choices stand in an order that the question decides, not the answer."""
        # Else "yes, no" would always stand as the table of questions has it, and a model could answer by place.
        order = sorted(self.choices, key=lambda c: hashlib.sha256(f"{self.id}/{c}".encode()).hexdigest())
        prompt = prompts.qa_prompt(self.question, order)
        return Prompt(id=self.id, clip=self.clip, prompt=prompt, choices=self.choices, tokens=tokens)


def make_questions(clips: Iterable[SkeletonSequence], most: int) -> list[QuestionItem]:
    """Questions that the clips' joints answer, at most `most` of each kind (0: all), with their answers in balance.

    Of each kind, answers take turns, each giving its questions in the order of their hash, until `most` are taken or
    the answers that are left would be more than twice as frequent as the rarest of them that had at least five.
    """
    by_kind: dict[str, dict[str, list[QuestionItem]]] = defaultdict(lambda: defaultdict(list))
    for seq in clips:
        for q in questions_of(seq):
            item = QuestionItem(clip=seq.key, question=q.question, answer=q.answer, kind=q.kind, choices=q.choices)
            by_kind[q.kind][q.answer].append(item)
    out: list[QuestionItem] = []
    for kind in sorted(by_kind, key=KINDS.index):
        # The id is a hash: the order says nothing about clip or person.
        groups = [sorted(group, key=lambda item: item.id) for _, group in sorted(by_kind[kind].items())]
        # A very rare answer must not leave hardly any question of its kind.
        frequent = [len(group) for group in groups if len(group) >= 5]
        limit = 2 * min(frequent) if frequent else max(map(len, groups))
        taken = [group[turn] for turn in range(limit) for group in groups if turn < len(group)]
        out += taken[:most] if most else taken
    return sorted(out, key=lambda item: (KINDS.index(item.kind), item.id))


def read_questions(uri: str, known: Mapping[str, object] | set[str]) -> list[QuestionItem]:
    """Questions of a JSON file; see the head of this module.

    Raises:
        UserError: not such a file, or a clip that the shards do not have.
    """
    try:
        data = json.loads(storage.read_text(uri))
    except (OSError, ValueError) as error:
        raise UserError(f"--file {uri}: cannot be read as JSON: {error}") from None
    rows = data["questions"] if isinstance(data, dict) and "questions" in data else data
    if not isinstance(rows, list) or not rows:
        raise UserError(f"--file {uri}: expected a list of questions, or an object with `questions`")
    return [_item(uri, number, row, known) for number, row in enumerate(rows)]


def _item(uri: str, number: int, row: Any, known: Mapping[str, object] | set[str]) -> QuestionItem:
    place = f"--file {uri}, question {number}"
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in ("clip", "question", "answer")):
        raise UserError(f"{place}: expected texts clip, question, answer; found {json.dumps(row)[:120]}")
    choices, kind = row.get("choices") or [], row.get("kind") or OTHER
    if not isinstance(choices, list) or not all(isinstance(c, str) for c in choices) or not isinstance(kind, str):
        raise UserError(f"{place}: choices must be a list of texts, kind a text")
    if choices and row["answer"] not in choices:
        raise UserError(f"{place}: the answer {row['answer']!r} is none of the choices {choices}")
    if row["clip"] not in known:
        raise UserError(f"{place}: no clip {row['clip']!r} in the shards; keys are SET/ID")
    return QuestionItem(
        clip=row["clip"],
        question=row["question"],
        answer=row["answer"],
        kind=kind,
        choices=tuple(dict.fromkeys(choices)),
    )


@dataclass(frozen=True)
class Verdict:
    """Was an answer right? `closed` is None where there are no choices, `free` where nothing was written."""

    item: QuestionItem
    written: str | None
    picked: str | None
    closed: bool | None
    free: bool | None


def judge_answer(item: QuestionItem, row: Mapping[str, Any]) -> Verdict:
    """Closed: the choice with the highest likelihood per token. Free: the written text names the answer, or, without
    choices, equals it, case and punctuation aside."""
    picked = row["prediction"] if item.choices else None
    written = row["generated"]
    free: bool | None = None
    if written is not None and item.choices:
        choice = rules.exact_match(written, list(item.choices))
        free = choice is not None and item.choices[choice] == item.answer
    elif written is not None:
        free = rules.normalise(written) == rules.normalise(item.answer)
    return Verdict(item, written, picked, picked == item.answer if item.choices else None, free)


def summarise_verdicts(scoreboard: Scoreboard, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """{"questions", "clips", "overall", "families", "kinds", "examples"}; see `_block` for an entry."""
    kinds: dict[str, list[Verdict]] = defaultdict(list)
    families: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        kind = verdict.item.kind
        kinds[kind].append(verdict)
        families[family(kind) if kind in KINDS else OTHER].append(verdict)
    order = [k for k in KINDS if k in kinds] + sorted(set(kinds) - set(KINDS))
    return {
        "questions": len(verdicts),
        "clips": len({v.item.clip for v in verdicts}),
        "overall": _block(scoreboard, verdicts),
        "families": [{"family": name, **_block(scoreboard, families[name])} for name in sorted(families)],
        "kinds": [{"kind": name, **_block(scoreboard, kinds[name])} for name in order],
        "examples": [_example(v) for name in order for v in sorted(kinds[name], key=lambda v: v.item.id)[:2]],
    }


def _block(scoreboard: Scoreboard, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Accuracies with intervals ("closed", "free": {"value", "n", "ci95"} or null), "chance" of guessing among the
    choices, "majority" of always giving each kind's most frequent answer, and how often each answer is right."""
    closed = [v for v in verdicts if v.closed is not None]
    free = [v for v in verdicts if v.free is not None]
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for v in verdicts:
        answers[v.item.kind][v.item.answer] += 1
    # Free questions have no chance to guess among choices.
    chances = [1 / len(v.item.choices) for v in verdicts if v.item.choices]
    block: dict[str, Any] = {
        "n": len(verdicts),
        "closed": scoreboard.share([bool(v.closed) for v in closed]) if closed else None,
        "free": scoreboard.share([bool(v.free) for v in free]) if free else None,
        "chance": round(float(np.mean(chances)), 4) if chances else None,
        "majority": round(sum(max(c.values()) for c in answers.values()) / len(verdicts), 4),
    }
    if len(answers) == 1:
        block["answers"] = dict(sorted(next(iter(answers.values())).items()))
    return block


def _example(verdict: Verdict) -> dict[str, Any]:
    item = verdict.item
    question = {"clip": item.clip, "kind": item.kind, "question": item.question, "answer": item.answer}
    return question | {"picked": verdict.picked, "said": verdict.written, "right": verdict.closed}
