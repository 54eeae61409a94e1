"""A draw -> question and answer. Candidates and negatives come from the labels seen in training, per set.

The question never holds the answer, except as one of the candidates. Owns no wording: `models.prompts` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from models import prompts
from models.scoring import normalise
from pipelines.sampler import Draw
from skeleton_io.sequence import SkeletonSequence

Negative = Callable[[str, Sequence[str], np.random.Generator], str]
_SHARPNESS = 4.0


@dataclass(frozen=True)
class Example:
    """One question; `task` is what is really asked, where the wanted task has no material for this clip."""

    task: str
    prompt: str
    answer: str


def random_negative(label: str, labels: Sequence[str], rng: np.random.Generator) -> str:
    """Another label, each as likely as any other.

    Raises:
        ValueError: there is no other label.
    """
    others = [other for other in labels if other != label]
    if not others:
        raise ValueError(f"yes/no questions need a second label beside {label!r}")
    return others[int(rng.integers(len(others)))]


@lru_cache(maxsize=4096)
def _likeness(label: str, others: tuple[str, ...]) -> np.ndarray:
    """Chance of each other label: Jaccard index of words and character trigrams, sharpened."""

    def parts(text: str) -> set[str]:
        plain = normalise(text)
        return set(plain.split()) | {plain[i : i + 3] for i in range(len(plain) - 2)}

    own = parts(label)
    score = np.array([len(own & parts(o)) / max(1, len(own | parts(o))) for o in others])
    chance = np.exp(_SHARPNESS * score)
    return chance / chance.sum()


def similar_negative(label: str, labels: Sequence[str], rng: np.random.Generator) -> str:
    """Another label, likelier where its wording is alike: a hard negative that needs no model (paper, section 3.3).

    No label is ever without negatives.

    Raises:
        ValueError: there is no other label.
    """
    others = tuple(other for other in labels if other != label)
    if not others:
        raise ValueError(f"yes/no questions need a second label beside {label!r}")
    return others[int(rng.choice(len(others), p=_likeness(label, others)))]


class TaskBook:
    """Writes the questions of one stage.

    Args:
        labels: set -> labels seen in training; candidates and negatives are drawn from them.
        rationales: key -> teacher's text; a clip without one is asked multiple choice instead.
        negatives: chooses the wrong label of a yes/no question.
    """

    def __init__(
        self,
        labels: Mapping[str, Sequence[str]],
        rationales: Mapping[str, str],
        negatives: Negative = similar_negative,
    ) -> None:
        self.labels, self.rationales, self.negatives = labels, rationales, negatives

    def example(self, draw: Draw, seq: SkeletonSequence, rng: np.random.Generator) -> Example:
        """Question and answer of one draw.

        Args:
            draw: names task and, for yes/no, the right answer.
            seq: the clip.
            rng: draws the order of candidates, negatives and captions.

        Raises:
            ValueError: the clip has no label, or the task is unknown.
        """
        if seq.label is None:
            raise ValueError(f"{seq.key}: training clips need a label")
        label, seen = seq.label, self.labels[seq.dataset]
        if draw.task == "yesno":
            asked = label if draw.positive else self.negatives(label, seen, rng)
            return Example("yesno", prompts.yesno_prompt(asked), prompts.YES if draw.positive else prompts.NO)
        if draw.task == "rationale" and draw.key in self.rationales:
            answer = prompts.rationale_target(self.rationales[draw.key], label)
            return Example("rationale", prompts.rationale_prompt(), answer)
        if draw.task == "caption" and seq.captions:
            caption = seq.captions[int(rng.integers(len(seq.captions)))]
            return Example("caption", prompts.caption_prompt(), caption)
        if draw.task not in ("mqa", "rationale", "caption"):
            raise ValueError(f"unknown task {draw.task!r}")
        order = [seen[int(i)] for i in rng.permutation(len(seen))]
        return Example("mqa", prompts.mqa_prompt(order), label)
