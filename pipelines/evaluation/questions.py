"""A trained model's answers to questions about the motion of the test clips.

Checkpoint, shards -> OUT/qa.json, with the rows it came from in a folder beside it."""

from __future__ import annotations

from typing import Any

from models import prompts
from pipelines.evaluation.any_checkpoint import EvaluationRequest
from pipelines.evaluation.language import setting
from pipelines.evaluation.question_scores import QuestionItem, from_file, from_motion, tell, verdict
from pipelines.inference.answerer import answer_prompts
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import UserError
from pipelines.runtime.progress import say
from skeleton_io.questions.motion import QUESTIONS_VERSION

ANSWER_TOKENS = 12


def run_questions(asked: EvaluationRequest, file: str, most: int) -> dict[str, Any]:
    """Answers to questions about the test clips, made from their motion or read from a file.

    Args:
        asked: checkpoint, shards and so on.
        file: external questions; empty: made from the motion.
        most: of each kind; 0: all.

    Raises:
        UserError: see `setting`; no question can be asked, or the file is not one.
    """
    base = setting(asked)
    items = from_file(file, set(base.store.keys)) if file else from_motion(map(base.store.clip, base.clips), most)
    items = list({item.id: item for item in items}.values())
    if not items:
        raise UserError("no question: none of the test clips has a clear motion fact")
    askings = [item.asking(ANSWER_TOKENS) for item in items]
    key = digest("questions", base.model, base.store.digest, sorted(item.id for item in items), QUESTIONS_VERSION,
                 prompts.PROMPTS_VERSION, ANSWER_TOKENS, base.cfg.evaluate.batch, _answers(items))  # fmt: skip

    def work(rows: str) -> dict[str, Any]:
        answers = answer_prompts(base.export, asked.shards, askings, rows, base.cfg, "questions")
        summary = tell(base.judge, [verdict(item, answers[item.id]) for item in items])
        return {"source": file or "motion", "questions_version": QUESTIONS_VERSION, **summary}

    found = base.finish("questions", "qa.json", key, work)
    for row in [*found["families"], {"family": "all", **found["overall"]}]:
        told_as = [f"{name} {row[name]['value']:.3f}" for name in ("closed", "free") if row[name]]
        say(f"[questions] {row['family']}: {', '.join(told_as)}, chance {row['chance']}, most frequent answer "
            f"{row['majority']}, {row['n']} questions")  # fmt: skip
    return found


def _answers(items: list[QuestionItem]) -> str:
    return digest(*sorted((item.id, item.answer) for item in items))
