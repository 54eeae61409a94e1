"""What is asked about which clip: under keys that stay, and without naming a class that the protocol hides."""

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
from pipelines.rationales.stage import list_tasks
from pipelines.rationales.teachers import prompt_files
from pipelines.rationales.teachers.base import TeacherRequest
from pipelines.rationales.teachers.kinematic import KinematicTeacher, leaks
from pipelines.rationales.teachers.openai_api import chat_body
from pipelines.runtime.digest import digest
from pipelines.runtime.errors import UserError
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
    requests = [request_of(task, store) for task in list_tasks(cfg, store)]
    return [json.dumps(chat_body(cfg.rationales.api, request, structured=True)) for request in requests]


def test_no_request_names_an_unseen_class(store: ClipStore):
    texts = sent(config(), store)
    assert len(texts) > 20
    assert not [text for text in texts for label in UNSEEN if leaks(text, label)]
    assert {label for text in texts for label in SEEN if leaks(text, label)} == set(SEEN)


def test_no_clip_of_an_unseen_class_is_asked_about(store: ClipStore):
    labels = store.labels()
    assert {labels[task.clip] for task in list_tasks(config(), store)} == set(SEEN)


def test_no_rationale_names_an_unseen_class(store: ClipStore):
    teacher = KinematicTeacher()
    for task in list_tasks(config(), store):
        rationale = teacher.explain(TeacherRequest(sequence=store.clip(task.clip), label=task.label))
        assert not [label for label in UNSEEN if leaks(rationale.text, label)]


def test_blind_questions_do_not_tell_the_label_apart(store: ClipStore):
    """All seen classes are listed, in an order that says nothing."""
    blind = [task for task in list_tasks(config(), store) if task.purpose == "blind"]
    assert {task.candidates for task in blind} == {tuple(sorted(SEEN))}
    assert all(request_of(task, store).label is None for task in blind)


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


@pytest.mark.parametrize(
    ("teacher", "keys"),
    [
        ("kinematic", "e86526e4239ecc9c"),
        ("openai_api", "3eb280a46d620473"),
        ("openai_batch", "3eb280a46d620473"),
        ("vllm", "579303962e794eb3"),
    ],
)
def test_the_keys_of_paid_answers_stay(store: ClipStore, teacher: str, keys: str):
    """Another key is another question: every ledger there is would be paid for once more."""
    cfg = config()
    cfg = replace(cfg, rationales=replace(cfg.rationales, teacher=teacher))
    assert digest([task.key for task in list_tasks(cfg, store)]) == keys


def test_an_unknown_teacher_is_named_beside_the_known(store: ClipStore):
    cfg = replace(config(), rationales=RationalesConfig(teacher="oracle"))
    with pytest.raises(UserError, match="no teacher 'oracle'; there is kinematic, openai_api, openai_batch, vllm"):
        list_tasks(cfg, store)
