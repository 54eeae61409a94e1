"""The sizing table of docs/deploy.md: memory of a rank for 2 B, 8 B and 32 B models, by the functions of `skel plan`.

    python benchmarks/sizing.py

12 frames of 448 x 448 (Qwen3-VL: 480, its patches are 16 pixels), bf16, gradient checkpointing, two clips per pass, 8
workers, questions with 60 labels. "adapters": the paper's stage 3 (renderer, projector, LoRA of rank 32). "all":
renderer, projector and the whole language model.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.config import LoraConfig, MLLMConfig, RendererConfig
from models.mllm.sizes import describe
from pipelines.config.stages import StageConfig
from pipelines.config.train import TrainConfig
from pipelines.config.tree import FullConfig
from pipelines.planning.memory import memory_per_rank
from pipelines.planning.work import Data, stage_work

MODELS = (
    "Qwen3-VL-2B",
    "InternVL3-2B",
    "Qwen2.5-VL-7B",
    "InternVL3-8B",
    "Qwen3-VL-8B",
    "Qwen2.5-VL-32B",
    "Qwen3-VL-32B",
)
ADAPTERS = ("renderer", "projector", "lora")
ALL = ("renderer", "projector", "llm")
COLUMNS = (
    ("adapters, ZeRO 1", ADAPTERS, 1, False),
    ("adapters, ZeRO 3", ADAPTERS, 3, False),
    ("all, ZeRO 2", ALL, 2, False),
    ("all, ZeRO 3", ALL, 3, False),
    ("all, ZeRO 3, offload", ALL, 3, True),
)
LABELS = [f"drink water {k}" for k in range(60)]


def cell(name: str, trains: tuple[str, ...], zero: int, offload: bool) -> tuple[float, float]:
    """(GB on the device, GB on the host) of one rank."""
    stage = StageConfig(name="1", tasks={"mqa": 1.0}, trains=trains, learning_rate=dict.fromkeys(trains, 1e-5))
    mllm = MLLMConfig(path=name, precision="bf16", gradient_checkpointing=True, lora=LoraConfig())
    train = TrainConfig(workers=8, global_batch=16, micro_batch=2, zero_stage=zero, offload=offload, stages=(stage,))
    size = 480 if name.startswith("Qwen3") else 448
    cfg = FullConfig(renderer=RendererConfig(frames=12, image_size=size), mllm=mllm, train=train)
    sizes = describe(name, mllm.lora if "lora" in trains else None)
    work = stage_work(cfg, stage, sizes, Data({"a": 1}, {"a": LABELS}, 0.0, counted=False), None)
    memory = memory_per_rank(sizes, stage, train, mllm, cfg.renderer, work.load)
    return memory.device / 1e9, memory.host / 1e9


def rows(models: Sequence[str]) -> list[str]:
    """The table's lines."""
    lines = ["| model | " + " | ".join(name for name, *_ in COLUMNS) + " |", "| --- " * (len(COLUMNS) + 1) + "|"]
    for model in models:
        cells = [cell(model, trains, zero, offload) for _, trains, zero, offload in COLUMNS]
        shown = [f"{device:.0f}" + (f" (+ {host:.0f} host)" if host else "") for device, host in cells]
        lines.append(f"| {model} | " + " | ".join(shown) + " |")
    return lines


if __name__ == "__main__":
    print("\n".join(rows(MODELS)))
