"""Shard set + configuration -> keys of the training, validation and test clips of every set, and the labels to tell.

The one place where a stage learns which clips it may look at. Validation clips are cut from the training side of the
protocol, never from its test side, and do not depend on the run's seed: values tuned on them were chosen on clips that
no later training sees, whatever its seed. Reads metadata only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.config import FullConfig
from pipelines.datasource import ClipStore
from pipelines.errors import UserError
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocol_files import chosen
from skeleton_io.splits import Protocol, assign, validation_split

VALIDATION_SEED = 0


@dataclass(frozen=True)
class Selection:
    """Who trains, who validates and who tests. All keys are sorted; the three parts are disjoint.

    Attributes:
        train: set -> keys.
        validation: set -> keys, cut from the training side.
        test: set -> keys.
        labels: set -> sorted labels seen on the training side (validation included).
        unseen: set -> sorted labels that a zero-shot protocol keeps from training; empty where it hides none.
    """

    train: dict[str, tuple[str, ...]]
    validation: dict[str, tuple[str, ...]]
    test: dict[str, tuple[str, ...]]
    labels: dict[str, tuple[str, ...]]
    unseen: dict[str, tuple[str, ...]]

    def candidates(self, name: str) -> tuple[str, ...]:
        """Closed set of answers for a set's test clips: the unseen labels of a zero-shot protocol, else the seen."""
        return self.unseen[name] or self.labels[name]


def protocol_of(cfg: FullConfig, store: ClipStore, name: str) -> Protocol:
    """The protocol that splits a set.

    Raises:
        UserError: `data.protocols` names none that is known, or a file that holds none.
    """
    try:
        return chosen(store.protocols[name], cfg.data.protocols.get(name))
    except (ValueError, SkeletonFormatError) as error:
        raise UserError(f"data.protocols {name}: {error}") from None


def select(cfg: FullConfig, store: ClipStore) -> Selection:
    """Applies each set's protocol (`data.protocols`, else its default) to its labelled clips.

    Clips without a label, and those that the protocol leaves out, are in no part.

    Raises:
        UserError: a protocol names an unknown set, a set has no such protocol, or one side stays empty.
    """
    named = cfg.data.protocols
    unknown = sorted(set(named) - set(store.sets))
    if unknown:
        raise UserError(f"data.protocols names {', '.join(unknown)}; the shards hold {', '.join(store.sets)}")
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in store.sets}
    columns = ["id", "dataset", "label", "subject", "view", "setup", "repetition"]
    for row in store.meta().select(columns).to_pylist():
        if row["label"] is not None:
            rows[row["dataset"]].append(row)
    selection = Selection({}, {}, {}, {}, {})
    for name in store.sets:
        _split(name, rows[name], cfg, store, selection)
    return selection


def _split(
    name: str,
    rows: list[dict[str, Any]],
    cfg: FullConfig,
    store: ClipStore,
    selection: Selection,
) -> None:
    """Adds one set to the selection."""
    protocol = protocol_of(cfg, store, name)
    sides = assign(protocol, rows)
    train = [key for key, side in sides.items() if side == "train"]
    test = [key for key, side in sides.items() if side == "test"]
    for part, keys in (("train", train), ("test", test)):
        if not keys:
            raise UserError(
                f"set {name}, protocol {protocol.name}: none of {len(rows)} labelled clips is on the {part} side "
                f"({protocol.field} in {', '.join(getattr(protocol, part))}); choose another in data.protocols"
            )
    kept, held = validation_split(train, cfg.data.validation_share, VALIDATION_SEED)
    selection.train[name], selection.validation[name] = tuple(kept), tuple(held)
    selection.test[name] = tuple(sorted(test))
    labels = store.labels()
    selection.labels[name] = tuple(sorted({labels[key] for key in train}))
    selection.unseen[name] = protocol.hidden
