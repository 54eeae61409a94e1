"""A model and what a step fed it -> floating-point operations by a formula, and a device's peak: what MFU is made of.

Operations of one step (a multiply-add is two), after PaLM (arXiv 2204.02311, appendix B), for the LLM and the vision
encoder each, with N the parameters of its matrices (token tables left out, the output head at answer positions only),
n the tokens or patches that went through it, l layers of width d and s the length of each row or image:

    forward            2 N n + 4 l d sum(s^2)        (scores and mix of values; the causal half is not taken off)
    input gradient     the same again,      where something below it, or inside it, learns
    weight gradient    2 N_learning n,      and 4 l d sum(s^2) for attention where there is a gradient

The renderer, optimiser, norms and activations are left out; work that gradient checkpointing does again is not counted
either: MFU is about useful work. Measures no time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.config import Precision
from models.mllm.hf import HFMultimodal
from models.trainable import group_of

# Dense, without sparsity, 10^12 per second, by what the device's name holds: (bf16 tensor cores, fp32 without TF32).
# NVIDIA's data sheets. The first that matches counts.
PEAKS: tuple[tuple[str, float, float], ...] = (
    ("H200", 989.0, 67.0),
    ("H100 PCIe", 756.0, 51.0),
    ("H100", 989.0, 67.0),
    ("B200", 2250.0, 75.0),
    ("A100", 312.0, 19.5),
    ("L40S", 362.0, 91.6),
    ("L4", 121.0, 30.3),
    ("A10", 125.0, 31.2),
    ("V100", 125.0, 15.7),
    ("4090", 165.0, 82.6),
)


@dataclass(frozen=True)
class Part:
    """One transformer.

    Attributes:
        weights: parameters of its matrices that each token goes through.
        learning: those of them that learn.
        layers: number of blocks.
        width: of attention, heads times their size.
        backward: whether a gradient goes through it.
    """

    weights: int
    learning: int
    layers: int
    width: int
    backward: bool

    def flops(self, count: float, squares: float) -> float:
        """Of `count` tokens in rows whose squared lengths add up to `squares`."""
        forward = 2.0 * self.weights * count + 4.0 * self.layers * self.width * squares
        if not self.backward:
            return forward
        attention = 4.0 * self.layers * self.width * squares
        return 2 * forward + 2.0 * self.learning * count + attention


@dataclass(frozen=True)
class ModelFlops:
    """A multimodal LLM as the formula sees it.

    Attributes:
        llm: without token table and output head.
        head: parameters of the output head.
        vision: the encoder.
        projector: between both, per visual token.
        merge: squared side of the block of patches that makes one visual token.
    """

    llm: Part
    head: Part
    vision: Part
    projector: Part
    merge: int

    def step(self, rows: Iterable[tuple[int, int, int]], image_tokens: int) -> float:
        """Operations of one step.

        Args:
            rows: (tokens, answer tokens, visual tokens) of each row.
            image_tokens: visual tokens of one image, within which vision attends.
        """
        rows = list(rows)
        tokens, answers, seen = (sum(row[i] for row in rows) for i in range(3))
        patches = seen * self.merge
        return (
            self.llm.flops(tokens, sum(row[0] ** 2 for row in rows))
            + self.head.flops(answers, 0)
            + self.vision.flops(patches, patches * image_tokens * self.merge)
            + self.projector.flops(seen, 0)
        )


def _numel(parameter: nn.Parameter) -> int:
    """Elements of a parameter, whole even where ZeRO-3 has taken it apart."""
    return int(getattr(parameter, "ds_numel", 0) or parameter.numel())


def model_flops(mllm: HFMultimodal, below: bool) -> ModelFlops:
    """Reads sizes and what learns.

    Args:
        mllm: with `requires_grad` as in the stage.
        below: whether the frames need a gradient, as the renderer learns.
    """
    sizes = {name: [0, 0] for name in ("llm", "head", "vision", "projector")}
    for name, parameter in mllm.named_parameters():
        if parameter.dim() < 2 or ".embed_tokens." in name or "pos_embed" in name or "position_embed" in name:
            continue
        group = group_of(name)
        owner = "head" if "lm_head" in name else "llm" if group == "lora" else str(group)
        sizes[owner][0] += _numel(parameter)
        sizes[owner][1] += _numel(parameter) * parameter.requires_grad
    config: Any = mllm.model.config
    text, vision = config.text_config, config.vision_config
    if not sizes["head"][0]:  # tied to the token table
        sizes["head"][0] = text.vocab_size * text.hidden_size
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    depth = vision.depth if hasattr(vision, "depth") else vision.num_hidden_layers
    learns = {name: below or any(sizes[n][1] for n in sizes if _ORDER[n] <= _ORDER[name]) for name in sizes}

    def part(name: str, layers: int, width: int) -> Part:
        return Part(sizes[name][0], sizes[name][1], layers, width, learns[name])

    return ModelFlops(
        llm=part("llm", text.num_hidden_layers, head_dim * text.num_attention_heads),
        head=part("head", 0, 0),
        vision=part("vision", depth, vision.hidden_size),
        projector=part("projector", 0, 0),
        merge=mllm.geometry.merge**2,
    )


_ORDER = {"vision": 0, "projector": 1, "llm": 2, "head": 3}


def peak(device: torch.device, precision: Precision) -> float:
    """Operations per second of one worker's device at best; a CPU is measured with its threads (0.1 s); 0: unknown."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for part, bf16, fp32 in PEAKS:
            if part in name:
                return 1e12 * (bf16 if precision == "bf16" else fp32)
        return 0.0
    return measured_peak()


def measured_peak(side: int = 512, seconds: float = 0.1) -> float:
    """Operations per second of float32 matrix products on the CPU, the best of those that fit into the time."""
    a, b = torch.rand(side, side), torch.rand(side, side)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2.0 * side**3 / best
