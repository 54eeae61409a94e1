"""An export that an earlier version wrote: known as it was then, and loaded with equal answers.

The asset was written by revision 6229dae, before the modules moved into rooms: 240 steps of Adam on the two clips below
(a tiny InternVL, every optional part of the renderer switched on), adapters merged by that version's own export, and
`answers.json` from that version's own loading.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.prompts import caption_prompt, mqa_prompt
from pipelines.data.renderer_input import clip_input
from pipelines.exports.find import find_export, identity
from pipelines.exports.packaging import package, standalone
from pipelines.exports.store import load_model
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import TOPOLOGIES

FORMULA = Source(uri="formula", sha256="0" * 64, reader="formula", reader_version=1)


@pytest.fixture
def asset(repo_root: Path) -> Path:
    return repo_root / "tests" / "assets" / "export_before_the_move"


@pytest.fixture
def answers(asset: Path) -> dict[str, Any]:
    return json.loads((asset / "answers.json").read_text())


def formula_clip(name: str, topology: str, shape: tuple[int, int, int], turn: int, **extra: Any) -> SkeletonSequence:
    """Multiples of 1/16 with a gap: every machine has the same numbers."""
    frames, persons, axes = shape
    t, p, j, c = np.ogrid[:frames, :persons, : len(TOPOLOGIES[topology].joints), :axes]
    steps = (t * turn + p * 19 + j * (7 + 4 * c) + c * 5) % 32
    positions = (steps / 16 + p).astype(np.float32)
    positions[1, 0, 2] = np.nan
    if axes == 2:
        positions *= 256
    return SkeletonSequence(
        id=name,
        dataset="formula",
        topology=TOPOLOGIES[topology],
        positions=positions,
        fps=25.0,
        source=FORMULA,
        **extra,
    )


CLIPS = (
    formula_clip("space", "ntu25", (12, 2, 3), turn=1),
    formula_clip("image", "coco17", (9, 1, 2), turn=3, scale="pixels", image_size=(1024, 1024)),
)


def test_an_export_of_before_the_move_is_known_as_it_was(asset, answers):
    assert find_export(str(asset)) == str(asset / "export")
    assert identity(str(asset / "export")) == answers["identity"]


def test_an_export_of_before_the_move_gives_equal_answers(asset, answers):
    model, cfg, labels = load_model(str(asset / "export"))
    model.eval()
    assert labels == {"formula": tuple(answers["labels"])}
    question = mqa_prompt(answers["labels"])
    for clip in CLIPS:
        before, drawn = answers["clips"][clip.id], clip_input(clip, cfg.renderer, None, None)
        with torch.no_grad():
            frames = model.renderer([drawn])
        assert float(frames.double().mean()) == pytest.approx(before["brightness"], rel=1e-5)
        assert float(frames.max()) == pytest.approx(before["brightest"], rel=1e-5)
        scores = model.score_candidates([drawn], [question], [answers["labels"]])[0]
        # Sums of float32: another CPU or number of threads moves them by 3e-6 of their size, in revision 6229dae too.
        assert scores.log_prob.tolist() == pytest.approx(before["log_prob"], rel=1e-5, abs=1e-5)
        assert scores.tokens.tolist() == before["tokens"]
        assert model.generate([drawn], [question], 12) == [before["chosen"]]
        assert model.generate([drawn], [caption_prompt()], 12) == [before["said"]]


def test_export_model_takes_an_export_of_before_the_move(asset, answers, tmp_path):
    run = shutil.copytree(asset, tmp_path / "run")
    package.write_package(str(run), str(tmp_path / "out"))
    model = standalone.SkeletonLLM.from_pretrained(tmp_path / "out")
    for clip in CLIPS:
        before = answers["clips"][clip.id]
        table = {"positions": clip.positions, "fps": clip.fps, "topology": clip.topology.name, "scale": clip.scale}
        assert model.answer(table, mqa_prompt(answers["labels"]), 12) == before["chosen"]
        assert model.describe(table, 12) == before["said"]
        shares = model.classify(table, answers["labels"])
        means = np.array(before["log_prob"]) / before["tokens"]
        expected = np.exp(means) / np.exp(means).sum()
        assert [shares[label] for label in answers["labels"]] == pytest.approx(expected.tolist(), abs=1e-5)
