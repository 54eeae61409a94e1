"""Which clips of a step had a loss that is no number: by their place in the step, on whatever rank."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from pipelines.batches.sampler import Draw
from pipelines.trainer.context import LocalContext
from pipelines.training.bad_step import NAMED, BadStep

DRAWS = tuple(Draw(key, 0, "mqa", True) for key in ("a", "b", "c", "a"))
NAN = float("nan")


class Rank(LocalContext):
    """One of two; what it adds is what is summed."""

    def __init__(self, rank: int, flags: list[list[float]]) -> None:
        super().__init__(torch.device("cpu"))
        self.rank, self.world_size, self.flags = rank, 2, flags

    def sum(self, values: Sequence[float]) -> list[float]:
        self.flags.append(list(values))
        return [sum(column) for column in zip(*self.flags, strict=True)]


def test_a_clip_is_bad_where_it_was_seen_bad(tmp_path: Path) -> None:
    flags: list[list[float]] = []
    second, first = (BadStep(4, Rank(rank, flags)) for rank in (1, 0))
    first.add(["a", "b"], [1.0, 2.0])
    second.add(["c", "a"], [NAN, float("inf")])
    uri = str(tmp_path / "nan-step-3.json")
    second.save(uri, {}, DRAWS, "loss")
    assert not Path(uri).exists()  # rank 0 writes
    sentence = first.save(uri, {"step": 2}, DRAWS, "loss")
    content = json.loads(Path(uri).read_text())
    assert content["step"] == 2
    assert content["not_a_number"] == "loss"
    assert [clip["finite"] for clip in content["clips"]] == [True, True, False, False]
    assert sentence == f"its clips (c, a) are listed in {uri}"


def test_all_clips_are_named_where_none_is_bad_by_itself(tmp_path: Path) -> None:
    step = BadStep(4, LocalContext(torch.device("cpu")))
    sentence = step.save(str(tmp_path / "x.json"), {}, DRAWS, "gradient")
    assert f"and {len(DRAWS) - NAMED} more" in sentence
