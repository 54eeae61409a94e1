"""Captions + reference captions -> BLEU-1 and -4, ROUGE-L, CIDEr, METEOR, BERTScore, through the libraries that define
them. Reads no clips and runs no captioner.

What cannot be computed here is given as missing with the reason, never replaced by something like it: METEOR needs
Java, BERTScore the weights of an English encoder in a local folder. The libraries are the extra `captions`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.scores import bootstrap
from pipelines.scores.blocks import IntervalBlock, MissingBlock
from pipelines.scores.metrics import round_interval

References = Sequence[Sequence[str]]
METRICS = ("bleu1", "bleu4", "rouge_l", "cider", "meteor", "bertscore")


class Missing(Exception):
    """A metric cannot be computed here; the text says why."""


@dataclass(frozen=True)
class MetricValue:
    """A metric over a corpus and, where it is a mean over captions, its values per caption."""

    value: float
    per_caption: Sequence[float] | None


def words_of(text: str) -> str:
    """Lower case, words and numbers only, one space between: what all metrics see."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


def _bleu(order: int) -> Callable[[list[str], list[list[str]]], MetricValue]:
    def bleu(captions: list[str], references: list[list[str]]) -> MetricValue:
        from sacrebleu.metrics import BLEU

        # sacrebleu wants as many references for each caption: None where one has fewer.
        most = max(map(len, references))
        streams: Any = [[refs[i] if i < len(refs) else None for refs in references] for i in range(most)]
        # Not smoothed: 0 where no 4-gram fits is the definition.
        scorer = BLEU(max_ngram_order=order, tokenize="none", smooth_method="none")
        return MetricValue(scorer.corpus_score(captions, streams).score / 100, None)

    return bleu


def _rouge(captions: list[str], references: list[list[str]]) -> MetricValue:
    """F1 of the longest common subsequence, the best reference counts."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    values = [scorer.score_multi(r, c)["rougeL"].fmeasure for c, r in zip(captions, references, strict=True)]
    return MetricValue(float(np.mean(values)), values)


def _cider(captions: list[str], references: list[list[str]]) -> MetricValue:
    """CIDEr-D, 0 to 10; its word weights come from the references of this very corpus."""
    from pycocoevalcap.cider.cider import Cider

    if len(captions) < 2:
        raise Missing("word weights need at least two captions")
    wanted = {i: list(r) for i, r in enumerate(references)}
    value, values = Cider().compute_score(wanted, {i: [c] for i, c in enumerate(captions)})
    return MetricValue(float(value), [float(v) for v in values])


def _meteor(captions: list[str], references: list[list[str]]) -> MetricValue:
    """METEOR 1.5 for English."""
    if shutil.which("java") is None:
        raise Missing("METEOR 1.5 is a Java program and there is no java on the PATH")
    from pycocoevalcap.meteor.meteor import Meteor

    # The program counts lines; an empty one shifts all that follow.
    if not all(captions) or not all(all(r) for r in references):
        raise Missing("METEOR 1.5 takes no empty captions")
    wanted = {i: list(r) for i, r in enumerate(references)}
    try:
        value, values = Meteor().compute_score(wanted, {i: [c] for i, c in enumerate(captions)})
    except (OSError, ValueError) as error:
        raise Missing(f"METEOR 1.5 did not run: {error}") from None
    return MetricValue(float(value), [float(v) for v in values])


def _bert(model: str, layer: int) -> Callable[[list[str], list[list[str]]], MetricValue]:
    def bert(captions: list[str], references: list[list[str]]) -> MetricValue:
        if not model:
            raise Missing("needs the weights of an English encoder in a local folder (--bert-model)")
        from bert_score import score  # pyright: ignore[reportMissingImports] - of the extra `captions`

        precision_recall_f1: Any = score(captions, references, model_type=model, num_layers=layer, idf=True, lang="en")
        f1 = [float(value) for value in precision_recall_f1[2]]
        return MetricValue(float(np.mean(f1)), f1)

    return bert


def caption_metrics(
    captions: Sequence[str],
    references: References,
    seed: int,
    resamples: int,
    bert_model: str = "",
    bert_layer: int = 0,
    wanted: Sequence[str] = METRICS,
) -> dict[str, IntervalBlock | MissingBlock]:
    """All metrics of a corpus.

    Args:
        captions: one per clip; an empty one scores 0 in those metrics that take it.
        references: at least one for each caption.
        seed, resamples: of the 95 % interval over clips, for metrics that are means over captions.
        bert_model: folder of an encoder for BERTScore (not rescaled, idf weights of the references); empty: missing.
        bert_layer: its layer whose states are compared.
        wanted: which metrics.

    Returns:
        Name -> {"value", "n", "ci95"} (ci95 is [null, null] for BLEU, which is no mean) or {"missing": reason}.

    Raises:
        ValueError: no captions, or one without references.
    """
    if not captions or len(captions) != len(references) or not all(references):
        raise ValueError("caption_metrics: expected captions, each with at least one reference")
    # All metrics see the same words; each library would split them in its own way.
    plain = [words_of(c) for c in captions]
    theirs = [[words_of(text) for text in refs] for refs in references]
    table: dict[str, Callable[[list[str], list[list[str]]], MetricValue]] = {
        "bleu1": _bleu(1),
        "bleu4": _bleu(4),
        "rouge_l": _rouge,
        "cider": _cider,
        "meteor": _meteor,
        "bertscore": _bert(bert_model, bert_layer),
    }
    out: dict[str, IntervalBlock | MissingBlock] = {}
    for name in wanted:
        try:
            metric = table[name](plain, theirs)
        except Missing as error:
            out[name] = {"missing": str(error)}
            continue
        except ImportError as error:
            out[name] = {"missing": f"{error.name} is not installed: pip install skeleton-ray[captions]"}
            continue
        if metric.per_caption is None:
            out[name] = {"value": round(metric.value, 4), "n": len(plain), "ci95": [None, None]}
        else:
            values = np.asarray(metric.per_caption, np.float64)
            # METEOR's own corpus value is not the mean over captions, so the value is the one that the library gives.
            out[name] = {
                **round_interval(bootstrap.bootstrap(values, seed, resamples)),
                "value": round(metric.value, 4),
            }
    return out
