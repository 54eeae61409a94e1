"""One set of weights for every format: files of four formats in one optimiser step; order of joints; unseen topologies.

Clips come through the readers and the training collator; the loss is that of a tiny multimodal LLM.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from models.config import MLLMConfig, RendererConfig
from models.draction.camera import clip_camera
from models.draction.frames import velocity
from models.draction.renderer import ClipInput, DrAction
from models.mllm.hf import HFMultimodal
from models.skeleton_llm import SkeletonLLM
from models.trainable import param_groups, set_trainable
from pipelines.batches.collator import Batch, Collator
from pipelines.batches.sampler import Draw
from pipelines.batches.tasks.book import TaskBook
from pipelines.config.train import AugmentConfig
from pipelines.data.clip_files import read_clips
from skeleton_io.demo.dataset import DemoConfig, write_demo
from skeleton_io.record.sequence import SkeletonSequence

RENDER = RendererConfig(frames=3, image_size=32, samples_per_bone=4)
LABELS = ("wave", "sit down", "jump up and down")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, DemoConfig(subjects=2, test_subjects=1, repetitions=1, actions=("throw",), broken=False))
    return folder


@pytest.fixture(params=["made", "real"])
def clips(request: pytest.FixtureRequest, demo: Path, repo_root: Path) -> dict[str, SkeletonSequence]:
    """NTU-25, BVH, COCO-17, two persons of SBU. The real BVH has 22 joints; its reader drops the container."""
    ntu, bvh, sbu = demo / "demo_ntu", demo / "demo_bvh", repo_root / "tests" / "assets" / "sbu"
    if request.param == "real":
        shared = request.getfixturevalue("shared_data")
        ntu = shared / "golden" / "draction" / "S001C001P001R001A023.skeleton"
        bvh = sorted((shared / "data" / "bandai_namco_1").rglob("*.bvh"))[0]
        sbu = sorted((shared / "data" / "sbu").rglob("skeleton_pos.txt"))[0]
    inputs = {"ntu": ntu, "bvh": bvh, "coco": demo / "demo_coco17", "sbu": sbu}
    found = {name: read_clips(str(path), "", [])[0] for name, path in inputs.items()}
    found = {name: dataclasses.replace(clip, label="wave", captions=()) for name, clip in found.items()}
    joints = {name: len(clip.topology.joints) for name, clip in found.items()}
    assert (joints["ntu"], joints["coco"], joints["sbu"]) == (25, 17, 15)
    assert request.param == "made" or joints["bvh"] == 21
    assert found["sbu"].positions.shape[1] == 2
    return found


@pytest.fixture
def model(tiny_folders: dict[str, Path]) -> SkeletonLLM:
    torch.manual_seed(0)
    mllm = HFMultimodal.from_checkpoint(tiny_folders["internvl"], MLLMConfig())
    model = SkeletonLLM(DrAction(RENDER), mllm)
    set_trainable(model, ["renderer"])
    return model


def batch_of(model: SkeletonLLM, clips: dict[str, SkeletonSequence]) -> Batch:
    """One micro batch, as training builds it."""
    book = TaskBook({clip.dataset: LABELS for clip in clips.values()}, {})
    collator = Collator(clips.__getitem__, book, model.mllm.tokenize, RENDER, AugmentConfig(yaw_deg=20), seed=1)
    return collator([Draw(name, 0, "mqa", True) for name in clips])


def test_every_formats_gradient_reaches_the_shared_weights(model, clips):
    batch = batch_of(model, clips)
    weights = dict(model.renderer.named_parameters())
    frames = model.renderer(batch.clips)
    loss = model.mllm(frames, batch.text).loss
    (by_frame,) = torch.autograd.grad(loss, frames, retain_graph=True)
    for name, image, gradient in zip(clips, frames, by_frame, strict=True):
        assert image.amax() > 0.3, name
        parts = torch.autograd.grad((image * gradient).sum(), list(weights.values()), retain_graph=True)
        for weight, part in zip(weights, parts, strict=True):
            assert torch.isfinite(part).all(), (name, weight)
            assert part.abs().sum() > 0, (name, weight)
    before = {name: value.detach().clone() for name, value in weights.items()}
    loss.backward()
    torch.optim.AdamW(param_groups(model, {"renderer": 1e-3}, 0.0)).step()
    assert all(not torch.equal(before[name], value) for name, value in weights.items())
    assert model(batch.clips, batch.text).loss < loss


def test_a_mixed_step_equals_the_sum_of_single_ones(model, clips):
    """Drawing formats together changes nothing: each clip's gradient is what it would be alone."""
    batch = batch_of(model, clips)
    weights = list(model.renderer.parameters())
    together = torch.autograd.grad(model.renderer(batch.clips).square().sum(), weights)
    alone = [torch.autograd.grad(model.renderer([clip]).square().sum(), weights) for clip in batch.clips]
    for mixed, *single in zip(together, *alone, strict=True):
        assert float((mixed - sum(single)).norm()) <= 1e-3 * float(mixed.norm())


def reordered(clip: ClipInput, seed: int) -> ClipInput:
    """The clip with its joints, and its bones, listed in another order."""
    spec, joints = clip.spec, len(clip.spec.joint_names)
    order = np.random.default_rng(seed).permutation(joints)
    place = np.argsort(order)
    bones = [(int(place[a]), int(place[b])) for a, b in spec.bones]
    named = {name: tuple(getattr(spec, name)[i] for i in order) for name in ("joint_names", "side", "limb", "order")}
    return dataclasses.replace(
        clip,
        spec=dataclasses.replace(spec, name=f"{spec.name} reordered", bones=tuple(reversed(bones)), **named),
        positions=clip.positions[:, :, order],
        velocity=clip.velocity[:, :, order],
    )


@pytest.mark.parametrize("gru", [False, True])
def test_the_order_of_joints_changes_neither_image_nor_loss(model, clips, gru):
    torch.manual_seed(0)
    model.renderer = DrAction(dataclasses.replace(RENDER, gru=gru))
    batch = batch_of(model, clips)
    others = [reordered(clip, i) for i, clip in enumerate(batch.clips)]
    # The camera is found anew, too: nothing on the way may look at the order.
    others = [dataclasses.replace(other, camera=clip_camera(other.positions, other.spec, RENDER)) for other in others]
    mine = [dataclasses.replace(clip, camera=clip_camera(clip.positions, clip.spec, RENDER)) for clip in batch.clips]
    with torch.no_grad():
        image, other_image = model.renderer(mine), model.renderer(others)
        assert torch.equal(other_image, image)
        losses = [float(model.mllm(frames, batch.text).loss) for frames in (image, other_image)]
    assert losses[0] == losses[1]


def test_velocity_and_frames_know_no_order_of_joints():
    positions = np.random.default_rng(0).normal(size=(9, 1, 6, 3)).astype(np.float32)
    order = [3, 1, 5, 0, 2, 4]
    assert (velocity(positions[:, :, order], 30.0, 0.1) == velocity(positions, 30.0, 0.1)[:, :, order]).all()
