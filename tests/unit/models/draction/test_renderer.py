"""The whole renderer: left and right, missing joints, batches, gradients, precision."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from models.draction.body import depth_colour, place_body
from models.draction.camera import identity_camera
from models.draction.fixed import StickRenderer
from models.draction.renderer import DrAction
from models.draction.template import SkeletonSpec, drawing_order, template_of


@pytest.fixture
def renderer(cfg):
    torch.manual_seed(0)
    return DrAction(cfg)


def bent(positions):
    """The same pose with every joint at a depth of its own: rounding decides between equal ones."""
    return positions + np.random.default_rng(7).normal(0, 0.05, (1, 1, positions.shape[2], 3)).astype(np.float32)


@pytest.mark.parametrize("facing", [1.0, -1.0], ids=["sensor frame, faces the sensor", "world frame, faces +z"])
@pytest.mark.parametrize("name", ["ntu25", "kinect20", "sbu15", "coco17"])
def test_raised_right_hand_is_at_image_left(body, cfg, name, facing):
    topology = body.topologies[name]
    stick = StickRenderer(cfg)
    still = stick([body.clip(topology, body.standing(topology, facing), cfg)])[0, 0].sum(0)
    raised = body.standing(topology, facing, raised="right")
    clip = body.clip(topology, raised, cfg)
    image = stick([clip])[0, 0].sum(0)
    head = topology.joints.index("head" if "head" in topology.joints else "nose")
    place = clip.camera.rotation @ torch.from_numpy(raised[0, 0, head]) + clip.camera.translation
    row = int(clip.camera.cy - clip.camera.focal_px * place[1] / place[2]) + 1  # head height
    middle = round(clip.camera.cx + clip.camera.focal_px * float(place[0] / place[2]))
    left, right = image[:row, : middle - 2].sum(), image[:row, middle + 3 :].sum()
    assert left > 1.0
    assert right < 0.05 * left
    assert still[:row, : middle - 2].sum() < 0.3 * left, "the hand that is down must not be there"


def test_left_and_right_arms_and_legs_differ_at_the_start(body, cfg, renderer):
    """A fresh renderer already paints four distinguishable, bright limbs."""
    topology = body.topologies["ntu25"]
    template = template_of(body.spec(topology), cfg.samples_per_bone, torch.device("cpu"))
    raw = renderer.appearance.head(renderer.appearance.features(template)).sigmoid()
    names = drawing_order(body.spec(topology))[0].joint_names
    limbs = torch.stack([raw[names.index(j), :3] for j in ("left_wrist", "right_wrist", "left_knee", "right_knee")])
    assert torch.pdist(limbs).min() > 0.3
    assert limbs.amax(1).min() > 0.6
    image = renderer([body.clip(topology, body.standing(topology, 1.0), cfg)])
    assert image.amax() > 0.6
    assert image.amax(2).gt(0.3).float().mean() > 0.01


def test_missing_joints_are_not_drawn(body, cfg, renderer):
    topology = body.topologies["ntu25"]
    # the world's origin, where a careless 0 for a missing joint would be drawn, lies in view beside the person
    positions = body.standing(topology, 1.0, raised="right") - np.float32([0.8, 0, 3])
    clip = body.clip(topology, np.concatenate([positions, np.zeros_like(positions)], axis=1), cfg)
    clip = dataclasses.replace(clip, positions=clip.positions[:, :1], velocity=clip.velocity[:, :1])
    full = renderer([clip])
    lost = clip.positions.clone()
    arm = [topology.index[f"right_{part}"] for part in ("elbow", "wrist", "hand", "hand_tip", "thumb")]
    lost[:, :, arm] = torch.nan
    lost[1] = torch.nan
    image = renderer([dataclasses.replace(clip, positions=lost)])
    assert torch.isfinite(image).all()
    assert not image[0, 1].any(), "a frame without a person is black"
    assert image[0, 0].sum() < full[0, 0].sum()
    dark = full[0, 0].amax(0) == 0
    assert image[0, 0].amax(0)[dark].amax() < 1e-3


def test_gradients_are_finite_where_the_body_is_not(body, cfg, renderer):
    """Zero-length bones, coincident joints, joints behind the camera, absent persons."""
    topology = body.topologies["kinect20"]
    positions = np.repeat(body.standing(topology, 1.0), 3, axis=1)
    clip = body.clip(topology, positions, cfg)
    broken = clip.positions.clone()
    broken[:, 0] = broken[:, 0, :1]
    broken[:, 1, 5:9] = torch.tensor([0.0, 0.0, -50.0])
    broken[:, 2] = torch.nan
    broken.requires_grad_()
    image = renderer([dataclasses.replace(clip, positions=broken)])
    image.square().sum().backward()
    assert torch.isfinite(image).all()
    assert broken.grad is not None
    assert torch.isfinite(broken.grad).all()
    assert broken.grad.abs().sum() > 0
    for name, parameter in renderer.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_nobody_at_all(body, cfg, renderer):
    topology = body.topologies["kinect20"]
    clip = body.clip(topology, body.standing(topology, 1.0), cfg)
    image = renderer([dataclasses.replace(clip, positions=torch.full_like(clip.positions, torch.nan))])
    assert not image.any()
    image.sum().backward()


def test_permuting_joints_with_their_bones_leaves_the_image(body, cfg, renderer):
    topology = body.topologies["ntu25"]
    clip = body.clip(topology, body.standing(topology, 1.0, raised="left"), cfg)  # many equal depths
    order = np.random.default_rng(0).permutation(25)
    place = np.argsort(order)
    spec = clip.spec
    other = SkeletonSpec(
        "shuffled",
        tuple(spec.joint_names[i] for i in order),
        tuple((int(place[p]), int(place[c])) for p, c in reversed(spec.bones)),
        *(tuple(values[i] for i in order) for values in (spec.side, spec.limb, spec.order)),
    )
    moved = dataclasses.replace(
        clip, spec=other, positions=clip.positions[:, :, order], velocity=clip.velocity[:, :, order]
    )
    assert torch.equal(renderer([moved]), renderer([clip]))


def test_moving_body_and_camera_together_leaves_the_image(body, cfg, renderer):
    topology = body.topologies["ntu25"]
    clip = body.clip(topology, bent(body.standing(topology, 1.0)), cfg)
    angle = 0.7
    turn = torch.tensor([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]])
    shift = torch.tensor([3.0, -1.0, 2.0])
    rotation = clip.camera.rotation @ turn.T
    camera = dataclasses.replace(clip.camera, rotation=rotation, translation=clip.camera.translation - rotation @ shift)
    moved = dataclasses.replace(
        clip, positions=clip.positions @ turn.T + shift, velocity=clip.velocity @ turn.T, camera=camera
    )
    torch.testing.assert_close(renderer([moved]), renderer([clip]), atol=1e-4, rtol=0)


def test_mixed_batch_equals_separate_clips(body, cfg, renderer):
    """Four topologies, one and two persons, two clips of a kind that is not adjacent."""
    clips = []
    for name, persons in (("ntu25", 1), ("coco17", 1), ("sbu15", 2), ("ntu25", 1), ("msr20", 1)):
        topology = body.topologies[name]
        pair = [
            body.standing(topology, 1.0, "left") + np.float32([0.8 * k, 0, 0.1 * len(clips)]) for k in range(persons)
        ]
        clips.append(body.clip(topology, np.concatenate(pair, axis=1), cfg))
    together = renderer(clips)
    assert together.shape == (5, cfg.frames, 3, cfg.image_size, cfg.image_size)
    for i, clip in enumerate(clips):
        torch.testing.assert_close(together[i : i + 1], renderer([clip]), atol=1e-5, rtol=0)
        assert together[i].amax() > 0.3


def placed(clip, cfg):
    return place_body([clip], [0], template_of(clip.spec, cfg.samples_per_bone, torch.device("cpu")), cfg)


def test_modulator_sees_positions_from_the_look_at_point(body, cfg):
    topology = body.topologies["ntu25"]
    clip = body.clip(topology, body.standing(topology, 1.0), cfg)
    seen = placed(clip, cfg)
    torch.testing.assert_close(seen.place - seen.from_origin, torch.tensor([0, 0, cfg.distance]).expand_as(seen.place))
    assert seen.from_origin.abs().amax() < 1.5
    plain = dataclasses.replace(clip, camera=identity_camera(cfg, clip.positions))
    seen = placed(plain, cfg)
    assert torch.equal(seen.place, seen.from_origin)


def test_a_flat_person_has_one_depth_colour():
    flat = 2.5 + 1e-7 * torch.rand(2, 30)
    colour = depth_colour(flat, torch.ones(2, 30, dtype=torch.bool))
    torch.testing.assert_close(colour, torch.tensor([0.5, 1.0, 0.5]).expand(2, 30, 3))
    deep = depth_colour(torch.tensor([1.0, 1.5, 2.0, 9.0]), torch.tensor([True, True, True, False]))
    torch.testing.assert_close(deep[:3], torch.tensor([[0.0, 0, 1], [0.5, 1, 0.5], [1.0, 0, 0]]), atol=1e-5, rtol=0)


def test_velocity_changes_the_image_only_with_the_modulator(body, cfg):
    topology = body.topologies["ntu25"]
    clip = body.clip(topology, body.standing(topology, 1.0), cfg)
    fast = dataclasses.replace(clip, velocity=clip.velocity + 1.0)
    for nfm in (True, False):
        torch.manual_seed(0)
        renderer = DrAction(dataclasses.replace(cfg, nfm=nfm))
        assert torch.equal(renderer([clip]), renderer([fast])) != nfm


def test_float32_under_autocast(body, cfg, renderer):
    topology = body.topologies["ntu25"]
    clip = body.clip(topology, body.standing(topology, 1.0), cfg)
    with torch.autocast("cpu", torch.bfloat16):
        image = renderer([clip])
    assert image.dtype == torch.float32
    assert torch.equal(image, renderer([clip]))
    torch.nn.ModuleList([renderer]).bfloat16()
    assert {p.dtype for p in renderer.parameters()} == {torch.float32}
    assert torch.equal(image, renderer([clip]))


def test_reference_rasteriser_by_configuration(body, cfg, renderer):
    topology = body.topologies["sbu15"]
    clip = body.clip(topology, body.standing(topology, 1.0), cfg)
    exact = DrAction(dataclasses.replace(cfg, rasterizer="reference"))
    exact.load_state_dict(renderer.state_dict())
    torch.testing.assert_close(renderer([clip]), exact([clip]), atol=2e-3, rtol=0)


def test_what_does_not_fit_is_refused(body, cfg, renderer):
    topology = body.topologies["ntu25"]
    clip = body.clip(topology, body.standing(topology, 1.0), cfg)
    with pytest.raises(ValueError, match="at least one clip"):
        renderer([])
    with pytest.raises(ValueError, match="expected positions"):
        renderer([clip, dataclasses.replace(clip, positions=clip.positions[:2], velocity=clip.velocity[:2])])
    with pytest.raises(ValueError, match="expected velocity"):
        renderer([dataclasses.replace(clip, velocity=clip.velocity[:, :, :4])])
