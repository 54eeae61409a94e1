"""What share of a training step the renderer takes: measured with the tiny MLLM, from FLOPs with one of 8 B."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

import torch
from render_scene import measure, ntu_spec, scene, waving_body

from models.config import MLLMConfig, RendererConfig
from models.draction.camera import fit_camera
from models.draction.frames import velocity
from models.draction.renderer import ClipInput, DrAction
from models.mllm.hf import HFMultimodal
from models.mllm.tiny import write_tiny_checkpoint
from models.prompts import mqa_prompt, prompt_corpus
from models.skeleton_llm import SkeletonLLM

LABELS = ("wave", "sit down", "jump up", "clap")


@dataclass(frozen=True)
class Large:
    """InternVL3-8B as published: InternViT-300M at 14 px patches, 2 x 2 patches a token, Qwen2.5-7B."""

    vision_weights: float = 304e6
    vision_layers: int = 24
    vision_width: int = 1024
    patches: int = 1025  # of one 448 px frame, with the class token
    llm_weights: float = 7.1e9  # without the embedding table, which is looked up
    llm_layers: int = 28
    llm_width: int = 3584
    tokens_each: int = 256  # of one frame
    text: int = 200


def tiny_step(clips: int, frames: int, size: int, runs: int) -> dict[str, float]:
    """CPU seconds of a whole training step of the tiny MLLM and of its renderer alone, forward and backward."""
    cfg = RendererConfig(frames=frames, image_size=size)
    spec, batch = ntu_spec(), []
    for seed in range(clips):
        body = waving_body(frames, seed)
        world, moved = torch.from_numpy(body), torch.from_numpy(velocity(body, 30.0, cfg.velocity_stride_s))
        batch.append(ClipInput(spec, world, moved, fit_camera(world, spec, cfg)))
    with tempfile.TemporaryDirectory() as folder:
        mllm_cfg = MLLMConfig()
        write_tiny_checkpoint(folder, "internvl", mllm_cfg.tiny, prompt_corpus(LABELS), size, seed=0)
        model = SkeletonLLM(DrAction(cfg), HFMultimodal.from_checkpoint(folder, mllm_cfg))
    text = model.mllm.tokenize([mqa_prompt(LABELS)] * clips, [LABELS[0]] * clips, frames, size)
    weights = torch.randn(clips, frames, 3, size, size)
    whole = measure(lambda: model(batch, text).loss.backward(), runs)
    renderer = measure(lambda: (model.renderer(batch) * weights).sum().backward(), runs)
    return {"whole": whole["cpu"], "renderer": renderer["cpu"]}


def large_flops(frames: int, model: Large) -> dict[str, float]:
    """FLOPs of one clip: a multiply and an add for each weight and token, and attention's two products of scores.

    The weights are frozen in stage 1, so the backward pass computes gradients of activations only: as much as the
    forward pass; gradient checkpointing runs the forward pass of the LLM once more.
    """
    seen = frames * model.patches
    vision = 2 * model.vision_weights * seen
    vision += 4 * model.vision_layers * model.vision_width * model.patches * seen
    tokens = frames * model.tokens_each + model.text
    llm = 2 * model.llm_weights * tokens + 4 * model.llm_layers * model.llm_width * tokens * tokens
    return {"vision": vision, "llm": llm, "step": 2 * vision + 3 * llm, "tokens": tokens}


def report(pairs: float, step_s: float) -> list[str]:
    """Lines for the results page.

    Args:
        pairs: pixel-Gaussian pairs of the standard clip.
        step_s: seconds that the renderer takes for it here.
    """
    tiny = tiny_step(clips=2, frames=8, size=96, runs=5)
    flops = large_flops(12, Large())
    ours = 130 * pairs  # about 40 operations forward, 90 backward, both exponentials of each included
    gpu = 0.4 * 989e12  # 40 % of an H100's or H200's dense bf16 peak
    whole = flops["step"] / gpu
    return [
        "## Share of a training step", "",
        f"* Tiny MLLM (the default sizes, 2 clips x 8 frames, 96 px; measured): renderer {1e3 * tiny['renderer']:.0f} "
        f"ms of {1e3 * tiny['whole']:.0f} ms, {100 * tiny['renderer'] / tiny['whole']:.0f} %.",
        "* 8 B MLLM, from FLOPs, one clip of 12 frames at 448 px. Vision: 2 x 304 M x 12 x 1025 patches + attention = "
        f"{flops['vision'] / 1e12:.1f} TFLOP. LLM: 2 x 7.1 B x {flops['tokens']:.0f} tokens + attention = "
        f"{flops['llm'] / 1e12:.1f} TFLOP. A step is 2 x vision + 3 x LLM (frozen weights, LLM recomputed) = "
        f"{flops['step'] / 1e12:.0f} TFLOP. Renderer: {pairs / 1e6:.1f} M pairs x about 130 operations = "
        f"{ours / 1e9:.2f} GFLOP, 1 / {flops['step'] / ours:,.0f} of it.",
        f"* In time: {flops['step'] / 1e12:.0f} TFLOP at 40 % of 989 TFLOP/s are {1e3 * whole:.0f} ms. The renderer on "
        f"one core of this CPU ({1e3 * step_s:.0f} ms) would be {100 * step_s / (step_s + whole):.0f} % of such a "
        "step; the published loop (stated: 55 s a clip) would be 99 %.", "",
    ]  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(scene().leaves[0].shape, *report(3.6e6, 0.025), sep="\n")
