"""Names of the rules by which a clip counts as told rightly. Imports nothing, since `--help` reads it."""

from __future__ import annotations

from typing import Literal

RankingRule = Literal["normalised", "summed", "prior_corrected"]
"""By the log-probabilities of the candidates."""
AnswerRule = Literal["exact", "nearest", "substring"]
"""By the words that the model wrote."""
Rule = Literal[RankingRule, AnswerRule]
