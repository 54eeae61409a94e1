"""Baselines against scikit-learn's, and what their features do not depend on."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier

from pipelines.scores import baselines
from pipelines.scores.baselines import predict_linear, predict_nearest, score_baselines
from skeleton_io.demo.dataset import DemoConfig, write_demo
from skeleton_io.sources.registry import SOURCES


@pytest.fixture(scope="module")
def clouds():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 30))
    y, truth = rng.integers(0, 4, 120), rng.integers(0, 4, 60)
    train = (centres[y] + 1.2 * rng.normal(size=(120, 30))).astype(np.float32)
    test = (centres[truth] + 1.2 * rng.normal(size=(60, 30))).astype(np.float32)
    return train, y, test, truth


def test_linear_is_ridge_regression(clouds):
    train, y, test, truth = clouds
    penalty = baselines.RIDGE * ((train - train.mean(0)) ** 2).sum() / len(train)
    expected = RidgeClassifier(alpha=penalty).fit(train, y).predict(test)
    found = predict_linear(train, y, test)
    assert (found == expected).all()
    assert (found == truth).mean() > 0.6
    # Fewer clips than features: solved in the other form, with the same result.
    few = RidgeClassifier(alpha=baselines.RIDGE * ((train[:20] - train[:20].mean(0)) ** 2).sum() / 20)
    assert (predict_linear(train[:20], y[:20], test) == few.fit(train[:20], y[:20]).predict(test)).all()


def test_nearest_neighbours(clouds, monkeypatch):
    train, y, test, truth = clouds
    found = predict_nearest(train, y, test)
    expected = KNeighborsClassifier(5).fit(train, y)
    share = expected.predict_proba(test)
    sure = (share == share.max(1, keepdims=True)).sum(1) == 1  # ties are broken by the nearest one here
    assert (found[sure] == expected.predict(test)[sure]).all()
    assert (found == truth).mean() > 0.6
    monkeypatch.setattr(baselines, "_ROWS", 7)
    assert (predict_nearest(train, y, test) == found).all()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, DemoConfig(subjects=2, test_subjects=1, repetitions=1, actions=("wave",), broken=False))
    source = SOURCES["ntu"]
    root = str(folder / "demo_ntu")
    return source.read(root, next(iter(source.list_items(root))), "demo_ntu")[0]


class Store:
    """Clips that are made when they are asked for; counts how many are there at a time."""

    def __init__(self, clip):
        self.clip_, self.alive, self.most = clip, 0, 0

    def meta(self):
        joints = self.clip_.positions.shape[2]
        return pa.table({"dataset": ["s"] * 40, "id": [str(n) for n in range(40)], "J": [joints] * 40})

    def clip(self, key):
        made = replace(self.clip_, positions=self.clip_.positions * np.float32(1 + int(key[2:]) % 2))
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(made, self.gone)
        return made

    def gone(self):
        self.alive -= 1


def test_clips_are_read_one_by_one(clip):
    store, keys = Store(clip), [f"s/{n}" for n in range(40)]
    found = score_baselines(store, keys[:30], keys[30:], {key: str(int(key[2:]) % 2) for key in keys})
    assert all(hits.all() for hits in found.values())
    assert store.most <= 2


def test_features_ignore_where_the_person_stands(clip):
    found = baselines.features(clip, 25)
    assert found.shape == (24 * 2 * 25 * 3,)
    assert np.isfinite(found).all()
    moved = replace(clip, positions=clip.positions + np.float32([1.0, 0.2, -0.5]))
    np.testing.assert_allclose(baselines.features(moved, 25), found, atol=1e-5)
    assert np.abs(found).max() > 0.3


def test_common_features_ignore_place_size_and_the_way_the_person_faces(clip):
    found = baselines.common_features(clip)
    assert found.shape == (24 * 13 * 3,)
    turn = np.float32([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # a quarter about the vertical
    moved = replace(clip, positions=(clip.positions @ turn * 1.7 + np.float32([1.0, 0.2, 3.0])).astype(np.float32))
    np.testing.assert_allclose(baselines.common_features(moved), found, atol=1e-3)
    assert np.abs(found).max() > 0.5


def test_common_features_do_not_depend_on_the_order_of_joints(clip):
    order = np.random.default_rng(0).permutation(25)
    back = np.argsort(order)
    topology = replace(
        clip.topology,
        name="shuffled",
        joints=tuple(clip.topology.joints[i] for i in order),
        bones=tuple((int(back[a]), int(back[b])) for a, b in clip.topology.bones),
    )
    other = replace(clip, topology=topology, positions=np.ascontiguousarray(clip.positions[:, :, order]))
    np.testing.assert_array_equal(baselines.common_features(other), baselines.common_features(clip))
