"""Micro batches by length: few padded tokens on the real mix of tasks, no clip lost, the same on every rank."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import MLLMConfig, TinyMLLMConfig
from models.mllm.hf import load_encoder
from models.mllm.tiny import write_tiny_checkpoint
from models.prompts import prompt_corpus
from pipelines.batches.lengths import SAMPLED, count_parts, cut, fitting_micro_batch, padding_share
from pipelines.batches.sampler import Draw, Sampler, generator, take_share
from pipelines.batches.tasks.book import TaskBook
from pipelines.rationales.teachers.base import TeacherRequest
from pipelines.rationales.teachers.kinematic import KinematicTeacher
from skeleton_io.demo.dataset import DemoConfig, write_demo
from skeleton_io.sources.registry import resolve

MIX = {"mqa": 1.0, "yesno": 1.0, "rationale": 1.0, "caption": 1.0}
ROWS = st.lists(st.integers(1, 400), min_size=1, max_size=12)


@given(ROWS, st.integers(1, 12))
def test_every_row_is_in_one_micro_batch(lengths: list[int], micro: int):
    groups = cut(lengths, micro)
    assert sorted(itertools.chain(*groups)) == list(range(len(lengths)))
    assert len(groups) == count_parts(len(lengths), micro)
    assert all(0 < len(group) <= micro for group in groups)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.integers(1, 4))
def test_no_split_of_the_rows_has_less_padding(lengths: list[int], micro: int):
    """Against every assignment of rows to as many micro batches."""
    parts = count_parts(len(lengths), micro)
    splits = []
    for owner in itertools.product(range(parts), repeat=len(lengths)):
        groups = [[i for i, o in enumerate(owner) if o == part] for part in range(parts)]
        if all(0 < len(group) <= micro for group in groups):
            splits.append(padding_share(lengths, groups))
    best = min(splits)
    assert padding_share(lengths, cut(lengths, micro)) == pytest.approx(best)


@pytest.fixture(scope="module")
def row_lengths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sampler, Callable[[Draw], int]]:
    """(sampler, draw -> tokens of its row) of two demo sets with rationales and captions, tiny InternVL, 8 frames."""
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, DemoConfig(subjects=4, test_subjects=1, repetitions=1, broken=False))
    clips = {}
    for name in ("ntu", "coco17"):
        _, source = resolve(f"demo_{name}:{name}")
        root = str(folder / f"demo_{name}")
        clips |= {s.key: s for item in source.list_items(root) for s in source.read(root, item, "demo")}
    teacher = KinematicTeacher()
    told = {key: teacher.explain(TeacherRequest(sequence=s, label=s.label)) for key, s in clips.items()}
    clips = {key: replace(s, captions=(told[key].summary,)) for key, s in clips.items()}
    labels = {"demo": sorted({s.label for s in clips.values()})}
    texts = [*prompt_corpus(labels["demo"]), *(t.text for t in told.values())]
    write_tiny_checkpoint(folder / "mllm", "internvl", TinyMLLMConfig(), texts, 96, 0)
    _, _, encoder = load_encoder(folder / "mllm", MLLMConfig())
    book = TaskBook(labels, {key: t.text for key, t in told.items()})

    def length(draw: Draw) -> int:
        asked = book.example(draw, clips[draw.key], generator(0, draw.visit, draw.key, "text"))
        return int(encoder([asked.prompt], [asked.answer], 8, 96).attention_mask.sum())

    return Sampler({"demo": list(clips)}, MIX, 1.0), length


# The demo's own settings (8 clips over 2 workers), more of both, and the paper's.
@pytest.mark.parametrize(("batch", "world", "micro"), [(8, 2, 8), (16, 2, 8), (16, 1, 8), (64, 2, 8), (4, 2, 2)])
def test_padding_stays_below_fifteen_percent(
    row_lengths: tuple[Sampler, Callable[[Draw], int]], batch: int, world: int, micro: int
):
    sampler, length = row_lengths
    some = [length(draw) for draw in sampler.batch(0, 0, 0, SAMPLED)]
    size = fitting_micro_batch(some, batch // world, micro, 0.15)
    read = padded = 0
    for number in range(24):
        epoch, step = sampler.place(number, batch)
        draws = sampler.batch(0, epoch, step, batch)
        for rank in range(world):
            lengths = [length(draw) for draw in take_share(draws, rank, world)]
            groups = cut(lengths, size)
            read += sum(lengths)
            padded += sum(len(g) * max(lengths[i] for i in g) for g in groups)
    print(f"{batch} clips, {world} ranks, {micro} -> {size}: padding {1 - read / padded:.3f}")
    assert 1 - read / padded < 0.15


def test_rows_of_one_length_keep_the_micro_batch():
    assert fitting_micro_batch([100] * 20, 16, 8, 0.15) == 8
    assert fitting_micro_batch([100, 1000], 2, 8, 0.0) == 1
    assert fitting_micro_batch(np.arange(100, 164).tolist(), 64, 8, 0.15) == 8
