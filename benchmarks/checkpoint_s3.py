"""Checkpoints of a made-up state, one after the other: what a failing store or a kill leaves, and what saving costs.

    python -m benchmarks.checkpoint_s3 --root s3://bucket/stage --steps 12 [--numbers 1000000] [--step-ms 50]

Goes on from the newest complete checkpoint, as a stage does. Prints one JSON line: which steps were written, which
failed, the seconds that `save` held the training up, and the seconds of everything. The state of a step is a function
of the step, so that whoever reads it back can tell whether it is whole.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import cast

import torch

from pipelines.trainer.checkpoints import Checkpoints
from pipelines.trainer.context import LocalContext
from pipelines.trainer.engine import Engine, Piece

SHARED = 1000
"""Numbers of the part that all ranks hold."""


class State:
    """Two parameters and their moments, all equal to a function of the step.

    Args:
        numbers: in the larger one.
        step: what they are filled with.
    """

    def __init__(self, numbers: int, step: int) -> None:
        sizes = {"renderer.small": SHARED, "mllm.large": numbers}
        self.held = [
            Piece(name, 0, *(torch.empty(size) for _ in range(3)), shared=name.startswith("renderer"))
            for name, size in sizes.items()
        ]
        self.fill(step)

    def fill(self, step: int) -> None:
        """The state after a step."""
        for piece in self.held:
            for offset, tensor in enumerate((piece.weight, piece.mean, piece.square)):
                torch.arange(len(tensor), out=tensor).mul_(1e-3).add_(3 * step + offset)

    def pieces(self) -> list[Piece]:
        """See Engine."""
        return self.held

    def resume_at(self, steps: int) -> None:
        """See Engine."""


def main() -> None:
    """Writes checkpoints until the last step."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--numbers", type=int, default=1_000_000)
    parser.add_argument("--step-ms", type=float, default=0.0)
    asked = parser.parse_args()
    checkpoints, state = Checkpoints(asked.root, LocalContext(torch.device("cpu")), 3, 0), State(asked.numbers, 0)
    engine = cast(Engine, state)  # what checkpoints use of one
    first = checkpoints.restore(engine)
    written, failed, held, start = [], [], 0.0, time.perf_counter()
    for step in range(first + 1, asked.steps + 1):
        time.sleep(asked.step_ms / 1000)
        state.fill(step)
        before = checkpoints.failed
        begin = time.perf_counter()
        checkpoints.save(engine, step, {})
        held += time.perf_counter() - begin
        if not asked.step_ms:
            checkpoints.wait()
        (failed if checkpoints.failed > before else written).append(step)
    checkpoints.wait()
    seconds = time.perf_counter() - start
    print(json.dumps({"first": first, "written": written, "failed": failed, "held_s": held, "seconds": seconds}))


if __name__ == "__main__":
    main()
