"""Every fast core against the reference: image within 1/255 (mean 1e-4), each gradient within 1 % in norm.

Runs itself a second time, for the Triton core: see test_rasterizers_triton.py (interpreter) and tests/gpu (CUDA).
"""

import os

import numpy as np
import pytest
import torch

from models.config import RendererConfig
from models.draction import renderer
from models.draction.camera import fit_camera
from models.draction.frames import velocity
from models.draction.lift import lift_2d
from models.draction.rasterize import native
from models.draction.rasterize.projection import Raster
from models.draction.rasterize.reference import rasterize
from models.draction.rasterize.tiled import rasterize_tiled
from models.draction.renderer import ClipInput, DrAction

CORES = tuple(os.environ.get("RASTER_TEST_CORES", "torch,native").split(","))
DEVICE = os.environ.get("RASTER_TEST_DEVICE", "cpu")
SIZE = 64
NAMES = ("positions", "radii", "opacities", "colours", "pose of the camera", "intrinsics")


def uniform(rng, low, high, *shape):
    return low + (high - low) * torch.rand(*shape, generator=rng)


def cloud(seed, count, spread=1.0, depth=(1.0, 2.5), images=2):
    """Random Gaussians: (G, 3) metres, (G,), (G,), (G, 3), (G,) image."""
    rng = torch.Generator().manual_seed(seed)
    z = uniform(rng, *depth, count)
    xy = uniform(rng, -0.55 * spread, 0.55 * spread, count, 2) * z[:, None].abs()
    return (
        torch.cat([xy, z[:, None]], 1), uniform(rng, 0.005, 0.06, count), uniform(rng, 0.05, 0.95, count),
        torch.rand(count, 3, generator=rng), torch.randint(images, (count,), generator=rng),
    )  # fmt: skip


def dense():
    """300 Gaussians on three spots a few pixels wide."""
    _, radius, opacity, colour, image = cloud(1, 300)
    rng = torch.Generator().manual_seed(7)
    spots = torch.tensor([[0.0, 0.0, 1.5], [0.3, 0.2, 1.2], [-0.4, 0.1, 2.0]])[torch.arange(300) % 3]
    return spots + uniform(rng, -0.03, 0.03, 300, 3), radius, opacity, colour, image


def stacked():
    """700 weak ones exactly behind each other: their cut tails add up. A tile ends just where they are cut."""
    means = torch.tensor([0.1024, 0.0, 0.0]).repeat(700, 1)
    means[:, 2] = torch.linspace(1.0, 1.001, 700)
    rng = torch.Generator().manual_seed(2)
    image = torch.zeros(700, dtype=torch.long)
    return means, torch.full((700,), 0.05), torch.full((700,), 0.02), torch.rand(700, 3, generator=rng), image


def half_outside():
    """Centres on the image's edges and beyond, large radii."""
    means, radius, opacity, colour, image = cloud(3, 60, spread=1.6)
    return means, radius * 3, opacity, colour, image


def behind():
    """Half of them behind the camera, some on the near plane."""
    means, radius, opacity, colour, image = cloud(4, 80, depth=(-2.0, 2.0))
    means[::10, 2] = 0.05
    return means, radius, opacity, colour, image


def coincident():
    """Twelve places, each with ten Gaussians of different colours: input order decides."""
    means, _, opacity, colour, image = cloud(5, 120)
    twelve = torch.arange(120) % 12
    return means[twelve], torch.full((120,), 0.04), opacity, colour, image[twelve]


FLAT = {
    "random": lambda: cloud(0, 120), "crowded": lambda: cloud(6, 900), "dense": dense, "stacked": stacked,
    "half outside": half_outside, "behind": behind, "coincident": coincident,
}  # fmt: skip


def gradients(draw, scene, size=SIZE):
    """Image and the gradients of a random weighting of it, in the order of NAMES."""
    means, radius, opacity, colour, image = (x.to(DEVICE) for x in scene)
    images = int(image.max()) + 1
    camera = [torch.eye(3), torch.zeros(3), torch.full((images,), 0.9 * size), *torch.full((2, images), size / 2)]
    leaves = [x.detach().to(DEVICE).requires_grad_() for x in (means, radius, opacity, colour, *camera)]
    place, s, o, rgb, rotation, shift, focal, cx, cy = leaves
    raster = Raster(focal, cx, cy, size, size + 5, 0.3)  # a width that no tile divides
    drawn = draw(place @ rotation.T + shift, s, o, rgb, image, raster)
    weights = torch.randn(drawn.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    found = [x.flatten() for x in torch.autograd.grad((drawn * weights).sum(), leaves)]
    return drawn.detach(), [*found[:4], torch.cat(found[4:6]), torch.cat(found[6:])]


def assert_parity(core, scene):
    exact, expected = gradients(rasterize, scene)
    fast, found = gradients(lambda *args: rasterize_tiled(*args, core=core), scene)
    assert exact.max() > 0.1, "the scene must show something"
    difference = (fast - exact).abs()
    assert float(difference.max()) < 1 / 255
    assert float(difference.mean()) < 1e-4
    for name, a, b in zip(NAMES, found, expected, strict=True):
        assert float(b.norm()) > 0, name
        assert float((a - b).norm() / b.norm()) < 0.01, name


@pytest.fixture(params=CORES)
def core(request):
    if request.param == "native":
        assert native.available(), "no C++ compiler: the native core cannot be tested"
    return request.param


@pytest.mark.parametrize("name", FLAT)
def test_flat_scenes(core, name):
    assert_parity(core, FLAT[name]())


def captured(clips, cfg, monkeypatch):
    """The flat Gaussians that the renderer hands to its rasteriser."""
    taken = []

    def take(*args):
        taken.append(args)
        return torch.zeros(args[-1].images, 3, cfg.image_size, cfg.image_size)

    monkeypatch.setattr(renderer, "rasterize_tiled", take)
    with torch.no_grad():
        DrAction(cfg)(clips)
    *scene, raster = taken[0]
    # to the intrinsics of `gradients`: the same picture, about
    return [scene[0] * torch.tensor([raster.focal[0] / (0.9 * SIZE)] * 2 + [1.0]), *scene[1:]]


CFG = RendererConfig(frames=2, image_size=SIZE, samples_per_bone=6)


@pytest.mark.parametrize("persons", [1, 2, 3, 4, 5, 6])
def test_persons(core, body, monkeypatch, persons):
    """Up to six persons side by side, overlapping, composited together."""
    one = body.standing(body.topologies["ntu25"], 1.0)
    many = np.concatenate([one + np.float32([0.25 * p, 0, 0.1 * p]) for p in range(persons)], axis=1)
    clip = body.clip(body.topologies["ntu25"], many, CFG)
    assert_parity(core, captured([clip], CFG, monkeypatch))


def zero_length(positions):
    positions[:, :, 5:12] = positions[:, :, 4:5]


def absent(positions):
    positions[0, 1] = np.nan
    positions[1:, 0, :9] = np.nan


@pytest.mark.parametrize("spoil", [zero_length, absent])
def test_degenerate_persons(core, body, monkeypatch, spoil):
    one = body.standing(body.topologies["ntu25"], 1.0)
    two = np.concatenate([one, one + np.float32([0.4, 0, 0])], axis=1)
    spoil(two)
    clip = body.clip(body.topologies["ntu25"], two, CFG)
    assert_parity(core, captured([clip], CFG, monkeypatch))


def test_lifted_2d(core, body, monkeypatch):
    topology = body.topologies["coco17"]
    pixels = torch.from_numpy(body.standing(topology, 1.0)[..., :2] * 200 + 300)
    spec = body.spec(topology)
    world = lift_2d(pixels, spec)
    moved = torch.from_numpy(velocity(world.numpy(), 30.0, CFG.velocity_stride_s))
    clip = ClipInput(spec, world[:2], moved[:2], fit_camera(world, spec, CFG))
    assert_parity(core, captured([clip], CFG, monkeypatch))


def test_gradients_of_the_renderers_weights(core, body, monkeypatch):
    """Through appearance and modulator, end to end: features, head, NFM, depth mix."""
    clip = body.clip(body.topologies["ntu25"], body.standing(body.topologies["ntu25"], 1.0), CFG)
    torch.manual_seed(0)
    model = DrAction(CFG)
    found = []
    for draw in (rasterize, lambda *args: rasterize_tiled(*[x.to(DEVICE) for x in args[:5]], on_device(args[5]), core)):
        monkeypatch.setattr(renderer, "rasterize_tiled", draw)
        image = model([clip])
        weights = torch.randn(image.shape, generator=torch.Generator().manual_seed(1)).to(image.device)
        names, weights_of = zip(*model.named_parameters(), strict=True)
        grads = torch.autograd.grad((image * weights).sum(), weights_of, allow_unused=True)
        found.append({n: g for n, g in zip(names, grads, strict=True) if g is not None})
    exact, fast = found
    assert exact.keys() == fast.keys()
    assert len(exact) > 5
    for name, gradient in exact.items():
        assert float((fast[name] - gradient).norm()) <= 0.01 * float(gradient.norm()), name


def on_device(raster):
    moved = (x.to(DEVICE) for x in (raster.focal, raster.cx, raster.cy))
    return Raster(*moved, raster.height, raster.width, raster.blur_px)
