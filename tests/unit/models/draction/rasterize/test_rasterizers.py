"""The tiled rasteriser against the exact one, and both against the differences they should have."""

import math

import pytest
import torch

from models.draction.rasterize.projection import Raster, project
from models.draction.rasterize.reference import rasterize
from models.draction.rasterize.tiled import _Composite, rasterize_tiled
from models.draction.rasterize.tiles import CUT, ERROR, bin_gaussians, cut_of


def raster_of(images, height, width, dtype=torch.float32, blur=0.3):
    focal = torch.linspace(0.9, 1.1, images, dtype=dtype) * width
    return Raster(
        focal, torch.full((images,), width / 2.0, dtype=dtype), torch.full_like(focal, height / 2), height, width, blur
    )


def scene(seed, images, gaussians, height, width, dtype=torch.float32, blur=0.3):
    """Random spheres, a few of them outside the image; opacities well above the tiled rasteriser's cut."""
    rng = torch.Generator().manual_seed(seed)
    count = images * gaussians
    means = (torch.rand(count, 3, generator=rng, dtype=dtype) - 0.5) * torch.tensor([1.8, 1.8, 1.0], dtype=dtype)
    means[:, 2] += 1.5
    radius = 0.01 + 0.06 * torch.rand(count, generator=rng, dtype=dtype)
    opacity = 0.05 + 0.9 * torch.rand(count, generator=rng, dtype=dtype)
    colour = torch.rand(count, 3, generator=rng, dtype=dtype)
    index = torch.randint(images, (count,), generator=rng)
    return (means, radius, opacity, colour), index, raster_of(images, height, width, dtype, blur)


def image_and_gradients(draw, inputs, index, raster):
    leaves = [x.clone().requires_grad_() for x in inputs]
    image = draw(*leaves, index, raster)
    cotangent = torch.randn(image.shape, generator=torch.Generator().manual_seed(1)).to(image.dtype)
    return image.detach(), torch.autograd.grad((image * cotangent).sum(), leaves)


@pytest.mark.parametrize(("images", "gaussians", "height", "width"), [(1, 5, 8, 8), (3, 40, 50, 33), (2, 300, 64, 96)])
def test_tiled_equals_reference(images, gaussians, height, width):
    inputs, index, raster = scene(gaussians, images, gaussians, height, width)
    exact, exact_gradients = image_and_gradients(rasterize, inputs, index, raster)
    fast, fast_gradients = image_and_gradients(rasterize_tiled, inputs, index, raster)
    assert exact.shape == (images, 3, height, width)
    assert exact.max() > 0.05
    torch.testing.assert_close(fast, exact, atol=1e-3, rtol=0)
    for name, a, b in zip(("means", "radius", "opacity", "colour"), fast_gradients, exact_gradients, strict=True):
        scale = float(b.abs().max())
        assert scale > 0, name
        assert float((a - b).abs().max()) < 5e-3 * scale, name


def test_one_gaussian_is_its_closed_form():
    """On the axis: alpha = 1 - exp(-o exp(-r^2 / 2 sigma^2)) with sigma^2 = (f s / z)^2 + blur^2 + 1e-5."""
    raster = Raster(torch.tensor([40.0]), torch.tensor([12.0]), torch.tensor([9.0]), 20, 24, 0.5)
    arguments = (
        torch.tensor([[0.0, 0.0, 2.0]]), torch.tensor([0.1]), torch.tensor([0.8]), torch.tensor([[1.0, 0.5, 0.25]]),
        torch.tensor([0]), raster,
    )  # fmt: skip
    v, u = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), indexing="ij")
    squared = (u - 12) ** 2 + (v - 9) ** 2
    alpha = 1 - torch.exp(-0.8 * torch.exp(-0.5 * squared / (2.0**2 + 0.5**2 + 1e-5)))
    expected = alpha * torch.tensor([1.0, 0.5, 0.25])[:, None, None]
    torch.testing.assert_close(rasterize(*arguments)[0], expected)
    torch.testing.assert_close(rasterize_tiled(*arguments)[0], expected, atol=2e-4, rtol=0)


def test_projected_covariance_is_the_jacobian_of_the_pinhole():
    """Sigma = J s^2 J^T + (1e-5 + blur^2) I, with J from automatic differentiation of the projection."""
    mean, radius = torch.tensor([0.4, -0.3, 1.7], dtype=torch.float64), 0.08
    raster = raster_of(1, 48, 64, torch.float64, blur=0.5)

    def pinhole(x):
        return torch.stack([raster.focal[0] * x[0] / x[2] + 32, 24 - raster.focal[0] * x[1] / x[2]])

    jacobian = torch.autograd.functional.jacobian(pinhole, mean)
    sigma = radius**2 * jacobian @ jacobian.T + (1e-5 + 0.25) * torch.eye(2)
    splats = project(mean[None], torch.tensor([radius], dtype=torch.float64), torch.tensor([0]), raster)
    u, v, q_uu, q_uv, q_vv = splats.conic[0]
    torch.testing.assert_close(torch.stack([u, v]), pinhole(mean))
    torch.testing.assert_close(torch.stack([q_uu, q_uv, q_uv, q_vv]).view(2, 2), torch.linalg.inv(sigma))
    torch.testing.assert_close(splats.spread[0].square(), sigma.diagonal())


@pytest.mark.parametrize("draw", [rasterize, rasterize_tiled])
def test_front_hides_back_across_the_list(draw):
    """Depth decides, not the order of the input; images do not mix."""
    raster = raster_of(2, 16, 16)
    near, far = [0.0, 0.0, 1.0], [0.0, 0.0, 2.0]
    means = torch.tensor([far, near, far])
    red, green, blue = torch.eye(3)
    image = draw(
        means, torch.tensor([0.2, 0.1, 0.2]), torch.full((3,), 50.0), torch.stack([red, green, blue]),
        torch.tensor([0, 0, 1]), raster,
    )  # fmt: skip
    torch.testing.assert_close(image[0, :, 8, 8], green, atol=1e-4, rtol=0)
    torch.testing.assert_close(image[1, :, 8, 8], blue, atol=1e-4, rtol=0)


@pytest.mark.parametrize("blur", [0.0, 0.3])
def test_gradcheck_of_projection_and_covariance(blur):
    """Centres and inverse covariances by position, radius, focal length and principal point."""
    (means, radius, _, _), index, raster = scene(4, 2, 6, 20, 30, torch.float64, blur)
    leaves = [x.requires_grad_() for x in (means, radius, raster.focal, raster.cx, raster.cy)]

    def conic(means, radius, focal, cx, cy):
        return project(means, radius, index, Raster(focal, cx, cy, 20, 30, blur)).conic

    assert torch.autograd.gradcheck(conic, leaves)


def test_gradcheck_of_the_tiles_gradient():
    """The autograd function alone, on its own inputs: centre, conic, log opacity, colour."""
    (means, radius, opacity, colour), index, raster = scene(5, 2, 6, 16, 8, torch.float64)
    splats = project(means * torch.tensor([0.2, 0.2, 1.0]), radius + 0.3, index, raster)
    tiles = bin_gaussians(splats, means[:, 2], opacity, index, raster)
    shape = torch.cat([splats.conic, opacity.log()[:, None]], dim=1)
    leaves = [x.detach().requires_grad_() for x in (shape, colour)]
    assert torch.autograd.gradcheck(lambda *x: _Composite.apply(*x, tiles, "torch"), leaves, atol=1e-6)


@pytest.mark.parametrize("draw", [rasterize, rasterize_tiled])
def test_gradcheck(draw):
    inputs, index, raster = scene(3, 2, 6, 8, 8, torch.float64)
    # Wide and strong, so that the tiled rasteriser's cut lies outside the image and cannot move under a difference.
    means, radius, opacity, colour = inputs
    leaves = [x.requires_grad_() for x in (means * torch.tensor([0.2, 0.2, 1.0]), radius + 0.3, opacity, colour)]
    assert torch.autograd.gradcheck(lambda *x: draw(*x, index, raster), leaves, atol=1e-6)


@pytest.mark.parametrize("draw", [rasterize, rasterize_tiled])
def test_degenerate_scenes_have_finite_gradients(draw):
    """Behind the camera, on its plane, coincident, no radius, no opacity, far outside."""
    means = torch.tensor(
        [[0, 0, -1.0], [0.1, 0, 0.0], [0, 0, 1.0], [0, 0, 1.0], [0, 0, 1.0], [1e6, -1e6, 1.0], [0, 0, 1e-3]]
    )
    radius = torch.tensor([0.02, 0.02, 0.0, 0.02, 0.02, 0.02, 0.02])
    opacity = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.0, 0.5, 0.5])
    inputs = (means, radius, opacity, torch.full((7, 3), 0.5))
    index = torch.zeros(7, dtype=torch.long)
    raster = raster_of(1, 16, 16, blur=0.0)
    image, gradients = image_and_gradients(draw, inputs, index, raster)
    assert torch.isfinite(image).all()
    assert image.max() > 0.1
    for gradient in gradients:
        assert torch.isfinite(gradient).all()
    # what is not before the camera takes no part
    assert float(gradients[3][[0, 1, 6]].abs().max()) == 0


@pytest.mark.parametrize("draw", [rasterize, rasterize_tiled])
def test_nothing_to_draw_is_black_and_differentiable(draw):
    empty = (
        torch.zeros(0, 3),
        torch.zeros(0),
        torch.zeros(0, requires_grad=True),
        torch.zeros(0, 3, requires_grad=True),
    )
    image = draw(*empty, torch.zeros(0, dtype=torch.long), raster_of(2, 9, 11))
    assert image.shape == (2, 3, 9, 11)
    assert not image.any()
    (image.sum() + 0 * empty[3].sum()).backward()


def test_crowded_tile_beyond_the_capacity_table():
    """700 Gaussians on one spot: the list is longer than the largest prepared size."""
    rng = torch.Generator().manual_seed(0)
    means = torch.tensor([0.0, 0.0, 1.0]) + 0.01 * torch.rand(700, 3, generator=rng)
    inputs = (means, torch.full((700,), 0.05), torch.full((700,), 0.02), torch.rand(700, 3, generator=rng))
    index = torch.zeros(700, dtype=torch.long)
    raster = raster_of(1, 24, 24)
    exact, fast = rasterize(*inputs, index, raster), rasterize_tiled(*inputs, index, raster)
    assert math.isclose(float(exact.max()), float(fast.max()), abs_tol=1e-3)
    torch.testing.assert_close(fast, exact, atol=ERROR, rtol=0)


def test_cut_bounds_what_all_of_an_image_lose():
    """The cut times the visible Gaussians of the image is at most ERROR; nobody's image affects another's."""
    inputs, _, raster = scene(8, 2, 300, 16, 16)
    index = torch.tensor([0] * 590 + [1] * 10)
    splats = project(*inputs[:2], index, raster)
    cut = cut_of(splats, index, 2)
    torch.testing.assert_close(cut[0], torch.tensor(ERROR / 590))
    torch.testing.assert_close(cut[-1], torch.tensor(CUT))


def test_memory_of_the_backward_pass_is_not_that_of_the_pairs():
    """What autograd keeps between the passes: inputs and lists, nothing by pixel and Gaussian."""
    inputs, index, raster = scene(9, 2, 300, 64, 64)
    kept = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        rasterize_tiled(*[x.requires_grad_() for x in inputs], index, raster)
    assert max(x.numel() for x in kept) <= 2 * 3 * 64 * 64
