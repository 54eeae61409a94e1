"""Training and test clips -> accuracy of methods that need no model: nearest neighbours and a linear classifier.

Both read joint positions: 24 moments, less the root of the first person, two persons at most, missing joints 0, no
scaling per set (standardising each set by itself drops a transfer below chance). All constants are
fixed in advance. Chooses no clips.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.data.clip_store import ClipStore
from skeleton_io.record.sequence import SkeletonSequence

Floats = NDArray[np.floating]
MOMENTS, PERSONS = 24, 2
NEIGHBOURS = 5
RIDGE = 0.1
"""Weight of the penalty, as a share of the mean squared norm of a clip; chosen on validation clips of five sets."""
MOST_TRAINING_CLIPS = 20_000
"""Of a larger set a sample by hash trains: both methods keep all training clips in memory."""
_ROWS = 512


def features(seq: SkeletonSequence, joints: int) -> Floats:
    """(24 * 2 * joints * C,) float32 of one clip: positions at the middle of each of 24 equal segments.

    Args:
        seq: the clip.
        joints: most joints of a clip of this set; missing ones are 0.
    """
    moments = ((np.arange(MOMENTS) + 0.5) * seq.frames / MOMENTS).astype(int)
    points = np.asarray(seq.positions[moments], dtype=np.float32)
    points = points[:, :PERSONS] - _root(points)
    padded = np.zeros((MOMENTS, PERSONS, joints, points.shape[-1]), dtype=np.float32)
    padded[:, : points.shape[1], : points.shape[2]] = np.nan_to_num(points, nan=0.0)
    return padded.ravel()


def _root(points: Floats) -> Floats:
    """(24, 1, 1, C) mean of the first person's present joints: every topology has one, whatever its root is called."""
    first = points[:, :1]
    there = ~np.isnan(first).any(-1, keepdims=True)
    count = np.maximum(there.sum(2, keepdims=True), 1)
    return np.where(there, first, 0).sum(2, keepdims=True) / count


def predict_nearest(train: Floats, labels: NDArray[np.integer], test: Floats) -> NDArray[np.integer]:
    """Label that most of the 5 nearest training clips have (Euclidean), the nearest one's where several have as many.

    train (N, D), labels (N,), test (M, D) -> (M,).
    """
    squares = (train**2).sum(1)
    predictions = []
    for start in range(0, len(test), _ROWS):
        part = test[start : start + _ROWS]
        # Less |test|^2, which is the same for all training clips and changes no order.
        distance = squares - 2 * part @ train.T
        order = np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]
        for row in labels[order]:
            votes = np.bincount(row)
            predictions.append(next(int(label) for label in row if votes[label] == votes.max()))
    return np.array(predictions, dtype=int)


def predict_linear(train: Floats, labels: NDArray[np.integer], test: Floats) -> NDArray[np.integer]:
    """One-against-all ridge regression on +-1 targets with a bias, closed form; the highest output is the answer.

    train (N, D), labels (N,), test (M, D) -> (M,). Solved in the smaller of N and D.
    """
    mean = train.mean(0, dtype=np.float64)
    # +-1 rather than 0 and 1: the threshold between class and rest is at 0.
    x, y = train - mean, 2.0 * (labels[:, None] == np.arange(labels.max() + 1)) - 1
    bias = y.mean(0)
    # Relative to the size of the features: the same share for metres and for pixels.
    penalty = RIDGE * max((x.astype(np.float64) ** 2).sum() / len(x), 1e-12)
    # The dual form is as exact and inverts the smaller of the two matrices.
    if len(x) <= x.shape[1]:
        gram = x @ x.T + penalty * np.eye(len(x))
        weights = x.T @ np.linalg.solve(gram, y - bias)
    else:
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (y - bias))
    return ((test - mean) @ weights + bias).argmax(1)


METHODS: dict[str, Callable[[Floats, NDArray[np.integer], Floats], NDArray[np.integer]]] = {
    "nearest neighbours": predict_nearest,
    "linear": predict_linear,
}


def score_baselines(
    store: ClipStore, train: Sequence[str], test: Sequence[str], labels: Mapping[str, str]
) -> dict[str, NDArray[np.bool_]]:
    """Method -> (len(test),) whether each test clip is recognised.

    Args:
        store: the clips.
        train: labelled training clips.
        test: labelled test clips.
        labels: key -> label.
    """
    if len(train) > MOST_TRAINING_CLIPS:
        train = sorted(sorted(train, key=lambda k: hashlib.sha256(k.encode()).hexdigest())[:MOST_TRAINING_CLIPS])
    rows = store.meta().select(["dataset", "id", "J"]).to_pylist()
    sizes = {f"{row['dataset']}/{row['id']}": row["J"] for row in rows}
    joints = max(sizes[key] for key in (*train, *test))
    names = {name: i for i, name in enumerate(sorted({labels[key] for key in train}))}
    x, z = (np.stack([features(store.clip(key), joints) for key in keys]) for keys in (train, test))
    y = np.array([names[labels[key]] for key in train])
    # -1 for a label that no training clip has: no prediction can hit it.
    truth = np.array([names.get(labels[key], -1) for key in test])
    return {name: method(x, y, z) == truth for name, method in METHODS.items()}


COMMON = (
    ("head", "head_top", "nose"),
    *((f"{side}_{part}", *more) for side in ("left", "right") for part, *more in (("shoulder",), ("elbow",))),
    ("left_wrist", "left_hand"),
    ("right_wrist", "right_hand"),
    *((f"{side}_{part}",) for side in ("left", "right") for part in ("hip", "knee")),
    ("left_ankle", "left_foot"),
    ("right_ankle", "right_foot"),
)
"""13 points that nearly every topology has, each with the joints that may stand for it."""


def common_features(seq: SkeletonSequence) -> Floats:
    """(24 * 13 * 3,) float32 that clips of any topology share: 13 points of the first person, free of place and size.

    Less the middle of the hips, divided by the median length from there to the middle of the shoulders, turned about
    the vertical so that the shoulders' mean line points along x. A 2D clip has depth 0 and is not turned. What a
    topology lacks is 0.
    """
    moments = ((np.arange(MOMENTS) + 0.5) * seq.frames / MOMENTS).astype(int)
    index = seq.topology.index
    points = np.full((MOMENTS, len(COMMON), 3), np.nan, dtype=np.float32)
    for place, names in enumerate(COMMON):
        joint = next((index[name] for name in names if name in index), None)
        if joint is not None:
            # A picture has two coordinates; its depth becomes 0 below.
            point = seq.positions[moments, 0, joint]
            points[:, place, : point.shape[-1]] = point
            points[:, place, point.shape[-1] :] = 0
    names = [options[0] for options in COMMON]
    sides = [names.index(f"{side}_{part}") for part in ("hip", "shoulder") for side in ("left", "right")]
    hips = np.nan_to_num(points[:, sides[:2]].mean(1, keepdims=True))
    points = points - hips
    # After the hips are the origin, the middle of the shoulders is the chest vector.
    chest = np.linalg.norm(points[:, sides[2:]].mean(1), axis=-1)
    points /= max(float(np.nanmedian(chest)) if np.isfinite(chest).any() else 1.0, 1e-6)
    # Mean over time: who turns during the clip still has one main direction.
    across = np.nan_to_num(points[:, sides[2]] - points[:, sides[3]]).mean(0)
    if seq.positions.shape[-1] == 3 and np.hypot(across[0], across[2]) > 0:
        cos, sin = np.array([across[0], across[2]]) / np.hypot(across[0], across[2])
        x, z = points[..., 0].copy(), points[..., 2].copy()
        points[..., 0], points[..., 2] = cos * x + sin * z, cos * z - sin * x
    return np.nan_to_num(points).astype(np.float32).ravel()


def score_nearest(
    store: ClipStore, train: Mapping[str, str], test: Mapping[str, str], cache: dict[str, Floats]
) -> NDArray[np.bool_]:
    """Nearest training clip of another set, by `common_features`: whether each test clip, sorted, is recognised.

    Args:
        store: the clips.
        train: key -> label of the training clips.
        test: key -> label, in the training sets' wording.
        cache: key -> features, filled as clips are read.
    """
    for key in (*train, *test):
        if key not in cache:
            cache[key] = common_features(store.clip(key))
    names = {label: i for i, label in enumerate(sorted(set(train.values())))}
    keys = sorted(train)
    x = np.stack([cache[key] for key in keys])
    y = np.array([names[train[key]] for key in keys])
    z = np.stack([cache[key] for key in sorted(test)])
    squares, predictions = (x**2).sum(1), []
    for start in range(0, len(z), _ROWS):
        predictions.append(y[(squares - 2 * z[start : start + _ROWS] @ x.T).argmin(1)])
    return np.concatenate(predictions) == np.array([names.get(test[key], -1) for key in sorted(test)])
