"""Shard set + configuration -> keys of the training, validation and test clips of every set, and the labels to tell.

The one place where a stage learns which clips it may look at. Validation clips are cut from the training side of the
protocol, never from its test side, and do not depend on the run's seed: values tuned on them were chosen on clips that
no later training sees, whatever its seed. Clips without a label are kept apart: only captions and questions about the
motion can be learnt from them. Reads metadata only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.runtime.errors import UserError
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.protocols.files import choose_protocol
from skeleton_io.protocols.protocol import Protocol, Side, assign, validation_split

VALIDATION_SEED = 0
SHOWN = 5
"""Values of a protocol spelled out in an error."""


@dataclass(frozen=True)
class Selection:
    """Who trains, who validates and who tests. All keys are sorted; all parts are disjoint.

    Attributes:
        train: set -> keys.
        validation: set -> keys, cut from the training side.
        test: set -> keys.
        labels: set -> sorted labels seen on the training side (validation included).
        unseen: set -> sorted labels that a zero-shot protocol keeps from training; empty where it hides none.
        unlabelled_train, unlabelled_validation, unlabelled_test: set -> keys of the clips without a label on that side.
    """

    train: dict[str, tuple[str, ...]]
    validation: dict[str, tuple[str, ...]]
    test: dict[str, tuple[str, ...]]
    labels: dict[str, tuple[str, ...]]
    unseen: dict[str, tuple[str, ...]]
    unlabelled_train: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unlabelled_validation: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unlabelled_test: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def candidates(self, name: str) -> tuple[str, ...]:
        """Closed set of answers for a set's test clips: the unseen labels of a zero-shot protocol, else the seen."""
        return self.unseen[name] or self.labels[name]


def protocol_of(cfg: FullConfig, store: ClipStore, name: str) -> Protocol:
    """The protocol that splits a set.

    Raises:
        UserError: `data.protocols` names none that is known, or a file that holds none.
    """
    try:
        return choose_protocol(store.protocols[name], cfg.data.protocols.get(name))
    except (ValueError, SkeletonFormatError) as error:
        raise UserError(f"data.protocols {name}: {error}") from None


def select(cfg: FullConfig, store: ClipStore) -> Selection:
    """Applies each set's protocol (`data.protocols`, else its default) to its clips.

    Clips that the protocol leaves out are in no part.

    Raises:
        UserError: a protocol names an unknown set, a set has no such protocol, or one side of the labelled clips stays
            empty (of a set that has none: the training side).
    """
    unknown = sorted(set(cfg.data.protocols) - set(store.sets))
    if unknown:
        raise UserError(f"data.protocols names {', '.join(unknown)}; the shards hold {', '.join(store.sets)}")
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in store.sets}
    columns = ["id", "dataset", "label", "subject", "view", "setup", "repetition"]
    for row in store.meta().select(columns).to_pylist():
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
    labelled = [row for row in rows if row["label"] is not None]
    sides = assign(protocol, labelled)
    train, test = _on("train", sides), _on("test", sides)
    others = assign(protocol, [row for row in rows if row["label"] is None])
    free = _on("train", others)
    needed = {"train": train, "test": test} if labelled else {"train": free}
    for part, keys in needed.items():
        if not keys:
            values = getattr(protocol, part)
            named = ", ".join(values[:SHOWN]) + (f" and {len(values) - SHOWN} more" if len(values) > SHOWN else "")
            what = f"{len(labelled)} labelled clips" if labelled else f"{len(rows)} clips without labels"
            raise UserError(
                f"set {name}, protocol {protocol.name}: none of {what} is on the {part} side "
                f"({protocol.field} in {named}); choose another in data.protocols"
            )
    share = cfg.data.validation_share
    kept, held = validation_split(train, share, VALIDATION_SEED)
    selection.train[name], selection.validation[name] = tuple(kept), tuple(held)
    selection.test[name] = tuple(test)
    kept, held = validation_split(free, share, VALIDATION_SEED)
    selection.unlabelled_train[name], selection.unlabelled_validation[name] = tuple(kept), tuple(held)
    selection.unlabelled_test[name] = tuple(_on("test", others))
    taken = set(train)
    selection.labels[name] = tuple(sorted({row["label"] for row in labelled if f"{name}/{row['id']}" in taken}))
    selection.unseen[name] = protocol.hidden


def _on(part: str, sides: dict[str, Side | None]) -> list[str]:
    """Keys on one side, sorted."""
    return sorted(key for key, side in sides.items() if side == part)
