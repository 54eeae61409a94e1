"""Gaussians of a topology, their radii and meaning; frames and velocity; the weights' files."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models.draction.fixed import StickRenderer
from models.draction.frames import select_frames, velocity
from models.draction.renderer import DrAction
from models.draction.template import VOCABULARY, SkeletonSpec, radii_from_lengths, template_of
from models.draction.weights import load_renderer, save_renderer

CPU = torch.device("cpu")
CHAIN = SkeletonSpec(
    "chain",
    ("left_hip", "left_knee", "tail"),
    ((0, 1), (1, 2)),
    ("left", "left", "odd"),
    ("leg", "leg", "tail"),
    (0, 0.5, 1),
)


def test_bone_points_lie_on_the_bone():
    template = template_of(CHAIN, 4, CPU)
    joints = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [1.0, 2.0, 0]])
    points = template.blend @ joints
    torch.testing.assert_close(points[:3], joints)
    torch.testing.assert_close(points[3:7, 0], torch.tensor([0.2, 0.4, 0.6, 0.8]))
    torch.testing.assert_close(points[7:, 1], torch.tensor([0.4, 0.8, 1.2, 1.6]))
    assert template_of(CHAIN, 4, CPU) is template


def test_radii_follow_bone_lengths(cfg):
    """Longest bone 2 m: ratio 1; the other 0.2 m: ratio 0.1, clamped below."""
    joints = torch.tensor([[0.0, 0, 0], [0.2, 0, 0], [0.2, 2.0, 0]]).expand(1, 5, 1, 3, 3).clone()
    joints[0, 1] = torch.nan
    joints[0, 2, 0, 2] = 9.0  # one bad frame does not move the median
    radii = radii_from_lengths(template_of(CHAIN, 2, CPU), joints, cfg)[0]
    expected = [0.03 / 3, 0.03 * 0.55, 0.03, 0.006, 0.006, 0.02, 0.02]
    torch.testing.assert_close(radii, torch.tensor(expected))
    nobody = radii_from_lengths(template_of(CHAIN, 2, CPU), torch.full_like(joints, torch.nan), cfg)
    torch.testing.assert_close(nobody[0], torch.tensor([0.015] * 3 + [0.01] * 4))
    even = radii_from_lengths(template_of(CHAIN, 2, CPU), joints, dataclasses.replace(cfg, radius_exponent=0.0))
    torch.testing.assert_close(even[0], torch.tensor([0.03] * 3 + [0.02] * 4))


def test_meaning_is_blended_and_unknown_names_are_other():
    factors = template_of(CHAIN, 1, CPU).factors
    of = {name: factors[:, i].tolist() for i, name in enumerate(VOCABULARY)}
    assert of["side:left"] == [1, 1, 0, 1, 0.5]
    assert of["side:centre"] == [0, 0, 1, 0, 0.5]
    assert of["limb:other"] == [0, 0, 1, 0, 0.5]
    assert of["joint"] == [1, 1, 1, 0, 0]
    assert of["bone_middle"] == [0, 0, 0, 1, 1]
    assert of["order"] == [0, 0.5, 1, 0.25, 0.75]


def test_a_spec_that_contradicts_itself_is_refused():
    with pytest.raises(ValueError, match="names a joint outside"):
        dataclasses.replace(CHAIN, bones=((0, 3),))
    with pytest.raises(ValueError, match="3 entries each"):
        dataclasses.replace(CHAIN, limb=("leg",))


@pytest.mark.parametrize(("total", "wanted"), [(60, 12), (13, 12), (12, 12), (5, 12), (1, 8)])
def test_one_frame_from_each_segment(total, wanted):
    middle = select_frames(total, wanted, None)
    drawn = [select_frames(total, wanted, np.random.default_rng(seed)) for seed in range(20)]
    for chosen in (middle, *drawn):
        assert chosen.shape == (wanted,)
        assert chosen.min() >= 0
        assert chosen.max() < total
        assert (np.diff(chosen) >= 0).all()
        if total >= wanted:
            assert (chosen * wanted // total == np.arange(wanted)).all() or total % wanted
            assert (np.diff(chosen) > 0).all()
        else:
            assert set(chosen) == set(range(total))
    assert (drawn[0] == select_frames(total, wanted, np.random.default_rng(0))).all()
    assert (total == 60) == (len({tuple(d) for d in drawn}) > 10)
    with pytest.raises(ValueError, match="at least one frame"):
        select_frames(0, 4, None)


def test_velocity_is_a_displacement_over_a_time():
    """x = 2 t m/s: 0.2667 m over 4/30 s at any rate; the end of the clip sees less; NaN gives 0."""
    for fps in (30.0, 120.0, 50.0):
        time = np.arange(int(fps)) / fps
        positions = np.zeros((len(time), 1, 2, 3), np.float32)
        positions[..., 0] = 2 * time[:, None, None]
        positions[3, 0, 1, 2] = np.nan
        moved = velocity(positions, fps, 4 / 30)
        np.testing.assert_allclose(moved[0, 0, 0], [2 * 4 / 30, 0, 0], atol=1e-5)
        assert not moved[3, 0, 1].any()
        assert not moved[-1].any()
        assert np.isfinite(moved).all()


def test_weights_round_trip(body, cfg, tmp_path):
    renderer = DrAction(dataclasses.replace(cfg, nfm_width=32, feature_dim=5))
    save_renderer(renderer, tmp_path / "r.safetensors")
    again = load_renderer(tmp_path / "r.safetensors")
    assert again.cfg == renderer.cfg
    clip = body.clip(body.topologies["ntu25"], body.standing(body.topologies["ntu25"], 1.0), cfg)
    assert torch.equal(renderer([clip]), again([clip]))


def test_older_vocabulary_is_matched_by_name(cfg, tmp_path):
    path = tmp_path / "r.safetensors"
    renderer = DrAction(cfg)
    save_renderer(renderer, path)
    name = "appearance.features.embedding.weight"
    state = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    kept = [i for i, factor in enumerate(VOCABULARY) if factor != "limb:foot"][::-1]
    state[name] = state[name][:, kept].contiguous()
    save_file(state, path, {**metadata, "vocabulary": json.dumps([VOCABULARY[i] for i in kept])})
    torch.testing.assert_close(load_renderer(path).state_dict()[name][:, kept], renderer.state_dict()[name][:, kept])
    save_file(state, path, {**metadata, "vocabulary": json.dumps(["limb:wing"] * len(kept))})
    with pytest.raises(ValueError, match="limb:wing"):
        load_renderer(path)
    save_file(state, path)
    with pytest.raises(ValueError, match="format"):
        load_renderer(path)


def test_only_our_renderer_is_saved(cfg, tmp_path):
    with pytest.raises(TypeError, match="StickRenderer"):
        save_renderer(StickRenderer(cfg), tmp_path / "r.safetensors")
