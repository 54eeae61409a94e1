"""A trained model and the test that is asked of it -> what the model has seen of the test, as far as its export says.

An export names its sets, protocols and labels, not its clips: the training clips are those that its own configuration
gives on the shards at hand. A model from elsewhere, or of other shards of a set, is known by its labels only.
"""

from __future__ import annotations

import dataclasses
import json

from pipelines.config.loading import decode
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import select
from pipelines.exports.store import CONFIG_FILE, LABELS_FILE
from pipelines.leakage.of_run import (
    collect_hidden_labels,
    find_model_leaks,
    find_shared_clips,
    hash_contents,
    refuse_or_report,
)
from skeleton_io import storage, strict_yaml


def trained_config(export: str) -> FullConfig:
    """The configuration that an export was trained with."""
    uri = storage.join(export, CONFIG_FILE)
    return decode(strict_yaml.parse(storage.read_text(uri)), uri)


def check_export(cfg: FullConfig, export: str, store: ClipStore) -> None:
    """Refuses test clips, or unseen labels, that a model was trained on.

    Args:
        cfg: the test: `data.protocols`, `data.repeats`, `train.sets` (which sets are scored; empty: all).
        export: folder of the model.
        store: the shards that are tested.

    Raises:
        UserError: what leaks and where.
    """
    trained = trained_config(export)
    labels = json.loads(storage.read_text(storage.join(export, LABELS_FILE)))
    learnt = [name for name in trained.train.sets or store.sets if name in store.sets and name in labels]
    # A protocol of a set that is not at hand would be refused, and says nothing here.
    protocols = {name: rule for name, rule in trained.data.protocols.items() if name in store.sets}
    then = select(dataclasses.replace(trained, data=dataclasses.replace(trained.data, protocols=protocols)), store)
    now, sets = select(cfg, store), sorted(cfg.train.sets or store.sets)
    train = {f"training clips of {name}": [*then.train[name], *then.validation[name]] for name in learnt}
    test = {f"test clips of {name}": now.test[name] for name in sets}
    shared = find_shared_clips(train, test, hash_contents(store.uri, store.digest))
    hidden = collect_hidden_labels(now, sets)
    refuse_or_report(cfg, sorted([*shared, *find_model_leaks(export, hidden)]))
