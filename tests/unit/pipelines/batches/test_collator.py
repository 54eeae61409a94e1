"""Clip -> renderer input and question: conventions, reproducible chances, no answer in the question."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import prompts
from models.config import RendererConfig
from pipelines.batches.collator import Collator
from pipelines.batches.sampler import Draw, generator
from pipelines.batches.tasks.book import TaskBook
from pipelines.config.train import AugmentConfig
from pipelines.data.renderer_input import clip_input, metric_positions, skeleton_spec
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import COCO17, NTU25

CFG = RendererConfig(frames=5, image_size=32)
ALL = AugmentConfig(yaw_deg=20, scale=0.1, noise_m=0.01, crop=0.3)
LABELS = {"s": ("sit down", "stand up", "throw", "wave")}
SOURCE = Source(uri="x", sha256="0", reader="test", reader_version=1)


def sequence(frames: int = 40, channels: int = 3, label: str | None = "wave") -> SkeletonSequence:
    topology = NTU25 if channels == 3 else COCO17
    rng = np.random.default_rng(3)
    positions = rng.normal(size=(1, 1, len(topology.joints), channels)) * 0.3
    positions = positions + np.arange(frames)[:, None, None, None] * np.array([0.01, 0, 0])[:channels]
    positions[..., -1] += 3.0 if channels == 3 else 0.0
    return SkeletonSequence(
        id="c",
        dataset="s",
        topology=topology,
        positions=positions.astype(np.float32) * (1 if channels == 3 else 200),
        fps=30.0,
        source=SOURCE,
        scale="metric" if channels == 3 else "pixels",
        image_size=None if channels == 3 else (640, 480),
        label=label,
        captions=("a person waves",),
    )


def torso(positions: np.ndarray, seq: SkeletonSequence) -> float:
    """Median distance from shoulder middle to hip middle."""
    at = seq.topology.index
    upper, lower = (
        (positions[..., at[f"left_{j}"], :] + positions[..., at[f"right_{j}"], :]) / 2 for j in ("shoulder", "hip")
    )
    return float(np.median(np.linalg.norm(upper - lower, axis=-1)))


def test_evaluation_takes_middle_frames_and_changes_nothing() -> None:
    seq = sequence()
    clip = clip_input(seq, CFG, None, None)
    assert torch.equal(clip.positions, torch.from_numpy(seq.positions[[3, 11, 19, 27, 35]]))
    # 4 frames of 0.01 m at 30 fps, taken on the original frames; the last one sees the end of the clip.
    assert clip.velocity[:, 0, :, 0].numpy() == pytest.approx(0.04, abs=1e-5)
    assert clip.spec == skeleton_spec(NTU25)


def test_chances_come_from_the_generator_only() -> None:
    seq = sequence()
    draw = [clip_input(seq, CFG, generator(1, visit, "s/c"), ALL) for visit in (0, 0, 1)]
    assert torch.equal(draw[0].positions, draw[1].positions)
    assert torch.equal(draw[0].camera.rotation, draw[1].camera.rotation)
    assert not torch.equal(draw[0].positions, draw[2].positions)
    assert not torch.equal(draw[0].camera.rotation, draw[2].camera.rotation)


def test_frames_differ_between_visits_without_augmentation() -> None:
    seq = sequence()
    one, two = (clip_input(seq, CFG, generator(1, visit, "s/c"), None).positions for visit in (0, 1))
    assert not torch.equal(one, two)


def test_each_change_does_what_it_says() -> None:
    seq, none = sequence(), AugmentConfig()

    def drawn(augment: AugmentConfig):
        return clip_input(seq, CFG, generator(1, 0, "s/c"), augment)

    plain = drawn(none)
    turned = drawn(replace(none, yaw_deg=30))
    assert torch.equal(turned.positions, plain.positions)
    cosine = float((turned.camera.rotation[2] * plain.camera.rotation[2]).sum())
    assert np.cos(np.deg2rad(30)) <= cosine < 1 - 1e-4
    ratio = drawn(replace(none, scale=0.2)).positions / plain.positions
    assert ratio.std() < 1e-4
    assert 0.8 <= float(ratio.mean()) <= 1.2
    assert float(ratio.mean()) != pytest.approx(1, abs=1e-3)
    shaken = (drawn(replace(none, noise_m=0.02)).positions - plain.positions).std()
    assert float(shaken) == pytest.approx(0.02, rel=0.25)


def test_augmentation_without_generator_is_refused() -> None:
    with pytest.raises(ValueError, match="generator"):
        clip_input(sequence(), CFG, None, ALL)


def test_pixels_become_a_plane_in_metres_that_stays_one() -> None:
    seq = sequence(channels=2)
    clip = clip_input(seq, CFG, generator(1, 0, "s/c"), ALL)
    assert clip.positions.shape == (5, 1, 17, 3)
    assert float(clip.positions[..., 2].std()) == pytest.approx(0, abs=1e-6)
    assert torso(metric_positions(seq), seq) == pytest.approx(0.5, rel=1e-3)


def test_normalised_sets_are_brought_to_human_size() -> None:
    seq = sequence()
    small = replace(seq, scale="normalised", positions=seq.positions * np.float32(0.01))
    assert torso(metric_positions(small), small) == pytest.approx(0.5, rel=1e-3)


def test_one_frame_and_missing_joints() -> None:
    seq = sequence(frames=1)
    positions = seq.positions.copy()
    positions[:, :, 5] = np.nan
    clip = clip_input(replace(seq, positions=positions), CFG, generator(1, 0, "s/c"), ALL)
    assert clip.positions[:, :, 5].isnan().all()
    assert (clip.velocity == 0).all()


def question(task: str, positive: bool = True, **changes: object):
    book = TaskBook(LABELS, {"s/c": "The right hand goes up.\nLabel: wave"})
    return book.example(Draw("s/c", 0, task, positive), replace(sequence(), **changes), np.random.default_rng(0))


def test_multiple_choice_lists_seen_labels_in_an_order_of_its_own() -> None:
    book = TaskBook(LABELS, {})
    asked = {book.example(Draw("s/c", 0, "mqa", True), sequence(), generator(1, v, "k")).prompt for v in range(20)}
    assert len(asked) > 5
    for prompt in asked:
        assert sorted(prompt.splitlines()[1:-1]) == sorted(LABELS["s"])


def test_yes_no_asks_the_true_label_or_another_seen_one() -> None:
    yes, no = question("yesno"), question("yesno", positive=False)
    assert (yes.answer, no.answer) == (prompts.YES, prompts.NO)
    assert yes.prompt == prompts.yesno_prompt("wave")
    assert no.prompt in {prompts.yesno_prompt(label) for label in LABELS["s"] if label != "wave"}


def test_rationale_is_the_teachers_and_its_question_names_no_label() -> None:
    found = question("rationale")
    assert found.answer == "The right hand goes up.\nLabel: wave"
    assert not any(label in found.prompt for label in LABELS["s"])
    assert question("caption").answer == "a person waves"
    assert "wave" not in question("caption").prompt


def test_without_material_it_is_multiple_choice() -> None:
    assert TaskBook(LABELS, {}).example(
        Draw("s/c", 0, "rationale", True), sequence(), np.random.default_rng(0)
    ).task == "mqa"  # fmt: skip
    assert question("caption", captions=()).task == "mqa"
    with pytest.raises(ValueError, match="unknown task"):
        question("riddle")
    assert question("mqa", label=None).task == "caption"
    last = question("qa", label=None, captions=())
    assert (last.task, last.answer) == ("qa", "1")
    assert "How many people" in last.prompt


def test_collator_gives_the_same_rows_whoever_builds_them() -> None:
    seen = []

    def tokenize(questions, answers, frames, image_size):
        seen.append((list(questions), list(answers), frames, image_size))

    def batch(draws):
        collator = Collator(lambda key: sequence(), TaskBook(LABELS, {}), tokenize, CFG, ALL, seed=4)
        return collator(draws)

    draws = [Draw("s/c", visit, "mqa", True) for visit in range(4)]
    whole, half = batch(draws), batch(draws[2:])
    assert torch.equal(whole.clips[2].positions, half.clips[0].positions)
    assert seen[0][0][2:] == seen[1][0]
    assert seen[0][2:] == (5, 32)
    assert whole.keys == ("s/c",) * 4
