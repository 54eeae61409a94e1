"""How SkeletonLLM is stepped: the protocol of its engines.

The renderer (about a thousand weights) is never sharded or cast: each rank holds it whole in float32 with an AdamW of
its own, whatever happens to the multimodal LLM. DeepSpeed could not take it: it refuses scalars, and ZeRO-3 waits for
ever where ranks call a module unequally often, as the renderer's parts are, once for each topology of a batch.
Gradients are clipped by one norm over everything that learns all the same.

Precision: under mllm.precision bf16 the frozen weights are bf16, whatever learns is kept in float32 (so the weights are
their own master copy), and the LLM runs under autocast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from models.draction.renderer import ClipInput
from models.mllm.base import LMOutput, TextBatch
from pipelines.trainer.engine import Engine


class StageEngine(Engine, Protocol):
    """An engine around SkeletonLLM."""

    def forward(self, clips: Sequence[ClipInput], text: TextBatch) -> LMOutput:
        """Losses of a micro batch."""
        ...
