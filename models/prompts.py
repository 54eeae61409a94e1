"""Wording of the tasks: candidate labels, a label or a rationale -> prompt and answer texts.

The only home of these texts. Does not tokenise, does not choose candidates or negatives. Sentences are short because a
tiny model pays for each token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

PROMPTS_VERSION = "1"
"""Raised by any change of wording; a checkpoint is evaluated with the wording it was trained on."""

YES, NO = "yes", "no"
LABEL_MARK = "Label:"
_LABEL_LINE = re.compile(r"label\s*:[ \t]*(.*)", re.IGNORECASE)


def mqa_prompt(labels: Sequence[str]) -> str:
    """Multiple-choice question; the answer is one of `labels`, verbatim.

    Raises:
        ValueError: no labels, or a label that spans lines.
    """
    if not labels or any("\n" in label for label in labels):
        raise ValueError("mqa_prompt: expected at least one label, each on one line")
    return "Which action do the frames show?\n" + "\n".join(labels) + "\nAnswer with the label only."


def yesno_prompt(label: str) -> str:
    """Verification question; the answer is YES or NO."""
    return f"Do the frames show this action: {label}? Answer yes or no."


def rationale_prompt() -> str:
    """Asks for the causal chain of the motion and then the label; names no candidate."""
    return "Explain step by step how the body moves, then name the action in a last line: Label: X"


def rationale_target(rationale: str, label: str) -> str:
    """The answer to `rationale_prompt`: the rationale without label lines of its own, then `Label: <label>`."""
    lines = [line for line in rationale.strip().splitlines() if not _LABEL_LINE.match(line.strip())]
    return "\n".join([*lines, f"{LABEL_MARK} {label}"]).strip()


def label_start(rationale: str) -> str:
    """A rationale without label lines, up to where the label's name begins; candidates go on with " NAME"."""
    return rationale_target(rationale, "").rstrip()


def caption_prompt() -> str:
    """Asks for a free description of the motion."""
    return "Describe the motion in one sentence."


def qa_prompt(question: str, choices: Sequence[str] = ()) -> str:
    """A question about the motion; where there are choices, the answer is one of them, verbatim.

    Raises:
        ValueError: no question, or a choice that spans lines.
    """
    if not question.strip() or any("\n" in choice for choice in choices):
        raise ValueError("qa_prompt: expected a question, and choices that stand on one line each")
    if not choices:
        return f"{question.strip()}\nAnswer in a few words."
    return f"{question.strip()}\n" + "\n".join(choices) + "\nAnswer with one of these only."


def stated_label(answer: str) -> str | None:
    """The text after the last `Label:` of an answer, None where there is none."""
    found = _LABEL_LINE.findall(answer)
    return found[-1].strip() if found else None


def prompt_corpus(labels: Iterable[str]) -> list[str]:
    """Every prompt and answer these labels give rise to, to train a tiny tokenizer on."""
    names = sorted(set(labels))
    texts = [rationale_prompt(), caption_prompt(), YES, NO]
    texts += [f"{LABEL_MARK} {n}" for n in names] + [yesno_prompt(n) for n in names]
    return texts + ([mqa_prompt(names)] if names else [])
