"""Caption metrics on a fixed set against the formulas of their papers and against other implementations."""

from __future__ import annotations

import math
import shutil
from collections import Counter

import pytest

from pipelines.scores import captions as metrics
from pipelines.scores.captions import caption_metrics, words_of

CAPTIONS = [
    "A person walks forward, then turns to the left.",
    "someone raises the right hand and waves twice",
    "the man jumps up and down",
    "a person sits down on a chair",
    "a figure throws a ball with the right arm",
]
REFERENCES = [
    ["A person walks straight ahead and turns left.", "someone walks forward then turns to the left side"],
    ["a person waves with the right hand", "the right hand goes up and waves two times", "somebody waves"],
    ["a man jumps up and down several times"],
    ["a person sits down", "someone takes a seat on a chair"],
    ["a person throws something with the right hand", "a ball is thrown"],
]


def found(name: str, captions: list[str] = CAPTIONS) -> dict[str, float]:
    return caption_metrics(captions, REFERENCES, seed=0, resamples=100, wanted=(name,))[name]


def grams(text: str, order: int) -> Counter[tuple[str, ...]]:
    words = words_of(text).split()
    return Counter(zip(*(words[i:] for i in range(order)), strict=False))


def bleu(order: int) -> float:
    """Papineni et al. 2002: clipped precisions of the corpus, brevity penalty with the closest reference length."""
    logs, length, closest = 0.0, 0, 0
    for n in range(1, order + 1):
        right = total = 0
        for caption, refs in zip(CAPTIONS, REFERENCES, strict=True):
            most: Counter[tuple[str, ...]] = Counter()
            for ref in refs:
                most |= grams(ref, n)
            mine = grams(caption, n)
            right += sum((mine & most).values())
            total += sum(mine.values())
        logs += math.log(right / total) / order
    for caption, refs in zip(CAPTIONS, REFERENCES, strict=True):
        size = len(words_of(caption).split())
        length += size
        closest += min((len(words_of(r).split()) for r in refs), key=lambda n: (abs(n - size), n))
    return math.exp(logs) * min(1.0, math.exp(1 - closest / length))


@pytest.mark.parametrize(("name", "order"), [("bleu1", 1), ("bleu4", 4)])
def test_bleu_is_that_of_the_paper_and_of_coco(name: str, order: int):
    pytest.importorskip("sacrebleu")
    assert found(name)["value"] == pytest.approx(bleu(order), abs=1e-4)
    coco = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu(4)
    wanted = {i: [words_of(r) for r in refs] for i, refs in enumerate(REFERENCES)}
    values, _ = coco.compute_score(wanted, {i: [words_of(c)] for i, c in enumerate(CAPTIONS)}, verbose=0)
    assert found(name)["value"] == pytest.approx(values[order - 1], abs=1e-4)


def longest(one: list[str], two: list[str]) -> int:
    table = [[0] * (len(two) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(two):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence():
    pytest.importorskip("rouge_score")
    total = 0.0
    for caption, refs in zip(CAPTIONS, REFERENCES, strict=True):
        mine = words_of(caption).split()
        theirs = [words_of(r).split() for r in refs]
        total += max(2 * longest(mine, ref) / (len(mine) + len(ref)) for ref in theirs)
    assert found("rouge_l")["value"] == pytest.approx(total / len(CAPTIONS), abs=1e-4)


def cider() -> float:
    """CIDEr-D (Vedantam et al. 2015, eq. 2 to 4 with clipping and the Gaussian length penalty, sigma 6, times 10)."""
    frequency: Counter[tuple[str, ...]] = Counter()
    for refs in REFERENCES:
        frequency.update({gram for ref in refs for n in range(1, 5) for gram in grams(ref, n)})

    def vector(text: str, n: int) -> dict[tuple[str, ...], float]:
        return {
            gram: count * (math.log(len(REFERENCES)) - math.log(max(1, frequency[gram])))
            for gram, count in grams(text, n).items()
        }

    def norm(values: dict[tuple[str, ...], float]) -> float:
        return math.sqrt(sum(v * v for v in values.values()))

    total = 0.0
    for caption, refs in zip(CAPTIONS, REFERENCES, strict=True):
        for ref in refs:
            # Lengths count bigrams, as the authors' code has it.
            gap = sum(grams(caption, 2).values()) - sum(grams(ref, 2).values())
            for n in range(1, 5):
                mine, theirs = vector(caption, n), vector(ref, n)
                size = norm(mine) * norm(theirs)
                dot = sum(min(mine[gram], theirs[gram]) * theirs[gram] for gram in mine if gram in theirs)
                total += (dot / size if size else 0.0) * math.exp(-(gap**2) / 72) / 4 / len(refs)
    return 10 * total / len(CAPTIONS)


def test_cider_is_that_of_the_paper():
    pytest.importorskip("pycocoevalcap")
    assert found("cider")["value"] == pytest.approx(cider(), abs=1e-4)


def test_meteor_is_computed_with_java_or_missing_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("pycocoevalcap")
    if shutil.which("java"):
        one = found("meteor", [REFERENCES[0][0], *CAPTIONS[1:]])
        assert 0.1 < one["value"] < 0.8
        assert one["ci95"][1] > one["value"]
    monkeypatch.setattr(metrics.shutil, "which", lambda name: None)
    assert "no java on the PATH" in found("meteor")["missing"]


def test_bertscore_without_weights_is_missing_and_said_so():
    assert found("bertscore") == {"missing": "needs the weights of an English encoder in a local folder (--bert-model)"}


def test_perfect_captions_score_one():
    pytest.importorskip("sacrebleu")
    same = [refs[0] for refs in REFERENCES]
    assert (found("bleu1", same)["value"], found("rouge_l", same)["value"]) == (1.0, 1.0)


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "rouge_score.rouge_scorer", None)
    assert "pip install skeleton-ray[captions]" in found("rouge_l")["missing"]


def test_captions_without_references_are_refused():
    with pytest.raises(ValueError, match="at least one reference"):
        caption_metrics(["a"], [[]], seed=0, resamples=10)
