"""Cost of the closed-set likelihood: 60 candidates against one greedy generation of 16 tokens, on the same clip.

    python -m benchmarks.closed_set                     tiny models of three families -> results/closed_set.md
    python -m benchmarks.closed_set --checkpoint RUN    a trained model too

Both read the same frames and the same question (the 60 NTU-60 labels as choices). Rounds of the two alternate; CPU time
of this process, medians. The naive way, one full forward pass per candidate, is measured once and compared: largest
difference of a candidate's mean log-probability per token. The greedy answer is not cut short: the end-of-turn token is
forbidden, so that it always has 16 tokens.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from models.config import MLLMConfig, TinyMLLMConfig
from models.mllm import decode
from models.mllm.base import CandidateScores
from models.mllm.hf import HFMultimodal
from models.mllm.tiny import write_tiny_checkpoint
from models.prompts import mqa_prompt, prompt_corpus
from skeleton_io.sources.depth.ntu_labels import NTU_LABELS

LABELS = NTU_LABELS[:60]
FRAMES, IMAGE, TOKENS = 8, 96, 16
OUT = Path(__file__).resolve().parent / "results" / "closed_set.md"


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU time, medians over rounds, and the largest difference from the naive scores.

    difference: of mean log-probabilities per token. summed: of those of whole answers.
    spread: per-round ratios, sorted.
    """

    name: str
    prompt_tokens: int
    candidate_tokens: int
    likelihood: float
    generation: float
    naive: float
    difference: float
    summed: float
    spread: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Median of likelihood / generation over the rounds."""
        return statistics.median(self.spread)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def generate(model: HFMultimodal, frames: torch.Tensor, prompt: str) -> list[list[int]]:
    """Greedy ids of exactly `TOKENS` tokens."""
    text = model.tokenize([prompt], None, frames.shape[1], frames.shape[-1])
    eos = model.encoder.eos_id
    model.encoder.eos_id = -1  # no token has this id, so no answer ends early
    try:
        with torch.no_grad(), decode.evaluating(model):
            return decode.greedy(model, frames, text, TOKENS)
    finally:
        model.encoder.eos_id = eos


def naive(model: HFMultimodal, frames: torch.Tensor, prompt: str) -> torch.Tensor:
    """(60,) log-probability of each whole answer, a full forward pass for each candidate."""
    found = []
    with torch.no_grad():
        for label in LABELS:
            text = model.tokenize([prompt], [label], frames.shape[1], frames.shape[-1])
            found.append(-model(frames, text).token_loss.sum())
    return torch.stack(found)


def measure(name: str, model: HFMultimodal, frames: torch.Tensor, rounds: int) -> Cost:
    """One model on one clip; frames (1, F, 3, H, W)."""
    prompt = mqa_prompt(LABELS)
    model.eval()

    def likelihood() -> CandidateScores:
        return model.score_candidates(frames, [prompt], [LABELS])[0]

    scores = likelihood()
    assert len(generate(model, frames, prompt)[0]) == TOKENS
    pairs = [(cpu_seconds(likelihood), cpu_seconds(lambda: generate(model, frames, prompt))) for _ in range(rounds)]
    start = time.process_time()
    expected = naive(model, frames, prompt)
    slow = time.process_time() - start
    text = model.tokenize([prompt], None, frames.shape[1], frames.shape[-1])
    return Cost(
        name=name,
        prompt_tokens=text.input_ids.shape[1],
        candidate_tokens=sum(len(model.encoder.answer_ids(label)) for label in LABELS),
        likelihood=statistics.median(a for a, _ in pairs),
        generation=statistics.median(b for _, b in pairs),
        naive=slow,
        difference=float(((scores.log_prob - expected) / scores.tokens).abs().max()),
        summed=float((scores.log_prob - expected).abs().max()),
        spread=tuple(sorted(a / b for a, b in pairs)),
    )


def tiny(family: str) -> HFMultimodal:
    """The untrained tiny model of a family, with a vocabulary of the labels; answers are spread out."""
    with tempfile.TemporaryDirectory() as folder:
        write_tiny_checkpoint(folder, family, TinyMLLMConfig(), prompt_corpus(LABELS), IMAGE, seed=0)
        model = HFMultimodal.from_checkpoint(folder, MLLMConfig())
    with torch.no_grad():
        model.model.lm_head.weight.mul_(5)
    return model


def clip(size: int, frames: int) -> torch.Tensor:
    """(1, F, 3, size, size): noise, the same each time. What is drawn does not change the cost."""
    return torch.rand(1, frames, 3, size, size, generator=torch.Generator().manual_seed(0))


def page(costs: list[Cost]) -> str:
    """The results as Markdown."""
    lines = [
        "# Closed-set likelihood",
        "",
        "`python -m benchmarks.closed_set`: the log-probability of 60 candidates (NTU-60's labels) against one greedy",
        f"generation of {TOKENS} tokens, same frames (8 of 96 px), same question, float32, one thread. CPU seconds,",
        "medians of rounds that alternate; ratio: median over the rounds (least to most). Naive: one forward pass over",
        "images, question and answer for each candidate. Difference from it: largest over candidates, nats per token",
        "(and of the whole answer).",
        "",
        "| model | question tokens | candidates' tokens | likelihood s | generation s | ratio | naive s | difference |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for c in costs:
        lines.append(
            f"| {c.name} | {c.prompt_tokens} | {c.candidate_tokens} | {c.likelihood:.3f} | {c.generation:.3f} | "
            f"{c.ratio:.2f} ({c.spread[0]:.2f} to {c.spread[-1]:.2f}) | {c.naive:.2f} | "
            f"{c.difference:.1e} ({c.summed:.1e}) |"
        )
    worst = max(c.ratio for c in costs)
    lines += [
        "",
        f"Worst ratio {worst:.2f}; the bound is 2. All candidates follow the question in one row of tree attention, so",
        "they cost one pass over their tokens; images and question are read once by both.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measures and writes the page; 1 where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="", help="export of a trained model, measured beside the tiny ones")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", default=str(OUT))
    args = parser.parse_args()
    torch.set_num_threads(1)
    costs = []
    families: tuple[str, ...] = ("internvl", "qwen2_5_vl", "qwen3_vl")
    for family in families:
        costs.append(measure(f"tiny {family}", tiny(family), clip(IMAGE, FRAMES), args.rounds))
        print(costs[-1], flush=True)
    if args.checkpoint:
        from pipelines.exports.find import find_export
        from pipelines.exports.store import load_model

        model, cfg, _ = load_model(find_export(args.checkpoint))
        frames = clip(cfg.renderer.image_size, cfg.renderer.frames)
        costs.append(measure("trained tiny internvl", model.mllm, frames, args.rounds))
        print(costs[-1], flush=True)
    Path(args.out).write_text(page(costs))
    return int(any(c.ratio >= 2 or c.difference > 1e-5 for c in costs))


if __name__ == "__main__":
    sys.exit(main())
