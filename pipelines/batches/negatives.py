"""Labels seen in training + a miner -> for each label the wrong ones that yes/no questions ask about, with chances.

A miner gives scores, filters take out what would be no wrong answer, and the result is one table per stage that every
rank reads: `negatives.json` beside the stage's metrics. Runs no model: `training.confusions` does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.batches.label_meaning import likeness, same_meaning
from pipelines.config.stages import NegativesConfig
from pipelines.runtime.errors import UserError
from skeleton_io import storage, strict_yaml

Scores = NDArray[np.float64]
Table = Mapping[str, Mapping[str, float]]
"""Label -> other label -> chance; a label's chances add up to 1, or it has none."""
NEGATIVES_FILE = "negatives.json"
VERSION = 1
SHARPNESS = 4.0
"""Of the wording: a label that is worded the same would be exp(4) times as likely as one with no letters in common."""
FLOOR = 0.02
"""Share of the evenly drawn negatives beside the model's own confusions: what it never confuses is asked too."""
_ROUNDS = 200


@dataclass(frozen=True)
class UserList:
    """A user's file.

    Attributes:
        negatives: label -> its wrong labels.
        same: groups of labels that mean the same.
    """

    negatives: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    same: tuple[frozenset[str], ...] = ()


@dataclass(frozen=True)
class MinerInputs:
    """What miners draw on, for one set.

    Attributes:
        listed: the user's file.
        confusions: label -> other label -> mean probability that the model gives it on training clips.
    """

    listed: UserList = field(default_factory=UserList)
    confusions: Table = field(default_factory=dict)


Miner = Callable[[Sequence[str], MinerInputs], Scores]


def by_chance(labels: Sequence[str], inputs: MinerInputs) -> Scores:
    """(L, L) ones: every other label is as likely."""
    return np.ones((len(labels), len(labels)))


def by_wording(labels: Sequence[str], inputs: MinerInputs) -> Scores:
    """(L, L) likelier where the wording is alike: hard negatives without a model (arXiv 2603.18003, section 3.3)."""
    return np.exp(SHARPNESS * np.array([[likeness(one, other) for other in labels] for one in labels]))


def by_confusion(labels: Sequence[str], inputs: MinerInputs) -> Scores:
    """(L, L) what the model takes each label's training clips for; by wording for a label that has no clip scored."""
    scores = by_wording(labels, inputs)
    for row, label in enumerate(labels):
        if label in inputs.confusions:
            chances = inputs.confusions[label]
            scores[row] = [chances.get(other, 0.0) for other in labels]
            scores[row, row] = 0.0
            total = scores[row].sum()
            scores[row] = scores[row] / total + FLOOR / len(labels) if total > 0 else 1.0
    return scores


def by_list(labels: Sequence[str], inputs: MinerInputs) -> Scores:
    """(L, L) ones where the user's list has the pair; by wording for a label without one of this set in its list."""
    scores = by_wording(labels, inputs)
    for row, label in enumerate(labels):
        pairs = inputs.listed.negatives.get(label, ())
        own = np.array([other in pairs and other != label for other in labels])
        if own.any():
            scores[row] = own
    return scores


MINERS: dict[str, Miner] = {
    "random": by_chance,
    "similar": by_wording,
    "confusions": by_confusion,
    "list": by_list,
}


def read_list(uri: str, known: Iterable[str]) -> UserList:
    """A user's file of negatives and groups; empty where there is no URI.

    Args:
        uri: YAML with `negatives`, `same`, or both.
        known: every label of every set, seen or not: a list may be written for all splits at once.

    Raises:
        UserError: no such file, another layout, or a label that no set has.
    """
    if not uri:
        return UserList()
    try:
        data = strict_yaml.parse(storage.read_text(uri)) or {}
    except FileNotFoundError:
        raise UserError(f"train.negatives.file: no file at {uri}") from None
    except ValueError as error:
        raise UserError(f"{uri}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict) or set(data) - {"negatives", "same"}:
        keys = ", ".join(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise UserError(f"{uri}: expected the keys negatives and same, found {keys}")
    rows = data.get("negatives", {})
    groups = data.get("same", [])
    if not isinstance(rows, dict) or not all(_texts(row) for row in rows.values()):
        raise UserError(f"{uri}: negatives: expected a list of labels for each label")
    if not isinstance(groups, list) or not all(_texts(group) for group in groups):
        raise UserError(f"{uri}: same: expected a list of lists of labels")
    names = sorted(set(known))
    for label in [*rows, *(name for part in (*rows.values(), *groups) for name in part)]:
        if label not in names:
            close = get_close_matches(str(label), names, 1)
            raise UserError(f"{uri}: no set has the label {label!r}" + (f"; is it {close[0]!r}?" if close else ""))
    return UserList({k: tuple(v) for k, v in rows.items()}, tuple(frozenset(group) for group in groups))


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def allowed_pairs(labels: Sequence[str], same: Iterable[frozenset[str]], synonyms: bool) -> NDArray[np.bool_]:
    """(L, L) whether a clip of the row's label may be asked about the column's as a wrong one."""

    def wrong(one: str, other: str) -> bool:
        if one == other or any(one in group and other in group for group in same):
            return False
        return not (synonyms and same_meaning(one, other))

    return np.array([[wrong(one, other) for other in labels] for one in labels], dtype=bool)


def even_out(chances: Scores, clips: Sequence[int]) -> Scores:
    """Chances that ask about each label as often as it is the right one, as nearly as their zeros let them.

    Rows and columns are scaled in turn (Sinkhorn and Knopp 1967), so the odds between pairs keep their meaning. Without
    it a label that resembles many others is mostly a wrong one, and its name alone tells the answer.

    Args:
        chances: (L, L), rows add up to 1 or 0.
        clips: (L,) training clips of each label.
    """
    weights = np.array(clips, dtype=float) * (chances.sum(1) > 0)
    if not weights.any():
        return chances
    for _ in range(_ROUNDS):
        columns = weights @ chances
        chances = chances * np.divide(weights, columns, out=np.ones_like(weights), where=(columns > 0) & (weights > 0))
        chances = _rows_to_one(chances)
    return chances


def _rows_to_one(scores: Scores) -> Scores:
    sums = scores.sum(1, keepdims=True)
    return np.divide(scores, sums, out=np.zeros_like(scores), where=sums > 0)


def mine_table(
    cfg: NegativesConfig, miner: str, clips: Mapping[str, int], inputs: MinerInputs
) -> dict[str, dict[str, float]]:
    """The table of one set.

    Args:
        cfg: filters.
        miner: key of `MINERS`.
        clips: label -> number of training clips, for every seen label.
        inputs: what the miner draws on.
    """
    labels = sorted(clips)
    if not labels:
        return {}
    scores = MINERS[miner](labels, inputs) * allowed_pairs(labels, inputs.listed.same, cfg.filter_synonyms)
    if cfg.hardest:
        ranks = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
        scores = np.where(ranks < cfg.hardest, scores, 0.0)
    chances = _rows_to_one(scores)
    if cfg.even_labels:
        chances = even_out(chances, [clips[label] for label in labels])
    return {
        label: {other: float(c) for other, c in zip(labels, chances[row], strict=True) if c > 0}
        for row, label in enumerate(labels)
    }


class Negatives:
    """Draws the wrong label of a yes/no question.

    Args:
        tables: set -> table.
        provenance: how they were made, plain JSON data.
    """

    def __init__(self, tables: Mapping[str, Table], provenance: Mapping[str, Any]) -> None:
        self.tables, self.provenance = tables, provenance

    def has(self, name: str, label: str) -> bool:
        """Whether a label of a set has any negative."""
        return bool(self.tables[name][label])

    def draw(self, name: str, label: str, rng: np.random.Generator) -> str:
        """A wrong label.

        Raises:
            ValueError: the label has none.
        """
        table = self.tables[name][label]
        if not table:
            raise ValueError(f"yes/no questions need a label beside {label!r} in {name}")
        others, chances = list(table), np.array(list(table.values()))
        return others[int(rng.choice(len(others), p=chances / chances.sum()))]

    def save(self, uri: str) -> None:
        """Writes the tables with their provenance, whole or not at all."""
        data = {"version": VERSION, "provenance": dict(self.provenance), "sets": self.tables}
        storage.write_atomic(uri, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def load_negatives(uri: str) -> Negatives | None:
    """What `Negatives.save` wrote, None where nothing is."""
    if not storage.exists(uri):
        return None
    data = json.loads(storage.read_text(uri))
    return Negatives(data["sets"], data["provenance"])


def build_negatives(
    cfg: NegativesConfig,
    keys: Mapping[str, Sequence[str]],
    labels: Mapping[str, str],
    candidates: Mapping[str, Sequence[str]],
    confusions: Mapping[str, Table] | None = None,
) -> Negatives:
    """The tables of a stage.

    Args:
        cfg: miner and filters.
        keys: set -> keys of the training clips.
        labels: key -> label, of all clips of the shards.
        candidates: set -> labels seen in training.
        confusions: set -> table of `training.confusions`; None: no model yet, and that miner goes by wording.

    Raises:
        UserError: the user's file is missing, of another layout, or names a label that no set has.
    """
    listed = read_list(cfg.file, {*labels.values(), *(label for own in candidates.values() for label in own)})
    miner = "similar" if cfg.miner == "confusions" and confusions is None else cfg.miner
    tables = {}
    for name in sorted(keys):
        count = Counter(labels[key] for key in keys[name])
        clips = {label: count[label] for label in candidates[name]}
        own = confusions[name] if confusions is not None and name in confusions else {}
        tables[name] = mine_table(cfg, miner, clips, MinerInputs(listed, own))
    without = {name: [label for label, own in table.items() if not own] for name, table in tables.items()}
    origin = {
        "miner": miner,
        "wanted": cfg.miner,
        "file": cfg.file,
        "file_sha256": hash_file(cfg.file),
        "without_negatives": {name: own for name, own in without.items() if own},
        "not_seen_in_list": sorted(set(listed.negatives) - {label for own in candidates.values() for label in own}),
    }
    return Negatives(tables, origin)


def hash_file(uri: str) -> str:
    """Hash of a file's bytes; empty where no file is named or none is there."""
    return storage.sha256(storage.read_bytes(uri)) if uri and storage.exists(uri) else ""
