"""selection and datasource: who may train, and that test clips never leak into another part."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.runtime.errors import UserError
from skeleton_io.protocols.protocol import HASHED, Protocol
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import SBU15
from skeleton_io.shards import schema, shard_set

BY_SUBJECT = Protocol(name="by-subject", field="subject", train=("1", "2"), test=("3",), exclude=("c011",))
BY_VIEW = Protocol(name="by-view", field="view", train=("1",), test=("9",))


def clip(number: int) -> SkeletonSequence:
    """Subjects 1, 2, 3 in turn; clip 5 has no label; "rare" occurs on the test side only."""
    labels = ("wave", "sit down", "rare") if number % 3 == 2 else ("wave", "sit down")
    rng = np.random.default_rng(number)
    return SkeletonSequence(
        id=f"c{number:03d}",
        dataset="made_up",
        topology=SBU15,
        positions=rng.normal(size=(4, 1, 15, 3)).astype(np.float32),
        fps=30,
        source=Source(uri=f"{number}.txt", sha256="00", reader="made", reader_version=1),
        label=None if number == 5 else labels[number % len(labels)],
        subject=str(number % 3 + 1),
        view="1",
    )


def write(folder: Path, count: int = 60, protocols: tuple[Protocol, ...] = (BY_SUBJECT, BY_VIEW)) -> ClipStore:
    clips = {f"c{n:03d}": clip(n) for n in range(count)}
    infos = [
        shard_set.write_shard(shard_set.shard_uri(str(folder), "made_up", n), [schema.to_row(clips[i]) for i in block])
        for n, block in enumerate(shard_set.plan(clips, 25))
    ]
    shard_set.write_index(str(folder), infos, [SBU15], {"made_up": protocols}, [], {"made_up": count})
    return ClipStore(str(folder))


def config(share: float = 0.1, protocol: str = "", seed: int = 0) -> FullConfig:
    cfg = FullConfig()
    named = {"made_up": protocol} if protocol else {}
    return replace(cfg, seed=seed, data=replace(cfg.data, validation_share=share, protocols=named))


def test_parts_are_disjoint_and_follow_the_protocol(tmp_path: Path) -> None:
    store = write(tmp_path)
    found = select(config(), store)
    train, validation, test = (set(getattr(found, part)["made_up"]) for part in ("train", "validation", "test"))
    assert not train & validation
    assert not (train | validation) & test
    subject = {f"made_up/c{n:03d}": n % 3 + 1 for n in range(60)}
    left_out = {"made_up/c005", "made_up/c011"}
    assert train | validation == {key for key, number in subject.items() if number != 3 and key not in left_out}
    assert test == {key for key, number in subject.items() if number == 3 and key not in left_out}
    assert len(validation) == 4  # a tenth of 40
    assert list(found.train["made_up"]) == sorted(train)


def test_clips_without_a_label_are_kept_apart(tmp_path: Path) -> None:
    found = select(config(), write(tmp_path))
    assert found.unlabelled_test == {"made_up": ("made_up/c005",)}  # subject 3
    assert found.unlabelled_train == found.unlabelled_validation == {"made_up": ()}


def test_a_set_without_labels_needs_a_training_side_only(tmp_path: Path) -> None:
    clips = [replace(clip(n), label=None, captions=("a person moves",)) for n in range(20)]
    infos = [shard_set.write_shard(shard_set.shard_uri(str(tmp_path), "made_up", 0), [schema.to_row(c) for c in clips])]
    shard_set.write_index(str(tmp_path), infos, [SBU15], {"made_up": (BY_SUBJECT, BY_VIEW)}, [], {"made_up": 20})
    found = select(config(), ClipStore(str(tmp_path)))
    assert found.train == found.test == found.labels == {"made_up": ()}
    parts = [found.unlabelled_train, found.unlabelled_validation, found.unlabelled_test]
    keys = [set(part["made_up"]) for part in parts]
    assert [len(part) for part in keys] == [13, 1, 5]  # c011, subject 3, is left out
    assert len(set.union(*keys)) == 19
    nowhere = Protocol(name="nowhere", field="view", train=("7",), test=("1",))
    shard_set.write_index(str(tmp_path), infos, [SBU15], {"made_up": (nowhere,)}, [], {"made_up": 20})
    with pytest.raises(UserError, match="none of 20 clips without labels is on the train side"):
        select(config(), ClipStore(str(tmp_path)))


def test_labels_are_those_of_the_training_side(tmp_path: Path) -> None:
    assert select(config(), write(tmp_path)).labels == {"made_up": ("sit down", "wave")}


def test_validation_does_not_depend_on_the_seed_but_on_the_share(tmp_path: Path) -> None:
    store = write(tmp_path)
    assert select(config(seed=1), store) == select(config(seed=2), store)
    assert not select(config(share=0.0), store).validation["made_up"]
    small, large = (set(select(config(share=share), store).validation["made_up"]) for share in (0.1, 0.3))
    assert small < large


def test_wrong_names_and_empty_sides_are_told(tmp_path: Path) -> None:
    store = write(tmp_path)
    with pytest.raises(UserError, match="by-subject, by-view"):
        select(config(protocol="by-moon"), store)
    with pytest.raises(UserError, match=r"by-view.*none of 59 labelled clips is on the test side.*9"):
        select(config(protocol="by-view"), store)
    cfg = config()
    with pytest.raises(UserError, match=r"data.protocols names other; the shards hold made_up"):
        select(replace(cfg, data=replace(cfg.data, protocols={"other": "x"})), store)


def test_store_reads_clips_in_another_process(tmp_path: Path) -> None:
    store = write(tmp_path)
    again = pickle.loads(pickle.dumps(store))
    assert len(pickle.dumps(store)) < 1000
    assert again.keys == store.keys
    assert len(again) == 60
    assert "made_up/c007" in again
    assert again.clip("made_up/c007").positions.tobytes() == clip(7).positions.tobytes()
    assert again.labels()["made_up/c007"] == clip(7).label
    assert "made_up/c005" not in again.labels()


def test_digest_follows_content(tmp_path: Path) -> None:
    one, same = write(tmp_path / "a"), write(tmp_path / "b")
    other, rule = write(tmp_path / "c", count=59), write(tmp_path / "d", protocols=(HASHED,))
    assert one.digest == same.digest
    assert len({one.digest, other.digest, rule.digest}) == 3


def test_missing_shard_set_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ingest did not finish"):
        ClipStore(str(tmp_path / "nothing"))
