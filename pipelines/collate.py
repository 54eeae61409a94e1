"""One clip of the record -> what the renderer draws; a batch of draws -> renderer inputs and token rows.

Turns a topology into the models' spec, lifts 2D, takes velocity on the original frames, chooses frames, augments and
places the camera. All chances come from the generator that is handed in, so the result does not depend on the number of
workers. Chooses no clips and writes no prompts: `sampler` and `tasks` do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from models.config import RendererConfig
from models.draction.camera import Camera, clip_camera
from models.draction.frames import select_frames, velocity
from models.draction.lift import lift_2d, metric_scale
from models.draction.renderer import ClipInput
from models.draction.template import SkeletonSpec
from models.mllm.base import TextBatch
from pipelines.config import AugmentConfig
from pipelines.lengths import cut, fitting_micro_batch
from pipelines.sampler import Draw, generator
from pipelines.tasks import Example, TaskBook
from skeleton_io.sequence import SkeletonSequence
from skeleton_io.topology import Topology


@lru_cache(maxsize=256)
def skeleton_spec(topology: Topology) -> SkeletonSpec:
    """The models' view of a topology."""
    meanings = topology.meanings
    return SkeletonSpec(
        name=topology.name,
        joint_names=topology.joints,
        bones=topology.bones,
        side=tuple(m.side for m in meanings),
        limb=tuple(m.limb for m in meanings),
        order=tuple(m.order for m in meanings),
    )


def metric_positions(seq: SkeletonSequence) -> NDArray[np.float32]:
    """(T, P, J, 3) metres: 2D on a plane before the sensor, normalised 3D brought to human size."""
    if seq.scale == "metric" and seq.positions.shape[-1] == 3:
        return seq.positions
    spec, positions = skeleton_spec(seq.topology), torch.from_numpy(np.array(seq.positions))
    if positions.shape[-1] == 2:
        return lift_2d(positions, spec).numpy()
    return (positions * metric_scale(positions, spec)).numpy()


def cropped(frames: int, share: float, rng: np.random.Generator) -> slice:
    """A random stretch that leaves out at most `share` of the frames, at least one frame long."""
    kept = max(1, round(frames * (1 - share * rng.random())))
    start = int(rng.integers(0, frames - kept + 1))
    return slice(start, start + kept)


def camera_for(positions: torch.Tensor, spec: SkeletonSpec, cfg: RendererConfig, yaw: float) -> Camera:
    """The camera that the configuration asks for, with a pose for each of its views; yaw in radians."""
    return clip_camera(positions, spec, cfg, yaw)


def clip_input(
    seq: SkeletonSequence,
    cfg: RendererConfig,
    frame_rng: np.random.Generator | None,
    augment: AugmentConfig | None,
) -> ClipInput:
    """One clip, ready to draw.

    Args:
        seq: the clip.
        cfg: number of frames, velocity stride, camera.
        frame_rng: draws frames and augmentation (training); None takes the middle frame of each segment.
        augment: random changes; needs `frame_rng`.

    Returns:
        positions and velocity (M, P, J, 3), metres and metres over the stride, with M = cfg.moments: F where there
        is one view.

    Raises:
        ValueError: augmentation without a generator.
    """
    spec, positions = skeleton_spec(seq.topology), metric_positions(seq)
    yaw, noise, kept = 0.0, 0.0, slice(0, seq.frames)
    if augment is not None:
        if frame_rng is None:
            raise ValueError("clip_input: augmentation needs a generator")
        # Always the same draws in the same order: switching one change off leaves the others as they were.
        yaw = np.deg2rad(augment.yaw_deg) * frame_rng.uniform(-1, 1)
        positions = positions * np.float32(1 + augment.scale * frame_rng.uniform(-1, 1))
        kept, noise = cropped(seq.frames, augment.crop, frame_rng), augment.noise_m
    moved = velocity(positions, seq.fps, cfg.velocity_stride_s, seq.timestamps)[kept]
    positions = positions[kept]
    camera = camera_for(torch.from_numpy(np.ascontiguousarray(positions)), spec, cfg, float(yaw))
    chosen = select_frames(len(positions), cfg.moments, frame_rng)
    drawn = positions[chosen]
    if noise and frame_rng is not None:
        shaken = frame_rng.standard_normal(drawn.shape, dtype=np.float32) * np.float32(noise)
        shaken[..., seq.positions.shape[-1] :] = 0  # a lifted clip stays a plane
        drawn = drawn + shaken
    return ClipInput(spec, torch.from_numpy(drawn), torch.from_numpy(moved[chosen]), camera)


def on_device(clip: ClipInput, device: torch.device) -> ClipInput:
    """The clip with its tensors on `device`; the renderer draws where the positions are."""
    return dataclasses.replace(clip, positions=clip.positions.to(device), velocity=clip.velocity.to(device))


@dataclass(frozen=True, eq=False)
class Batch:
    """B clips with their questions.

    Attributes:
        keys: of the clips.
        tasks: name of each row's task.
        wanted: name of the task that each row's draw wanted first.
        clips: renderer inputs.
        text: token rows with answers.
    """

    keys: tuple[str, ...]
    tasks: tuple[str, ...]
    wanted: tuple[str, ...]
    clips: list[ClipInput]
    text: TextBatch

    def rows(self, chosen: Sequence[int]) -> Batch:
        """Some of the clips, in the order asked for, their token rows cut to the longest of them."""
        keys, tasks, wanted = (tuple(row[i] for i in chosen) for row in (self.keys, self.tasks, self.wanted))
        return Batch(keys, tasks, wanted, [self.clips[i] for i in chosen], self.text.rows(chosen))

    def to(self, device: torch.device) -> Batch:
        """The same batch with positions, velocity and tokens on `device`."""
        if device.type == "cpu":
            return self
        return dataclasses.replace(self, clips=[on_device(c, device) for c in self.clips], text=self.text.to(device))


Tokenize = Callable[[Sequence[str], Sequence[str], int, int], TextBatch]


class Collator:
    """Draws of one rank -> micro batches. Used from a background thread: touches no weights.

    Args:
        clip: key -> clip.
        book: writes question and answer of a draw.
        tokenize: prompts, answers, frames, image size -> token rows.
        cfg: how clips are drawn.
        augment: random changes to the clips.
        seed: of the stage.
    """

    def __init__(
        self,
        clip: Callable[[str], SkeletonSequence],
        book: TaskBook,
        tokenize: Tokenize,
        cfg: RendererConfig,
        augment: AugmentConfig,
        seed: int,
    ) -> None:
        self.clip, self.book, self.tokenize = clip, book, tokenize
        self.cfg, self.augment, self.seed = cfg, augment, seed

    def example(self, draw: Draw) -> tuple[ClipInput, Example]:
        """One draw as renderer input and question; each has a generator of its own."""
        seq = self.clip(draw.key)
        drawn = clip_input(seq, self.cfg, generator(self.seed, draw.visit, draw.key, "frames"), self.augment)
        return drawn, self.book.example(draw, seq, generator(self.seed, draw.visit, draw.key, "text"))

    def __call__(self, draws: Sequence[Draw]) -> Batch:
        """All of the draws as one batch, in their order."""
        clips, examples = zip(*(self.example(draw) for draw in draws), strict=True)
        keys, tasks = tuple(d.key for d in draws), tuple(e.task for e in examples)
        return Batch(keys, tasks, tuple(d.wanted or d.task for d in draws), list(clips), self._rows(examples))

    def step(self, draws: Sequence[Draw], micro_batch: int) -> list[Batch]:
        """This rank's clips of a step as micro batches of rows that are about equally long.

        Which clips share a micro batch changes no loss and no gradient: each clip has its own weight in the step.
        """
        whole = self(draws)
        return [whole.rows(group) for group in cut(whole.text.attention_mask.sum(1).tolist(), micro_batch)]

    def micro_batch(self, draws: Sequence[Draw], rows: int, most: int, padding: float) -> int:
        """Clips of a micro batch, at most `most`, that keep the expected share of padding below `padding`.

        draws: some of the stage, the same on each rank. rows: clips of a rank in one step.
        """
        if min(rows, most) < 2:
            return most
        asked = [self.book.example(d, self.clip(d.key), generator(self.seed, d.visit, d.key, "text")) for d in draws]
        return fitting_micro_batch(self._rows(asked).attention_mask.sum(1).tolist(), rows, most, padding)

    def _rows(self, examples: Sequence[Example]) -> TextBatch:
        prompts, answers = [e.prompt for e in examples], [e.answer for e in examples]
        return self.tokenize(prompts, answers, self.cfg.frames, self.cfg.image_size)
