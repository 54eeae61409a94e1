"""A trained model and a shard set that lie anywhere -> a scored evaluation in a folder of its own.

Model, shards, protocols -> OUT/rows-*/, OUT/metrics.json, OUT/report.json. The same scores as the run's own stage.
Broken off, it goes on with the clips that have no row yet. What the model was trained on is known from the
configuration and the labels of its export; test clips that these say it has seen end the run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.config.loading import override_config
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.data.selection import protocol_of
from pipelines.evaluation.stage import Evaluation
from pipelines.exports.find import find_export, identity
from pipelines.leakage.of_export import check_export, trained_config
from pipelines.runtime import manifest
from pipelines.runtime.errors import UserError
from skeleton_io import storage
from skeleton_io.protocols.files import is_file

CPUS = 0.5
"""Reserved for each actor: two of them leave a core of a small machine to Ray's own tasks."""


@dataclass(frozen=True)
class EvaluationRequest:
    """What the command line names.

    Attributes:
        model: run, training stage or export.
        shards: URI of the shard set.
        protocols: "SET=RULE", or "RULE" where the shards hold one set; RULE is a name or the path of a file.
        sets: only these; empty: all of the shards.
        out: folder or URI to write to.
        overrides: fields of the configuration, as on every command line.
    """

    model: str
    shards: str
    protocols: tuple[str, ...]
    sets: tuple[str, ...]
    out: str
    overrides: tuple[str, ...] = ()


def parse_protocols(texts: Sequence[str], sets: Sequence[str]) -> dict[str, str]:
    """Texts "SET=RULE" of the command line -> set: rule.

    Raises:
        UserError: a set that is not there, or none is named where there are several.
    """
    rules = {}
    for text in texts:
        name, mark, rule = text.partition("=")
        if not mark:
            if len(sets) != 1:
                raise UserError(f"--protocol {text}: write SET={text}; the shards hold {', '.join(sets)}")
            name, rule = sets[0], text
        if name not in sets:
            raise UserError(f"--protocol {text}: no set {name!r}; the shards hold {', '.join(sets)}")
        # Actors run in folders of their own: a path must not depend on the folder.
        rules[name] = str(Path(rule).resolve()) if is_file(rule) and "://" not in rule else rule
    return rules


def configure_evaluation(request: EvaluationRequest, export: str, store: ClipStore, gpus: float) -> FullConfig:
    """The export's configuration with this evaluation's sets, protocols and overrides.

    A set whose protocol is not named uses the one that the model was trained under, or its default. `gpus`: for each
    actor, where the overrides say nothing.

    Raises:
        UserError: a set, protocol or field that is not there.
    """
    unknown = sorted(set(request.sets) - set(store.sets))
    if unknown:
        raise UserError(f"--sets {unknown[0]}: the shards hold {', '.join(store.sets)}")
    cfg = trained_config(export)
    sets = request.sets or store.sets
    # Of the sets here only: the export may have been trained on more.
    protocols = {name: rule for name, rule in cfg.data.protocols.items() if name in store.sets}
    protocols |= parse_protocols(request.protocols, sets)
    cfg = dataclasses.replace(
        cfg,
        data=dataclasses.replace(cfg.data, protocols=protocols),
        train=dataclasses.replace(cfg.train, sets=tuple(sorted(sets)), cpus_per_worker=CPUS, gpus_per_worker=gpus),
        # The training run's rivals are not here; `--beside` names those of this evaluation.
        evaluate=dataclasses.replace(cfg.evaluate, beside={}),
    )
    return override_config(cfg, list(request.overrides))


def check_request(request: EvaluationRequest) -> None:
    """Refuses what `run` would, as far as that needs no positions: seconds before Ray starts, not minutes after.

    Raises:
        UserError: no model, shards, set or protocol there.
    """
    export, store = find_export(request.model), ClipStore(request.shards)
    # No Ray yet, so nobody knows of GPUs; what is checked does not depend on them.
    cfg = configure_evaluation(request, export, store, gpus=0.0)
    for name in cfg.train.sets:
        protocol_of(cfg, store, name)


def run(request: EvaluationRequest) -> dict[str, Any]:
    """Scores the test clips and writes metrics.json and report.json; Ray must be connected.

    Returns:
        The content of report.json. Only `written` and `seconds` differ between two evaluations of the same.

    Raises:
        UserError: no model, shards, set or protocol there, or the model has seen what the test asks.
    """
    import ray

    export = find_export(request.model)
    store = ClipStore(request.shards)
    gpus = 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0
    cfg = configure_evaluation(request, export, store, gpus)
    for name in cfg.train.sets:
        protocol_of(cfg, store, name)
    check_export(cfg, export, store)
    summary = Evaluation(cfg, export, identity(export), request.shards, request.out).run()
    report = {
        "name": cfg.name,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": summary["seconds"],
        "checkpoint": request.model,
        "shards": {"uri": request.shards, "digest": store.digest},
        # `seconds` stands in the report already, and would make two equal evaluations differ.
        "evaluate": {name: value for name, value in summary.items() if name != "seconds"},
        "provenance": manifest.provenance(),
    }
    storage.write_atomic(storage.join(request.out, "report.json"), json.dumps(report, indent=1))
    return report
