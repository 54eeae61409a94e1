"""One clip of the record -> what the renderer draws; a batch of draws -> renderer inputs and token rows.

Turns a topology into the models' spec, lifts 2D, takes velocity on the original frames, chooses frames, augments and
places the camera. All chances come from the generator that is handed in, so the result does not depend on the number of
workers. Chooses no clips and writes no prompts: `sampler` and `tasks` do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from models.config import RendererConfig
from models.draction.renderer import ClipInput
from models.mllm.base import TextBatch
from pipelines.batches.lengths import cut, fitting_micro_batch
from pipelines.batches.sampler import Draw, generator
from pipelines.batches.tasks.base import Example
from pipelines.batches.tasks.book import TaskBook
from pipelines.config.train import AugmentConfig
from pipelines.data.renderer_input import clip_input, on_device
from skeleton_io.record.sequence import SkeletonSequence


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

    def rows(self, places: Sequence[int]) -> Batch:
        """Some of the clips, in the order asked for, their token rows cut to the longest of them."""
        keys, tasks, wanted = (tuple(row[i] for i in places) for row in (self.keys, self.tasks, self.wanted))
        return Batch(keys, tasks, wanted, [self.clips[i] for i in places], self.text.rows(places))

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
        shown = clip_input(seq, self.cfg, generator(self.seed, draw.visit, draw.key, "frames"), self.augment)
        return shown, self.book.example(draw, seq, generator(self.seed, draw.visit, draw.key, "text"))

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
        examples = [self.book.example(d, self.clip(d.key), generator(self.seed, d.visit, d.key, "text")) for d in draws]
        return fitting_micro_batch(self._rows(examples).attention_mask.sum(1).tolist(), rows, most, padding)

    def _rows(self, examples: Sequence[Example]) -> TextBatch:
        prompts, answers = [e.prompt for e in examples], [e.answer for e in examples]
        return self.tokenize(prompts, answers, self.cfg.frames, self.cfg.image_size)
