"""The C++ core is built once, by any number of processes, and is replaced where it cannot be built."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from models.draction.rasterize import native
from models.draction.rasterize.projection import Raster, project
from models.draction.rasterize.tiled import _gather_gradient, _polynomial, core_for, rasterize_tiled
from models.draction.rasterize.tiles import bin_gaussians, list_rows

PRINT_CORE = "import torch; from models.draction.rasterize.tiled import core_for; print(core_for(torch.zeros(1)))"


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A user who has built nothing yet; the core that others use is left as it was."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native._library.cache_clear()
    yield tmp_path
    native._library.cache_clear()


def test_processes_build_at_once(fresh, repo_root):
    def core(_):
        command = [sys.executable, "-c", PRINT_CORE]
        return subprocess.run(command, cwd=repo_root, capture_output=True, text=True, check=True).stdout.strip()

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(core, range(3))) == ["native"] * 3
    assert [path.suffix for path in (fresh / "skeleton-ray").iterdir()] == [".so"]


@pytest.mark.parametrize("compiler", ["/nowhere/c++", "/bin/false"])
def test_without_a_compiler_pytorch_composites(fresh, monkeypatch, compiler):
    monkeypatch.setenv("CXX", compiler)
    assert core_for(torch.zeros(1)) == "torch"
    assert not list((fresh / "skeleton-ray").glob("*.so"))


def test_where_the_cache_cannot_be_written_pytorch_composites(fresh, monkeypatch):
    (fresh / "skeleton-ray").write_text("a file where the folder should be")
    assert core_for(torch.zeros(1)) == "torch"


def test_switched_off(monkeypatch):
    assert core_for(torch.zeros(1)) == "native"
    assert core_for(torch.zeros(1, dtype=torch.float64)) == "torch"
    monkeypatch.setenv("SKELETON_NATIVE", "0")
    assert core_for(torch.zeros(1)) == "torch"


@pytest.mark.parametrize("opacity", [1e-3, 50.0, 1e30])
def test_extreme_opacities(opacity):
    """Next to nothing and a wall: no overflow, image and gradients as PyTorch's."""
    raster = Raster(torch.tensor([40.0]), torch.tensor([12.0]), torch.tensor([9.0]), 20, 24, 0.5)
    means = torch.tensor([[0.0, 0.0, 2.0], [0.1, 0.0, 2.5]])
    results = []
    for core in ("torch", "native"):
        leaves = [means.clone(), torch.tensor([0.1, 0.2]), torch.full((2,), opacity), torch.rand(2, 3) * 0 + 0.5]
        leaves = [x.requires_grad_() for x in leaves]
        image = rasterize_tiled(*leaves, torch.tensor([0, 0]), raster, core)
        results.append([image, *torch.autograd.grad(image.square().sum(), leaves)])
    for ours, expected in zip(results[1], results[0], strict=True):
        assert torch.isfinite(ours).all()
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-3)


def test_lists_and_arithmetic_equal_pytorchs():
    """Four images, one of them empty: Gaussians of all sizes, inside, outside and half outside."""
    rng = torch.Generator().manual_seed(4)
    images = torch.randint(0, 3, (300,), generator=rng)
    raster = Raster(torch.full((4,), 60.0), torch.full((4,), 30.0), torch.full((4,), 20.0), 45, 61, 0.3)
    means = torch.randn(300, 3, generator=rng) * torch.tensor([1.2, 1.2, 0.8]) + torch.tensor([0.0, 0.0, 1.8])
    opacity = torch.rand(300, generator=rng)
    splats = project(means, 0.3 * torch.rand(300, generator=rng) ** 4, images, raster)
    both = [
        bin_gaussians(splats, means[:, 2], opacity, images, raster, lister) for lister in (list_rows, native.list_rows)
    ]
    for name in ("gaussian", "tiles", "start", "count"):
        assert torch.equal(*(getattr(tiles, name) for tiles in both))
    tiles = both[0]
    assert len(tiles.gaussian) > 1000
    assert tiles.place()[0].unique().tolist() == [0, 1, 2]
    shape = torch.cat([splats.conic, opacity.log()[:, None]], dim=1)
    torch.testing.assert_close(native.polynomial(shape, tiles), _polynomial(shape, tiles), atol=1e-4, rtol=1e-5)
    to_rows = torch.randn(len(tiles.gaussian), 9, generator=rng)
    found, expected = native.gather(shape, to_rows, tiles), _gather_gradient(shape, to_rows, tiles)
    for ours, theirs in zip(found, expected, strict=True):
        seen = theirs.abs().amax(1) < 1e4  # far outside, sums of large numbers cancel
        assert seen.sum() > 100
        torch.testing.assert_close(ours[seen], theirs[seen], atol=1e-2, rtol=1e-4)


def test_denormal_numbers_survive_the_library():
    """A library built with all of -ffast-math would flush them to 0 in the whole process."""
    assert native.available()
    assert float(torch.tensor(1e-40) * 0.5) > 0
