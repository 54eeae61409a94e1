"""A trained model's answers to questions about the motion of the test clips.

Model, shards -> OUT/qa.json, with the rows it came from in a folder beside it.
"""

from __future__ import annotations

from typing import Any

from models import prompts
from pipelines.evaluation.any_checkpoint import EvaluationRequest
from pipelines.evaluation.language import prepare
from pipelines.evaluation.question_scores import (
    QuestionItem,
    judge_answer,
    make_questions,
    read_questions,
    summarise_verdicts,
)
from pipelines.inference.answerer import answer_prompts
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import UserError
from pipelines.runtime.progress import say
from skeleton_io.questions.motion import QUESTIONS_VERSION

ANSWER_TOKENS = 12
"""Longest free answer, tokens."""


def run_questions(request: EvaluationRequest, file: str, most: int) -> dict[str, Any]:
    """Answers to questions about the test clips, made from their motion or read from a file.

    Args:
        request: model, shards and so on.
        file: external questions; empty: made from the motion.
        most: of each kind; 0: all.

    Raises:
        UserError: see `prepare`; no question can be asked, or the file is not one.
    """
    setting = prepare(request)
    items = (
        read_questions(file, set(setting.store.keys))
        if file
        else make_questions(map(setting.store.clip, setting.clips), most)
    )
    # A file may ask the same twice; an answer counts once.
    items = list({item.id: item for item in items}.values())
    if not items:
        raise UserError("no question: none of the test clips has a clear motion fact")
    to_answer = [item.to_prompt(ANSWER_TOKENS) for item in items]
    ids = sorted(item.id for item in items)
    key = digest("questions", setting.model_key, setting.store.digest, ids, QUESTIONS_VERSION,
                 prompts.PROMPTS_VERSION, ANSWER_TOKENS, setting.cfg.evaluate.batch, _hash_answers(items))  # fmt: skip

    def work(rows: str) -> dict[str, Any]:
        answers = answer_prompts(setting.export, request.shards, to_answer, rows, setting.cfg, "questions")
        summary = summarise_verdicts(setting.scoreboard, [judge_answer(item, answers[item.id]) for item in items])
        return {"source": file or "motion", "questions_version": QUESTIONS_VERSION, **summary}

    report = setting.finish("questions", "qa.json", key, work)
    for row in [*report["families"], {"family": "all", **report["overall"]}]:
        accuracies = [f"{name} {row[name]['value']:.3f}" for name in ("closed", "free") if row[name]]
        say(f"[questions] {row['family']}: {', '.join(accuracies)}, chance {row['chance']}, most frequent answer "
            f"{row['majority']}, {row['n']} questions")  # fmt: skip
    return report


def _hash_answers(items: list[QuestionItem]) -> str:
    # The id does not hold the answer: a corrected file must be scored again.
    return digest(*sorted((item.id, item.answer) for item in items))
