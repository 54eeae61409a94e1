"""`skel plan`'s memory of a rank against what torch's allocator hands out, for tiny models of the three families.

    python benchmarks/plan_memory.py            # prints the table of benchmarks/results/plan_memory.md

Each case is a stage of two steps on 1 or 2 processes (gloo, CPU, float32, no Ray). Measured: the profiler's record of
every allocation and release from before the model is made; its highest running sum, and the lowest of the second step,
which is what stays from step to step. DeepSpeed's reduce bucket, 2 GB that dwarf a tiny model, is taken off both sides.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LABELS = ("wave", "sit down", "jump", "throw")
ALL = ("renderer", "vision", "projector", "llm")
LORA = ("renderer", "projector", "lora")
CASES: tuple[dict[str, Any], ...] = (
    {"family": "internvl", "zero": 0, "ranks": 1, "trains": ALL},
    {"family": "internvl", "zero": 1, "ranks": 2, "trains": ALL},
    {"family": "internvl", "zero": 2, "ranks": 2, "trains": ALL},
    {"family": "internvl", "zero": 3, "ranks": 2, "trains": ALL},
    {"family": "internvl", "zero": 1, "ranks": 2, "trains": LORA},
    {"family": "internvl", "zero": 0, "ranks": 1, "trains": LORA, "checkpointing": True},
    {"family": "qwen2_5_vl", "zero": 0, "ranks": 1, "trains": ALL},
    {"family": "qwen2_5_vl", "zero": 2, "ranks": 2, "trains": LORA},
    {"family": "qwen3_vl", "zero": 0, "ranks": 1, "trains": ALL},
    {"family": "qwen3_vl", "zero": 0, "ranks": 1, "trains": ("projector", "lora")},
)
CLIPS, FRAMES, IMAGE = 4, 4, 96
LIMIT_S = 600


def _configs(case: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """(stage, train, mllm, renderer) of a case."""
    from models.config import LoraConfig, MLLMConfig, RendererConfig, TinyMLLMConfig
    from pipelines.config.stages import StageConfig
    from pipelines.config.train import TrainConfig

    rates = dict.fromkeys(case["trains"], 1e-4)
    stage = StageConfig(name="1", tasks={"mqa": 1.0}, trains=tuple(case["trains"]), learning_rate=rates)
    ranks = case["ranks"]
    train = TrainConfig(global_batch=CLIPS * ranks, micro_batch=CLIPS, workers=ranks, zero_stage=case["zero"])
    tiny = TinyMLLMConfig(vision_width=192, vision_layers=4, llm_width=256, llm_layers=4, heads=4, patch=8, vocab=1024)
    mllm = MLLMConfig(
        family=case["family"],
        tiny=tiny,
        gradient_checkpointing=case.get("checkpointing", False),
        lora=LoraConfig(rank=8),
    )
    return stage, train, mllm, RendererConfig(frames=FRAMES, image_size=IMAGE)


def planned(case: dict[str, Any], folder: str, tokens: int, answers: float) -> tuple[float, float]:
    """(peak, states) in bytes as `skel plan` has them, without the reduce bucket."""
    from models.mllm.sizes import describe
    from pipelines.planning.memory import Load, memory_per_rank

    stage, train, mllm, renderer = _configs(case)
    sizes = describe(folder, mllm.lora if "lora" in case["trains"] else None)
    load = Load(CLIPS, tokens, sizes.visual_tokens(FRAMES, IMAGE), answers, FRAMES)
    memory = memory_per_rank(sizes, stage, train, mllm, renderer, load)
    return memory.device - memory.buckets, memory.lasting


def running_sums(trace: Path) -> list[int]:
    """Bytes held after each allocation and release of a profiler's trace."""
    events = [e for e in json.loads(trace.read_text())["traceEvents"] if e.get("name") == "[memory]"]
    held, sums = 0, []
    for event in sorted(events, key=lambda e: e["ts"]):
        held += event["args"]["Bytes"]
        sums.append(held)
    return sums


def work(case: dict[str, Any], folder: str, rank: int, meeting: str, trace: str) -> dict[str, Any]:
    """One rank of a case, two steps: tokens and answer tokens of a row, peak and what stays, in bytes."""
    import os

    import torch
    import torch.distributed as dist

    from models.draction.camera import fit_camera
    from models.draction.registry import make_renderer
    from models.draction.renderer import ClipInput
    from models.mllm.hf import HFMultimodal
    from models.prompts import mqa_prompt
    from models.skeleton_llm import SkeletonLLM
    from models.trainable import set_trainable
    from pipelines.data.renderer_input import skeleton_spec
    from pipelines.training.engines.plain import PlainEngine
    from pipelines.training.engines.zero import ZeroEngine, load_deepspeed
    from skeleton_io.record.topologies import TOPOLOGIES

    torch.set_num_threads(1)
    load_deepspeed()
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(case["ranks"])}
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=case["ranks"])
    stage, train, mllm, drawn = _configs(case)
    spec = skeleton_spec(TOPOLOGIES["ntu25"])
    positions = torch.randn(CLIPS, FRAMES, 1, 25, 3) * 0.3
    clips = [ClipInput(spec, p, torch.zeros_like(p), fit_camera(p, spec, drawn)) for p in positions]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        model = SkeletonLLM(make_renderer(drawn), HFMultimodal.from_checkpoint(folder, mllm))
        if "lora" in case["trains"]:
            model.mllm.add_lora(mllm.lora)
        set_trainable(model, case["trains"])
        model.train()
        engine: Any = (ZeroEngine if case["zero"] else PlainEngine)(model, stage, train, "fp32", case["ranks"])
        text = model.mllm.tokenize([mqa_prompt(LABELS)] * CLIPS, list(LABELS), FRAMES, IMAGE)
        for _ in range(2):
            engine.backward(engine.forward(clips, text).loss)
            engine.step(1.0)
    profiler.export_chrome_trace(trace)
    sums = running_sums(Path(trace))
    bucket = 4 * 500_000_000 if case["zero"] else 0
    sums_without = [s - bucket if s >= bucket else s for s in sums]  # below stage 3 it comes with the backward pass
    answers = float((text.labels != -100).sum()) / CLIPS if text.labels is not None else 0.0
    return {
        "tokens": text.input_ids.shape[1],
        "answers": answers,
        "peak": max(sums_without),
        "stays": min(sums_without[-len(sums) // 3 :]),
    }


def measured(case: dict[str, Any], folder: str) -> list[dict[str, Any]]:
    """Every rank's numbers of a case."""
    with tempfile.TemporaryDirectory() as place:
        base = [sys.executable, str(Path(__file__).resolve()), "--case", json.dumps(case), "--folder", folder]
        ranks = [
            subprocess.Popen(
                [*base, "--rank", str(r), "--meeting", f"{place}/meeting", "--trace", f"{place}/{r}.json"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for r in range(case["ranks"])
        ]
        try:
            told = [process.communicate(timeout=LIMIT_S) for process in ranks]
        finally:
            for process in ranks:
                process.kill()  # where one of them failed, the other waits for it
    if failed := [err for process, (_, err) in zip(ranks, told, strict=True) if process.returncode]:
        raise RuntimeError(failed[0][-2000:])
    return [json.loads(out.splitlines()[-1]) for out, _ in told]


def write_checkpoint(case: dict[str, Any], folder: str) -> None:
    """The tiny checkpoint of a case."""
    from models.mllm.tiny import write_tiny_checkpoint
    from models.prompts import prompt_corpus

    tiny = _configs(case)[2].tiny
    write_tiny_checkpoint(folder, case["family"], tiny, prompt_corpus(LABELS), IMAGE, seed=0)


def compare(case: dict[str, Any]) -> dict[str, float]:
    """Peak and lasting bytes of a case, measured (the larger of the ranks) and planned."""
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(case, folder)
        found = measured(case, folder)
        peak, states = planned(case, folder, found[0]["tokens"], found[0]["answers"])
    return {
        "peak": max(one["peak"] for one in found),
        "planned_peak": peak,
        "stays": max(one["stays"] for one in found),
        "planned_states": states,
    }


def main() -> None:
    """All cases as a Markdown table, or one rank of one (`--case`)."""
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--case", "--folder", "--meeting", "--trace"):
        parser.add_argument(name, default="", help=argparse.SUPPRESS)
    parser.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(work(json.loads(args.case), args.folder, args.rank, args.meeting, args.trace)), flush=True)
        return
    head = ("family", "ZeRO", "ranks", "trains", "checkpointing", "peak MB", "planned", "ratio")
    print("| " + " | ".join((*head, "lasting MB", "planned", "ratio")) + " |")
    print("| --- " * 11 + "|")
    for case in CASES:
        row = compare(case)
        p, q, s, t = (row[name] / 1e6 for name in ("peak", "planned_peak", "stays", "planned_states"))
        what = [case["family"], case["zero"], case["ranks"], ", ".join(case["trains"])]
        what.append("yes" if "checkpointing" in case else "no")
        numbers = f"{p:.1f} | {q:.1f} | {q / p:.2f} | {s:.1f} | {t:.1f} | {t / s:.2f}"
        print("| " + " | ".join(map(str, what)) + f" | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
