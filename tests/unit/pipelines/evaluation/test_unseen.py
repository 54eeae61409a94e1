"""Seen and unseen: nothing that goes to a teacher, or comes from it, names a class that the protocol hides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import prompts
from pipelines.config.rationales import ApiTeacherConfig, RationalesConfig
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.rationales.actors import request_of
from pipelines.rationales.stage import questions
from pipelines.rationales.teachers import prompt_files
from pipelines.rationales.teachers.base import TeacherRequest
from pipelines.rationales.teachers.kinematic import KinematicTeacher, leaks
from pipelines.rationales.teachers.openai_api import chat_body
from skeleton_io.protocols.protocol import Protocol
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import NTU25
from skeleton_io.shards import shard_set
from skeleton_io.shards.schema import to_row

SEEN, UNSEEN = ("drink water", "clapping", "sit down"), ("kicking something", "jump up")
ZERO_SHOT = Protocol(name="3/2", field="label", train=SEEN, test=UNSEEN)
OPEN = Protocol(name="open", field="hash", train=tuple("012345678"), test=("9",))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    uri, rng, rows = str(tmp_path_factory.mktemp("shards")), np.random.default_rng(0), []
    body = rng.normal(0, 0.4, (25, 3)) + [0, 1, 3]
    for k in range(40):
        label = (*SEEN, *UNSEEN)[k % 5]
        positions = body + rng.normal(0, 0.06, (20, 25, 3)).cumsum(0)
        clip = SkeletonSequence(
            id=f"c{k:02d}",
            dataset="made",
            topology=NTU25,
            positions=positions[:, None].astype(np.float32),
            fps=15.0,
            label=label,
            subject="a",
            source=Source(uri="made", sha256=f"{k:064x}", reader="test", reader_version=1),
        )
        rows.append(to_row(clip))
    info = shard_set.write_shard(shard_set.shard_uri(uri, "made", 0), rows)
    shard_set.write_index(uri, [info], [NTU25], {"made": [ZERO_SHOT, OPEN]}, [], {"made": len(rows)})
    return ClipStore(uri)


def config(protocol: str = "3/2") -> FullConfig:
    asked = RationalesConfig(teacher="openai_api", blind_samples=2, api=ApiTeacherConfig(model="m"))
    cfg = FullConfig()
    return replace(cfg, rationales=asked, data=replace(cfg.data, protocols={"made": protocol}))


def sent(cfg: FullConfig, store: ClipStore) -> list[str]:
    """Every request as the server gets it."""
    asked = [dict(row) for row in questions(cfg, store)]
    return [json.dumps(chat_body(cfg.rationales.api, request_of(row, store), structured=True)) for row in asked]


def test_no_request_names_an_unseen_class(store: ClipStore):
    texts = sent(config(), store)
    assert len(texts) > 20
    assert not [text for text in texts for label in UNSEEN if leaks(text, label)]
    assert {label for text in texts for label in SEEN if leaks(text, label)} == set(SEEN)


def test_no_clip_of_an_unseen_class_is_asked_about(store: ClipStore):
    labels = store.labels()
    assert {labels[row["clip"]] for row in questions(config(), store)} == set(SEEN)


def test_no_rationale_names_an_unseen_class(store: ClipStore):
    teacher = KinematicTeacher()
    for row in questions(config(), store):
        told = teacher.explain(TeacherRequest(sequence=store.clip(row["clip"]), label=row["label"]))
        assert not [label for label in UNSEEN if leaks(told.text, label)]


def test_blind_questions_do_not_tell_the_label_apart(store: ClipStore):
    """All seen classes are listed, in an order that says nothing."""
    rows = [row for row in questions(config(), store) if row["purpose"] == "blind"]
    assert {row["candidates"] for row in rows} == {json.dumps(sorted(SEEN))}
    assert all(request_of(row, store).label is None for row in rows)


def test_prompt_files_hold_no_class_of_any_set():
    folder = Path(prompt_files.__file__).parent / "prompts"
    texts = [file.read_text() for file in folder.glob("*.md")]
    assert texts
    assert not [label for text in texts for label in (*SEEN, *UNSEEN, "wave", "throw") if leaks(text, label)]


def test_the_students_prompt_never_holds_the_label():
    assert not [label for label in (*SEEN, *UNSEEN) if leaks(prompts.rationale_prompt(), label)]


def test_another_protocol_tells_them(store: ClipStore):
    """The tests above can fail: without the zero-shot protocol the same clips name every class."""
    texts = sent(config("open"), store)
    assert {label for text in texts for label in UNSEEN if leaks(text, label)} == set(UNSEEN)
