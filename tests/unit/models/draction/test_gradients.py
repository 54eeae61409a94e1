"""float64 gradcheck of each piece before the rasterisers, and of whole renderers: four joints, 8 x 8 pixels.

The rasterisers' own are in test_rasterizers.py.
"""

import dataclasses

import pytest
import torch
from torch.autograd import gradcheck

from models.config import RendererConfig
from models.draction.appearance import Appearance, FactorAppearance, TableAppearance
from models.draction.body import ClipInput, depth_colour, place_body
from models.draction.camera import Camera, LearnedView, focal_length
from models.draction.lift import lift_2d, metric_scale
from models.draction.modulator import Memory, Modulator, modulated
from models.draction.registry import make_renderer
from models.draction.template import SkeletonSpec, template_of

SPEC = SkeletonSpec(
    "four",
    ("pelvis", "left_shoulder", "left_elbow", "right_hip"),
    ((0, 1), (1, 2), (0, 3)),
    ("centre", "left", "left", "right"),
    ("torso", "arm", "arm", "leg"),
    (0.0, 0.1, 0.5, 0.0),
)
CFG = RendererConfig(
    frames=2, image_size=8, samples_per_bone=1, rasterizer="reference", joint_radius=0.2, bone_radius=0.15
)
PLACES = torch.tensor([[0.0, 0.0, 2.0], [0.1, 0.5, 2.2], [0.4, 0.3, 1.9], [-0.15, -0.4, 2.1]], dtype=torch.float64)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clip_of(positions, moved, rotation, shift, focal=None, planar=False):
    """Two moments, one person; the camera's tensors are leaves of the graph."""
    size = CFG.image_size
    focal = focal_length(CFG) if focal is None else focal
    camera = Camera(rotation, shift, focal, size / 2, size / 2, shift.new_tensor([0.0, 0.0, 2.0]), planar)
    return ClipInput(SPEC, positions, moved, camera)


def leaves():
    positions = (PLACES + 0.02 * randn(2, 1, 4, 3)).requires_grad_()
    moved = (0.2 * randn(2, 1, 4, 3, seed=1)).requires_grad_()
    # not a rotation: each entry is a variable of its own
    rotation = (torch.eye(3, dtype=torch.float64) + 0.05 * randn(3, 3, seed=2)).requires_grad_()
    shift = (0.05 * randn(3, seed=3)).requires_grad_()
    return positions, moved, rotation, shift


def test_body():
    """Skinning and placement by joints, velocity and the camera's pose."""
    template = template_of(SPEC, 2, torch.device("cpu")).to(torch.float64)

    def placed(*tensors):
        body = place_body([clip_of(*tensors)], [0], template, CFG)
        return body.place, body.from_origin, body.velocity, body.depth_rgb, body.joints, body.joint_velocity

    assert gradcheck(placed, leaves())


def test_body_with_a_missing_joint():
    """What is drawn has a gradient; the missing joint has none, and no NaN."""
    positions, moved, rotation, shift = leaves()
    positions = positions.detach().clone()
    positions[0, 0, 2] = torch.nan
    positions.requires_grad_()
    template = template_of(SPEC, 2, torch.device("cpu")).to(torch.float64)
    body = place_body([clip_of(positions, moved, rotation, shift)], [0], template, CFG)
    assert len(body.place) == 2 * template.size - 3  # the joint, and two points on its bone
    (gradient,) = torch.autograd.grad(body.place.square().sum() + body.depth_rgb.square().sum(), positions)
    assert torch.isfinite(gradient).all()
    assert not gradient[0, 0, 2].any()
    assert gradient[1].all()


def test_learned_camera():
    view = LearnedView(2).double()
    with torch.no_grad():
        for i, parameter in enumerate(view.parameters()):
            parameter.copy_(0.3 * randn(2, seed=i))
    pose = [x.requires_grad_() for x in (randn(2, 2, 3, 3), randn(2, 2, 3, seed=1), randn(2, 2, 3, seed=2))]
    planar = torch.tensor([False, True])
    names = list(dict(view.named_parameters()))

    def turned(*tensors):
        return torch.func.functional_call(view, dict(zip(names, tensors[:3], strict=True)), (*tensors[3:], planar))

    assert gradcheck(turned, (*view.parameters(), *pose))


def test_lift():
    """2D joints, through their own scale and centre (medians: away from ties)."""
    spec = dataclasses.replace(SPEC, joint_names=("left_hip", "left_shoulder", "left_elbow", "right_hip"))
    flat = (200 * (PLACES[:, :2] + 0.01 * randn(3, 1, 4, 2))).requires_grad_()
    assert gradcheck(lambda x: lift_2d(x, spec), flat, eps=1e-4)
    assert gradcheck(lambda x: metric_scale(x, spec), flat, eps=1e-4)
    legless = dataclasses.replace(spec, joint_names=("a", "b", "c", "d"))
    assert gradcheck(lambda x: metric_scale(x, legless), flat, eps=1e-4)


def by_weights(module, *inputs):
    """The module as a function of its weights and inputs, and those."""
    names, values = zip(*module.named_parameters(), strict=True)
    values = [value.detach().clone().requires_grad_() for value in values]

    def call(*tensors):
        state = dict(zip(names, tensors[: len(names)], strict=True))
        return torch.func.functional_call(module, state, tensors[len(names) :])

    return call, (*values, *inputs)


def test_modulator():
    torch.manual_seed(0)
    inputs = [randn(5, n, seed=i).requires_grad_() for i, n in enumerate((3, 3, 4))]
    assert gradcheck(*by_weights(Modulator(6).double(), *inputs))


@pytest.mark.parametrize("alone", [True, False])
def test_memory_over_frames(alone):
    torch.manual_seed(0)
    place, moved = (randn(1, 1, 3, 1, 4, 3, seed=i).requires_grad_() for i in (0, 1))
    known = torch.ones(1, 3, 1, 4, dtype=torch.bool)
    known[0, 1, 0, 2] = False
    inputs = (place, moved, randn(4, 4, seed=2).requires_grad_(), known)
    assert gradcheck(*by_weights(Memory(3, alone).double(), *inputs))


def test_modulated_colours():
    raw, change = randn(6, 4).requires_grad_(), (0.1 * randn(6, 5, seed=1)).requires_grad_()
    assert gradcheck(modulated, (raw, change))


def test_colour_by_depth():
    depth = torch.tensor([[1.0, 1.4, 1.9, 2.6], [3.0, 2.2, 2.4, 9.0]], dtype=torch.float64, requires_grad=True)
    valid = torch.tensor([[True] * 4, [True] * 3 + [False]])
    assert gradcheck(lambda z: depth_colour(z, valid), depth)


@pytest.mark.parametrize("source", [FactorAppearance, TableAppearance])
@pytest.mark.parametrize(("nfm", "gru"), [(True, False), (False, False), (True, True), (False, True)])
def test_appearance(source, nfm, gru):
    """Features, head and modulators together, by each of their weights."""
    torch.manual_seed(0)
    cfg = dataclasses.replace(CFG, nfm=nfm, nfm_width=4, gru=gru, gru_width=3)
    template = template_of(SPEC, 1, torch.device("cpu")).to(torch.float64)
    features = FactorAppearance(3) if source is FactorAppearance else TableAppearance(template.size, 3)
    module = Appearance(cfg, features).double()
    with torch.no_grad():
        for parameter in module.parameters():  # off the kinks of ReLU, where the start puts some units
            parameter.add_(0.05 * torch.randn_like(parameter))
    body = place_body([clip_of(*(x.detach() for x in leaves()))], [0], template, cfg)
    names, values = zip(*module.named_parameters(), strict=True)
    small = [i for i, value in enumerate(values) if value.numel() <= 60]  # the head's width is fixed at 64
    inputs = [values[i].detach().clone().requires_grad_() for i in small]

    def painted(*tensors):
        state = dict(zip((names[i] for i in small), tensors, strict=True))
        return torch.func.functional_call(module, state, (body,))

    assert {"features", "head"} <= {names[i].split(".")[0] for i in small}
    assert gradcheck(painted, inputs)


@pytest.mark.parametrize("kind", ["draction", "stick", "heatmap", "velocity"])
def test_whole_renderer(kind):
    """From joints, velocity, the camera's pose and focal length to pixels."""
    torch.manual_seed(0)
    # Radii follow bone lengths as constants for autograd: here they do not follow.
    cfg = dataclasses.replace(CFG, kind=kind, heatmap_sigma=0.25, nfm_width=8, radius_exponent=0.0)
    renderer = make_renderer(cfg).double()
    focal = torch.tensor(focal_length(cfg), dtype=torch.float64, requires_grad=True)
    image = renderer([clip_of(*leaves(), focal)])
    assert image.dtype == torch.float64
    assert image.max() > 0.3
    assert gradcheck(lambda *x: renderer([clip_of(*x)]), (*leaves(), focal), atol=2e-5)


def test_learned_view_moves_the_picture():
    """A learned camera starts as the framing one and gets a gradient from the pixels."""
    torch.manual_seed(0)
    plain = make_renderer(CFG).double()
    learned = make_renderer(dataclasses.replace(CFG, learn_camera=True)).double()
    learned.load_state_dict(plain.state_dict(), strict=False)
    clip = clip_of(*(x.detach() for x in leaves()))
    images = learned([clip])
    torch.testing.assert_close(images, plain([clip]))
    images[:, :, :, :, :3].sum().backward()
    assert learned.turn is not None
    for name, parameter in learned.turn.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 1e-4, name
