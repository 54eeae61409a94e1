"""What the trainer's monitor must know of SkeletonLLM: its parts in time, the operations of a batch, the device's peak.

Counts by a formula (`models.mllm.flops`) and measures nothing itself. Where visual tokens are thinned out, the time of
vision counts as the LLM's.
"""

from __future__ import annotations

from torch import nn

from models.mllm import flops
from models.skeleton_llm import SkeletonLLM
from pipelines.batches.collator import Batch
from pipelines.trainer.context import TrainContext
from pipelines.trainer.monitor import Monitor
from pipelines.training.job import StageJob

REGIONS = ("rendering", "vision", "llm")
"""Parts of the model that a step's time is told apart by."""


def vision_encoder(model: SkeletonLLM) -> nn.Module | None:
    """The vision encoder of a multimodal LLM; None where it goes by no known name."""
    for name, module in model.mllm.named_modules():
        if name.endswith((".vision_tower", ".visual")):
            return module
    return None


def make_monitor(job: StageJob, ctx: TrainContext, model: SkeletonLLM) -> Monitor:
    """A monitor that knows the model's parts; the loop enters the LLM's region itself.

    Args:
        job: what is trained.
        ctx: this rank's surroundings.
        model: on its device.
    """
    peak = 1e12 * job.cfg.train.metrics.peak_tflops or flops.peak(ctx.device, job.cfg.mllm.precision)
    monitor = Monitor(job, ctx, REGIONS, peak)
    monitor.clock.watch_module(model.renderer, "rendering")
    if (vision := vision_encoder(model)) is not None:
        monitor.clock.watch_module(vision, "vision")
    return monitor


class ModelWork:
    """Operations that batches cost.

    Args:
        model: with `requires_grad` as in the stage.
        image_size: side of the frames, pixels.
    """

    def __init__(self, model: SkeletonLLM, image_size: int) -> None:
        # A gradient goes down through vision and LLM where the renderer below them learns.
        below = any(parameter.requires_grad for parameter in model.renderer.parameters())
        self.formula = flops.model_flops(model.mllm, below)
        self.image_id, self.image_tokens = model.mllm.encoder.image_id, model.mllm.geometry.tokens(image_size)

    def flops(self, batch: Batch) -> float:
        """Of one micro batch, forward and backward."""
        text = batch.text
        tokens, images = text.attention_mask.sum(1).tolist(), (text.input_ids == self.image_id).sum(1).tolist()
        answers = (text.labels >= 0).sum(1).tolist() if text.labels is not None else [0] * len(tokens)
        return self.formula.step(zip(tokens, answers, images, strict=True), self.image_tokens)
