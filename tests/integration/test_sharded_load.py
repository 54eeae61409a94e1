"""ZeRO-3 on two gloo ranks: weights are split while they are loaded, and training goes as with whole ones."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.config import LoraConfig, MLLMConfig, Precision, TinyMLLMConfig
from models.mllm.hf import HFMultimodal
from models.mllm.lora import merged_state_dict
from models.mllm.tiny import write_tiny_checkpoint
from models.skeleton_llm import SkeletonLLM
from models.trainable import set_trainable
from pipelines.config.stages import StageConfig
from pipelines.config.train import TrainConfig
from pipelines.training.engines.sharded_load import count_held_bytes, partition_on_load

pytestmark = pytest.mark.slow

SMALL = TinyMLLMConfig(vision_width=32, vision_layers=2, llm_width=32, llm_layers=2, heads=2, patch=8, vocab=384)
TRAIN = TrainConfig(zero_stage=3, global_batch=4, micro_batch=2, workers=2)
CASES: tuple[tuple[str, Precision, tuple[str, ...]], ...] = (
    ("internvl", "fp32", ("projector", "llm")),
    ("qwen3_vl", "bf16", ("projector", "lora")),
)


class Gain(nn.Module):
    """Stands in for the renderer: a learned brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return clips * self.gain


def trained(mllm: HFMultimodal, precision: Precision, trains: tuple[Any, ...]) -> tuple[Any, list[float], list[str]]:
    """The engine after three steps, their losses, and the types of what learns."""
    from pipelines.training.engines.zero import ZeroEngine

    if "lora" in trains:
        mllm.add_lora(LoraConfig(rank=4, dropout=0.0), 0)
    model = SkeletonLLM(Gain(), mllm)
    set_trainable(model, trains)
    stage = StageConfig(name="s", tasks={"mqa": 1}, trains=trains, learning_rate=dict.fromkeys(trains, 1e-3))
    engine = ZeroEngine(model.train(), stage, TRAIN, precision, 2)
    frames = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    text = mllm.tokenize(["Which?"] * 2, ["wave", "sit down"], 3, 32)
    found = []
    for _ in range(3):
        loss: Any = engine.forward(frames, text).loss
        engine.backward(loss)
        engine.step(1.0)
        found.append(float(loss.detach()))
    return engine, found, sorted({str(p.ds_tensor.dtype) for _, p in engine.learning})


def exported(engine: Any, mllm: HFMultimodal, rank: int) -> dict[str, Any]:
    """What an export would write, as sums, and whether the weights are as split afterwards as before."""
    held, sums = count_held_bytes(mllm), {}
    with engine.whole_weights():
        if rank == 0:
            sums = {name: float(value.double().abs().sum()) for name, value in merged_state_dict(mllm.model).items()}
    return {"sums": sums, "split again": count_held_bytes(mllm) <= held}


def on_rank(rank: int, port: int, folder: str) -> None:
    """Loads and trains each case twice, split and whole, and writes what was seen."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "DS_ACCELERATOR": "cpu"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    import deepspeed

    from pipelines.training.engines import zero

    zero.AT_A_TIME = 1000  # each module by itself
    seen: list[int] = []
    enter = deepspeed.zero.GatheredParameters.__enter__

    def watched(self: Any) -> None:
        enter(self)
        seen.append(sum(p.data.nbytes for p in getattr(self, "params", ())))

    deepspeed.zero.GatheredParameters.__enter__ = watched
    rows = []
    for family, precision, trains in CASES:
        row: dict[str, Any] = {}
        for name, split in (("whole", False), ("split", True)):
            seen.clear()
            with partition_on_load(TRAIN, precision, split):
                mllm = HFMultimodal.from_checkpoint(f"{folder}/{family}", MLLMConfig(precision=precision))
            row[name] = {"held": count_held_bytes(mllm), "gathered": max(seen, default=0)}
            engine, row[name]["losses"], row[name]["learns"] = trained(mllm, precision, trains)
            seen.clear()
            row[name] |= exported(engine, mllm, rank) | {"gathered for export": max(seen, default=0)}
        rows.append(row)
    Path(folder, f"rank{rank}.json").write_text(json.dumps(rows))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """What each rank saw of each case."""
    folder = tmp_path_factory.mktemp("sharded")
    for family, _, _ in CASES:
        write_tiny_checkpoint(folder / family, family, SMALL, ["wave", "sit down"], 32, 3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(on_rank, args=(port, str(folder)), nprocs=2)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_no_rank_holds_the_whole_model(ranks: list[list[dict[str, Any]]], case: int) -> None:
    whole = ranks[0][case]["whole"]["held"]
    for rows in ranks:
        split = rows[case]["split"]
        assert split["held"] == pytest.approx(whole / 2, rel=0.01)
        # At most one module's own weights are whole at a time: here the token table.
        assert 0 < split["gathered"] < 0.3 * whole


@pytest.mark.parametrize("case", range(len(CASES)))
def test_training_goes_as_with_whole_weights(ranks: list[list[dict[str, Any]]], case: int) -> None:
    for rows in ranks:
        assert rows[case]["split"]["learns"] == rows[case]["whole"]["learns"] == ["torch.float32"]
        assert rows[case]["split"]["losses"] == pytest.approx(rows[case]["whole"]["losses"], abs=2e-6)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_an_export_gathers_part_after_part(ranks: list[list[dict[str, Any]]], case: int) -> None:
    whole, first = ranks[0][case]["whole"], ranks[0][case]["split"]
    assert first["sums"] == pytest.approx(whole["sums"], rel=1e-4)
    assert all(total > 0 for name, total in first["sums"].items() if name.endswith("proj.weight"))
    for rows in ranks:
        assert rows[case]["split"]["split again"]
        assert 0 < rows[case]["split"]["gathered for export"] < 0.5 * whole["held"]
