"""Cameras and the 2D plane: where they stand, what they frame."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from models.draction.camera import fit_camera, focal_length, identity_camera, view_direction
from models.draction.lift import PLANE_M, TORSO_M, lift_2d
from models.draction.rasterize.projection import NEAR_M
from models.draction.template import radii_from_lengths, template_of
from skeleton_io.record.topologies import HAND20


def pixels(camera, positions):
    seen = torch.from_numpy(positions) @ camera.rotation.T + camera.translation
    u = camera.focal_px * seen[..., 0] / seen[..., 2] + camera.cx
    v = camera.cy - camera.focal_px * seen[..., 1] / seen[..., 2]
    return u, v, seen[..., 2]


def turned(positions, angle):
    cos, sin = math.cos(angle), math.sin(angle)
    return (positions @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])).astype(np.float32)


@pytest.mark.parametrize("view", ["front", "sensor"])
def test_everything_is_framed_as_near_as_allowed(body, cfg, view):
    topology = body.topologies["ntu25"]
    cfg = dataclasses.replace(cfg, view=view, distance=0.5)
    rng = np.random.default_rng(0)
    positions = body.standing(topology, 1.0) + rng.normal(0, 0.4, (6, 1, 25, 3)).astype(np.float32)
    u, v, depth = pixels(fit_camera(torch.from_numpy(positions), body.spec(topology), cfg), positions)
    low, high = cfg.margin * cfg.image_size, (1 - cfg.margin) * cfg.image_size
    assert depth.min() > 0
    assert min(u.min(), v.min()) >= low - 0.01
    assert max(u.max(), v.max()) <= high + 0.01
    # one axis is filled from edge to edge
    assert max(u.max() - u.min(), v.max() - v.min()) == pytest.approx(high - low, abs=0.05)


def test_distance_is_a_lower_bound(body, cfg):
    topology = body.topologies["ntu25"]
    positions = body.standing(topology, 1.0)
    camera = fit_camera(torch.from_numpy(positions), body.spec(topology), cfg)
    depth = pixels(camera, positions)[2]
    assert (depth.min() + depth.max()) / 2 == pytest.approx(cfg.distance, abs=1e-4)
    assert float(camera.origin[2]) == pytest.approx(cfg.distance, abs=1e-4)
    assert camera.focal_px == pytest.approx(cfg.image_size / (2 * math.tan(math.radians(30))))
    assert float(torch.det(camera.rotation)) == pytest.approx(-1)


@pytest.mark.parametrize("angle", [0.0, 0.6, 2.0, math.pi, -2.5])
def test_front_view_faces_the_person_however_they_stand(body, cfg, angle):
    topology = body.topologies["kinect20"]
    positions = body.standing(topology, 1.0)
    straight = pixels(fit_camera(torch.from_numpy(positions), body.spec(topology), cfg), positions)
    around = turned(positions, angle)
    for a, b in zip(
        straight, pixels(fit_camera(torch.from_numpy(around), body.spec(topology), cfg), around), strict=True
    ):
        torch.testing.assert_close(a, b, atol=2e-2, rtol=0)


def test_yaw_turns_the_view(body, cfg):
    topology = body.topologies["kinect20"]
    world = torch.from_numpy(body.standing(topology, 1.0))
    straight = fit_camera(world, body.spec(topology), cfg).rotation[2]
    forward = fit_camera(world, body.spec(topology), cfg, yaw=0.4).rotation[2]
    assert float(straight @ forward) == pytest.approx(math.cos(0.4), abs=1e-5)
    assert float(forward[1]) == 0


def test_two_persons_are_seen_across_their_line(body, cfg):
    topology = body.topologies["sbu15"]
    one = body.standing(topology, 1.0)
    for step in ([1.0, 0, 0.2], [-1.0, 0, -0.2]):
        pair = torch.from_numpy(np.concatenate([one, one + np.float32(step)], axis=1))
        forward = view_direction(pair, body.spec(topology))
        assert abs(float(forward @ torch.tensor(step))) < 1e-5
        assert forward[2] > 0.9, "the side of the sensor"
    # a person who is almost never there does not count as the second
    rare = pair.clone()
    rare[1:, 1] = torch.nan
    alone = view_direction(pair[:, :1], body.spec(topology))
    torch.testing.assert_close(view_direction(rare, body.spec(topology)), alone)


def test_unknown_sides_and_planar_clips_are_seen_from_the_sensor(body, cfg):
    topology = body.topologies["kinect20"]
    spec = body.spec(topology)
    positions = torch.from_numpy(turned(body.standing(topology, 1.0), 2.0))
    nameless = dataclasses.replace(spec, joint_names=tuple(f"j{i}" for i in range(20)))
    for world, which, yaw in ((positions, nameless, 0.0), (lift_2d(positions[..., :2], spec), spec, 0.5)):
        camera = fit_camera(world, which, cfg, yaw)
        torch.testing.assert_close(camera.rotation, torch.diag(torch.tensor([-1.0, 1.0, 1.0])))
    empty = fit_camera(torch.full((2, 1, 20, 3), torch.nan), spec, cfg)
    assert torch.isfinite(empty.translation).all()


def test_identity_camera_pushes_what_is_too_near(body, cfg):
    far = torch.from_numpy(body.standing(body.topologies["ntu25"], 1.0))
    assert identity_camera(cfg, far).translation.tolist() == [0, 0, 0]
    assert identity_camera(cfg, far - torch.tensor([0, 0, 3.2])).translation.tolist() == [0, 0, 1]
    assert identity_camera(cfg).focal_px == focal_length(cfg)
    torch.testing.assert_close(identity_camera(cfg).rotation, torch.eye(3))


@pytest.mark.parametrize("scale", [1.0, 250.0])
def test_lift_brings_the_torso_to_metres(body, scale):
    topology = body.topologies["coco17"]
    spec = body.spec(topology)
    flat = torch.from_numpy(body.standing(topology, 1.0))[..., :2] * scale
    flat[0, 0, 3] = torch.nan
    lifted = lift_2d(flat, spec)
    middles = [
        lifted[:, 0, [spec.index(f"{side}_{p}") for side in ("left", "right")]].mean(1) for p in ("shoulder", "hip")
    ]
    assert float((middles[0] - middles[1]).norm(dim=-1).median()) == pytest.approx(TORSO_M, rel=1e-4)
    assert torch.isnan(lifted[0, 0, 3]).all()
    assert lifted[1:, ..., 2].unique().tolist() == [PLANE_M]
    # without a torso, the height of the figure
    legs = dataclasses.replace(spec, joint_names=tuple(n.replace("hip", "unknown") for n in spec.joint_names))
    height = lift_2d(flat, legs)[1:, 0, :, 1]
    assert float(height.amax() - height.amin()) == pytest.approx(1.7, rel=0.02)


def test_lift_refuses_3d(body):
    with pytest.raises(ValueError, match="lift_2d"):
        lift_2d(torch.zeros(2, 1, 17, 3), body.spec(body.topologies["coco17"]))


def test_a_hand_without_a_body_fills_the_frame(body, cfg):
    """Seen from a person's distance it was 26 of 448 pixels wide: nobody could count its fingers."""
    spec = body.spec(HAND20)
    points = np.random.default_rng(0).uniform(-0.08, 0.08, (5, 1, 20, 3)).astype(np.float32) + np.float32([0, 2.4, 0.4])
    u, v, depth = pixels(fit_camera(torch.from_numpy(points), spec, cfg), points)
    low, high = cfg.margin * cfg.image_size, (1 - cfg.margin) * cfg.image_size
    assert min(u.min(), v.min()) >= low - 0.01
    assert max(u.max() - u.min(), v.max() - v.min()) == pytest.approx(high - low, abs=0.05)
    assert depth.min() > NEAR_M
    longest = radii_from_lengths(template_of(spec, 4, torch.device("cpu")), torch.from_numpy(points)[None], cfg)
    assert float(longest.max()) < 0.5 * cfg.joint_radius  # limbs of that thickness hide the fingers
