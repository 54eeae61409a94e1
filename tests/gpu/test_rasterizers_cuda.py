"""On a GPU: the PyTorch and Triton cores against the reference, on every scene of the parity tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PARITY = Path(__file__).parents[1] / "unit" / "models" / "draction" / "rasterize" / "test_rasterizers_parity.py"


def run_parity(core):
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"RASTER_TEST_DEVICE": "cuda", "RASTER_TEST_CORES": core}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(PARITY)],
        env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


def test_torch_core_on_cuda(cuda):
    run_parity("torch")


def test_triton_core_on_cuda(cuda, triton):
    run_parity("triton")


@pytest.mark.parametrize("core", [None, "torch", "triton"])
def test_cores_agree_and_repeat_on_a_whole_clip(cuda, triton, core):
    """12 frames of 448 px: same image as the CPU's, and the same bits twice."""
    import torch

    from models.draction.rasterize.projection import Raster
    from models.draction.rasterize.tiled import core_for, rasterize_tiled

    rng = torch.Generator().manual_seed(0)
    count = 12 * 265
    means = torch.rand(count, 3, generator=rng) * torch.tensor([1.2, 1.2, 0.5]) + torch.tensor([-0.6, -0.6, 2.2])
    scene = [means, torch.full((count,), 0.02), torch.rand(count, generator=rng), torch.rand(count, 3, generator=rng)]
    image = torch.arange(count) % 12
    intrinsics = torch.full((3, 12), 224.0)
    intrinsics[0] = 388.0
    expected = rasterize_tiled(*scene, image, Raster(*intrinsics.unbind(), 448, 448, 0.3), "torch")
    moved = [x.to(cuda) for x in (*scene, image)]
    raster = Raster(*intrinsics.to(cuda).unbind(), 448, 448, 0.3)
    drawn = [rasterize_tiled(*moved, raster, core) for _ in range(2)]
    assert core_for(moved[0]) == "triton"
    assert torch.equal(*drawn)
    torch.testing.assert_close(drawn[0].cpu(), expected, atol=1e-4, rtol=0)
