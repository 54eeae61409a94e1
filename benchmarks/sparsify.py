"""What foreground sparsification saves and what it costs: tokens, FLOPs, time, accuracy.

    skel full --config benchmarks/presets/sparsify.yaml --out runs/plain
    skel full --config benchmarks/presets/sparsify.yaml --out runs/sparse --mllm.sparsify.enabled
    python benchmarks/sparsify.py --plain runs/plain --sparse runs/sparse --out benchmarks/results/sparsify.md

Several runs of an arm (other seeds) may follow each option. Clips are those of the first run's demo set.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyarrow import parquet
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from render_mllm import Large, large_flops  # noqa: E402
from render_scene import clocked  # noqa: E402

from models.config import MLLMConfig, RendererConfig, SparsifyConfig, TinyMLLMConfig  # noqa: E402
from models.draction.renderer import DrAction  # noqa: E402
from models.mllm.families.registry import FAMILIES  # noqa: E402
from models.mllm.hf import HFMultimodal  # noqa: E402
from models.mllm.sparsify import foreground  # noqa: E402
from models.mllm.tiny import write_tiny_checkpoint  # noqa: E402
from models.prompts import mqa_prompt, prompt_corpus  # noqa: E402
from models.skeleton_llm import SkeletonLLM  # noqa: E402
from pipelines.data.renderer_input import clip_input  # noqa: E402
from pipelines.inference.render import RenderOptions, load_renderer  # noqa: E402
from skeleton_io.shards.shard_set import ShardSet  # noqa: E402

THRESHOLD = SparsifyConfig().threshold
EACH = 40
"""Clips of each set, evenly spaced over its keys."""
PATCH = 8  # of the preset
TINY_PLAIN, TINY_SPARSE = (replace(MLLMConfig(), sparsify=SparsifyConfig(enabled=on)) for on in (False, True))


@dataclass(frozen=True)
class Drawn:
    """Frames of demo clips, and which blocks show something.

    Attributes:
        name: of the geometry.
        frames: (B, F, 3, H, W) of the first clips only.
        keep: dilation -> (B, F, h, w) bool of all clips.
    """

    name: str
    frames: Tensor
    keep: dict[int, Tensor]


@torch.no_grad()
def draw(name: str, renderer: Any, unit: int, shards: ShardSet) -> Drawn:
    """`EACH` clips of each set; blocks of `unit` pixels."""
    sets = {key.split("/")[0]: [k for k in shards.keys if k.startswith(key.split("/")[0] + "/")] for key in shards.keys}
    keys = [keys[i * len(keys) // EACH] for keys in sets.values() for i in range(EACH)]
    keep: dict[int, list[Tensor]] = {0: [], 1: []}
    some: list[Tensor] = []
    for key in keys:
        frames = renderer([clip_input(shards.clip(key), renderer.cfg, None, None)])
        some += [frames] if len(some) < 8 else []
        for dilation, found in keep.items():
            found.append(foreground(frames, unit, THRESHOLD, dilation))
    return Drawn(name, torch.cat(some), {dilation: torch.cat(found) for dilation, found in keep.items()})


def sparse_flops(keep: Tensor, model: Large, padded: bool) -> dict[str, float]:
    """FLOPs of one clip, the mean over clips: see `render_mllm.large_flops`.

    Args:
        keep: (B, F, h, w).
        model: the MLLM.
        padded: InternVL's way here: a clip's images are padded to the one that keeps most.
    """
    blocks = keep.flatten(2).sum(2)
    rows = (blocks.amax(1, keepdim=True).expand_as(blocks) if padded else blocks).double()
    seen = 4 * rows + 1
    vision = 2 * model.vision_weights * seen.sum(1)
    vision = vision + 4 * model.vision_layers * model.vision_width * seen.square().sum(1)
    tokens = blocks.sum(1).double() + model.text
    llm = 2 * model.llm_weights * tokens + 4 * model.llm_layers * model.llm_width * tokens.square()
    return {"vision": float(vision.mean()), "llm": float(llm.mean()), "step": float((2 * vision + 3 * llm).mean())}


def token_lines(all_drawn: Sequence[Drawn]) -> list[str]:
    """The table of visual tokens."""
    lines = [
        "## Tokens",
        "",
        "| frames | tokens of a clip | kept, mean | 5 % to 95 % of the clips | share | one block wider |",
    ]
    lines.append("|---|---|---|---|---|---|")
    for drawn in all_drawn:
        kept = drawn.keep[0].flatten(1).sum(1).double()
        whole = drawn.keep[0][0].numel()
        low, high = torch.quantile(kept, torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
        wider = 100 * float(drawn.keep[1].double().mean())
        lines.append(
            f"| {drawn.name} | {whole} | {float(kept.mean()):.0f} | {low:.0f} to {high:.0f} | "
            f"{100 * float(kept.mean()) / whole:.1f} % | {wider:.1f} % |"
        )
    return [*lines, ""]


def flop_lines(drawn: Drawn) -> list[str]:
    """The table of FLOPs with an 8 B MLLM."""
    whole = large_flops(drawn.keep[0].shape[1], Large())
    lines = [
        "## FLOPs of one clip with an 8 B MLLM (InternViT-300M, 7 B language model, 12 frames of 448 px)", "",
        "| | vision TFLOP | language model TFLOP | training step TFLOP |", "|---|---|---|---|",
        f"| all blocks | {whole['vision'] / 1e12:.2f} | {whole['llm'] / 1e12:.1f} | {whole['step'] / 1e12:.0f} |",
    ]  # fmt: skip
    for name, padded in (("kept blocks", False), ("kept blocks, images of a clip padded to the largest", True)):
        flops = sparse_flops(drawn.keep[0], Large(), padded)
        cells = [
            f"{flops[part] / 1e12:.{digits}f} ({whole[part] / flops[part]:.1f} x less)"
            for part, digits in (("vision", 2), ("llm", 1), ("step", 0))
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def tiny_lines(shards: ShardSet, cfg: RendererConfig) -> list[str]:
    """Training steps of the tiny models, with and without, in turns."""
    keys = [k for i, k in enumerate(shards.keys) if i % (len(shards.keys) // 8) == 0][:8]
    clips = [clip_input(shards.clip(key), cfg, None, None) for key in keys]
    labels = ("wave", "clap", "kick", "squat", "throw")
    lines = [
        "## Time of a training step of the tiny models", "",
        f"Renderer, encoder and language model, forward + backward, 8 clips x {cfg.frames} frames of {cfg.image_size} "
        f"px, patches of {PATCH}: CPU seconds on one thread, medians of five, both arms in turns.", "",
        "| family | all blocks s | kept blocks s | times faster |", "|---|---|---|---|",
    ]  # fmt: skip
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            tiny = TinyMLLMConfig(patch=PATCH)
            write_tiny_checkpoint(folder, family, tiny, prompt_corpus(labels), cfg.image_size, seed=0)
            renderer = DrAction(cfg)
            arms = [SkeletonLLM(renderer, HFMultimodal.from_checkpoint(folder, c)) for c in (TINY_PLAIN, TINY_SPARSE)]
        text = arms[0].mllm.tokenize([mqa_prompt(labels)] * 8, [labels[0]] * 8, cfg.frames, cfg.image_size)
        taken: list[list[float]] = [[], []]
        for _ in range(6):
            for arm, times in zip(arms, taken, strict=True):
                times.append(clocked(lambda arm=arm, text=text: arm(clips, text).loss.backward())["cpu"])
        plain, sparse = (statistics.median(times[1:]) for times in taken)
        ratio = statistics.median(p / s for p, s in zip(taken[0][1:], taken[1][1:], strict=True))
        lines.append(f"| {family} | {plain:.2f} | {sparse:.2f} | {ratio:.2f} |")
    return [*lines, ""]


@torch.no_grad()
def vision_lines(drawn: Drawn, images: int) -> list[str]:
    """An encoder of InternViT-300M's size, random weights: forward over a few frames of different clips."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    from models.mllm.sparse_vision import accept_masks, encode_internvl

    large = Large()
    vision = {
        "hidden_size": large.vision_width, "num_hidden_layers": large.vision_layers, "num_attention_heads": 16,
        "intermediate_size": 4 * large.vision_width, "image_size": [448, 448], "patch_size": [14, 14],
    }  # fmt: skip
    text = {"model_type": "qwen2", "hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 64}
    whole = InternVLForConditionalGeneration(InternVLConfig(vision_config=vision, text_config=text, image_token_id=1))
    accept_masks(whole)
    frames = drawn.frames[:images, drawn.frames.shape[1] // 2]
    keep = foreground(frames[:, None], 28, THRESHOLD, 0)[:, 0]
    everything = torch.ones_like(keep)
    model = whole.eval().model
    taken = [  # the first two warm up
        clocked(lambda blocks=blocks: encode_internvl(model, frames, blocks, 2))["cpu"]
        for blocks in (keep, everything, keep, everything)
    ]
    sparse, plain = taken[2:]
    counts = keep.flatten(1).sum(1)
    return [
        "## Time of a vision encoder of full size", "",
        f"InternViT-300M's sizes with random weights, float32, one thread, forward over {images} frames of 448 px "
        f"(blocks kept: {', '.join(map(str, counts.tolist()))} of 256): {plain:.1f} s with all blocks, {sparse:.1f} s "
        f"with the kept ones, {plain / sparse:.1f} times faster.", "",
    ]  # fmt: skip


def accuracy_lines(plain: Sequence[Path], sparse: Sequence[Path]) -> list[str]:
    """Accuracy of both arms on the demo set's unseen subjects."""
    lines = ["## Accuracy on the demo set", ""]
    lines += [
        "| arm | seed | set | accuracy | 95 % interval | chance | clips | training s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm, folder in itertools.chain((("all blocks", p) for p in plain), (("kept blocks", p) for p in sparse)):
        found = json.loads((folder / "evaluate" / "metrics.json").read_text())
        report = json.loads((folder / "report.json").read_text())
        seed, seconds = report["provenance"]["seeds"]["seed"], report["stages"]["train"]["seconds"]
        rows = {"all": found} | dict(found["sets"])
        for name, row in rows.items():
            score = row["accuracy"]
            low, high = score["ci95"]
            lines.append(
                f"| {arm} | {seed} | {name} | {100 * score['value']:.1f} % | {100 * low:.1f}-{100 * high:.1f} | "
                f"{100 * score['chance']:.1f} % | {score['n']} | {seconds:.0f} |"
            )
    return [*lines, ""]


def paired_lines(plain: Path, sparse: Path) -> list[str]:
    """The two first runs clip by clip, with a bootstrap over clips."""
    right: list[dict[str, bool]] = []
    for folder in (plain, sparse):
        rows = [
            row for file in folder.glob("evaluate/rows-*/*.parquet") for row in parquet.read_table(file).to_pylist()
        ]
        right.append({row["key"]: row["label"] == row["prediction"] for row in rows})
    gain = np.array([int(right[1][key]) - int(right[0][key]) for key in sorted(right[0])])
    draws = np.random.default_rng(0).integers(0, len(gain), (5000, len(gain)))
    low, high = np.percentile(gain[draws].mean(1), [2.5, 97.5])
    return [
        f"First run of each arm, clip by clip: kept blocks are right on {(gain > 0).sum()} that the other misses and "
        f"miss {(gain < 0).sum()} that it has: {100 * gain.mean():+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}, "
        f"bootstrap over {len(gain)} clips; what another seed would change is not in it).", "",
    ]  # fmt: skip


def report(plain: Sequence[Path], sparse: Sequence[Path]) -> str:
    """Run everything."""
    shards = ShardSet.open(str(plain[0] / "shards"))
    trained = load_renderer(RenderOptions(weights=str(plain[0] / "train" / "4-refine" / "export")))
    torch.manual_seed(0)
    published = DrAction(RendererConfig()).eval()
    small = draw(f"the preset: 8 of 96 px, blocks of {2 * PATCH} px", trained, 2 * PATCH, shards)
    full = draw("12 of 448 px, blocks of 28 px (InternVL, Qwen2.5-VL)", published, 28, shards)
    qwen3 = draw("12 of 448 px, blocks of 32 px (Qwen3-VL)", published, 32, shards)
    lines = [
        "# Foreground patch sparsification", "",
        f"`python benchmarks/sparsify.py`, {datetime.date.today()}: CPU, one thread, torch {torch.__version__}. A "
        "block is what one visual token covers (2 x 2 patches); it is kept if any channel of any pixel is above "
        f"1/255. {small.keep[0].shape[0]} clips of the demo set, all three formats.", "",
    ]  # fmt: skip
    lines += [*token_lines((full, qwen3, small)), *flop_lines(full), *vision_lines(full, 2)]
    lines += [*tiny_lines(shards, trained.cfg), *accuracy_lines(plain, sparse), *paired_lines(plain[0], sparse[0])]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plain", type=Path, nargs="+", required=True, help="runs that encode all blocks")
    parser.add_argument("--sparse", type=Path, nargs="+", required=True, help="runs that drop blocks")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = report(arguments.plain, arguments.sparse)
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
