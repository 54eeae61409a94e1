"""What the stages of a run left behind -> the content of report.json and the series behind the page's charts.

Reads manifests and small files of a run; runs nothing and invents nothing: a stage without a manifest is "not run".
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from pipelines.config.loading import to_plain
from pipelines.config.tree import FullConfig
from pipelines.data.clip_store import ClipStore
from pipelines.report import other_scores
from pipelines.runtime import manifest
from pipelines.runtime.digest import digest
from pipelines.runtime.paths import RunPaths
from pipelines.runtime.stages import STAGES
from skeleton_io import storage

NOT_RUN = {"status": "not run"}
OWN = ("stage", "key", "finished", "summary")
"""Keys of a manifest that are not provenance."""

Manifest = dict[str, Any]


def stage_manifests(cfg: FullConfig, paths: RunPaths) -> dict[str, dict[str, Manifest]]:
    """Stage -> part -> manifest of all that is finished. Parts: the rows of train's table, the pairs of transfer."""
    parts = {name: {"": stage.output(paths)} for name, stage in STAGES.items() if stage.output is not None}
    parts["train"] = {stage.name: storage.join(paths.train, stage.name) for stage in cfg.train.stages}
    parts["transfer"] = {
        f"{one} -> {other}": storage.join(paths.transfer, f"{one}-to-{other}")
        for one, other in transfer_pairs(cfg, paths)
    }
    manifests = {}
    for name in STAGES:
        if name in parts:
            read = {part: manifest.read_manifest(folder) for part, folder in parts[name].items()}
            manifests[name] = {part: m for part, m in read.items() if m is not None}
    return manifests


def transfer_pairs(cfg: FullConfig, paths: RunPaths) -> list[tuple[str, str]]:
    """(trained on, tested on) of the configuration, and of the finished matrix where it asks for all pairs."""
    pairs = [(pair.train, pair.test) for pair in cfg.evaluate.transfer]
    # Which pairs share enough labels is known only after the stage has read the clips.
    written = storage.join(paths.transfer, "matrix.json")
    if cfg.evaluate.transfer_all and storage.exists(written):
        cells = json.loads(storage.read_text(written))["cells"]
        pairs += [pair for cell in cells if (pair := (cell["train"], cell["test"])) not in pairs]
    return pairs


def status(parts: dict[str, Manifest], expected: int) -> dict[str, Any]:
    """{"status", "seconds", "finished", "key"} of one stage; "partly" where some of its parts are missing."""
    if not parts:
        return dict(NOT_RUN)
    keys = [m["key"] for m in parts.values()]
    return {
        "status": "done" if len(parts) >= expected else "partly",
        "seconds": round(sum(m["summary"]["seconds"] for m in parts.values()), 2),
        "finished": max(m["finished"] for m in parts.values()),
        "key": keys[0] if len(keys) == 1 else digest(*keys),
    }


def summary_of(manifests: dict[str, dict[str, Manifest]], stage: str) -> dict[str, Any]:
    """Summary of a stage with a single part, or the mark that it has not run."""
    parts = list(manifests[stage].values())
    return parts[0]["summary"] if parts else dict(NOT_RUN)


def ingest_totals(summary: dict[str, Any]) -> dict[str, Any]:
    """The stage's summary with clips_in, clips_out and quarantined over all sets."""
    if "sets" not in summary:
        return summary
    counts = summary["sets"].values()
    # The summary's own entries come last: they would overrule the sums.
    return {name: sum(c[name] for c in counts) for name in ("clips_in", "clips_out", "quarantined")} | summary


def data_hashes(paths: RunPaths) -> dict[str, str]:
    """Hash of the shard set, which names every shard's bytes and every protocol; empty where none is finished."""
    if not storage.exists(storage.join(paths.shards, "index.json")):
        return {}
    return {"data": ClipStore(paths.shards).digest}


def provenance(
    cfg: FullConfig, paths: RunPaths, manifests: dict[str, dict[str, Manifest]], stages: dict[str, Any]
) -> dict[str, Any]:
    """Configuration, versions, revision, seeds, hashes, seconds; where a stage ran with others, "mixed" says so."""
    now = manifest.provenance()
    mixed: dict[str, Any] = {}
    for name, parts in manifests.items():
        for part, m in parts.items():
            then = {key: value for key, value in m.items() if key not in OWN}
            # Stages run days apart: a table of numbers from two versions must say so.
            if then != now:
                mixed[" ".join(filter(None, (name, part)))] = {k: v for k, v in then.items() if v != now.get(k)}
    return {
        **now,
        "mixed": mixed,
        "seeds": {"seed": cfg.seed, "demo": cfg.demo.seed},
        "hashes": {
            "config": digest(cfg),
            **data_hashes(paths),
            **{name: entry["key"] for name, entry in stages.items() if "key" in entry},
        },
        "seconds": {name: entry["seconds"] for name, entry in stages.items() if "seconds" in entry},
        "config": to_plain(cfg),
    }


def gather(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """The content of report.json."""
    manifests = stage_manifests(cfg, paths)
    expected = dict.fromkeys(manifests, 1) | {
        "train": len(cfg.train.stages),
        "transfer": len(transfer_pairs(cfg, paths)),
    }
    stages = {name: status(parts, expected[name]) for name, parts in manifests.items()}
    train: dict[str, Any] = dict(NOT_RUN)
    if manifests["train"]:
        train = {"stages": [{**m["summary"], "name": name} for name, m in manifests["train"].items()]}
    return {
        "name": cfg.name,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "stages": stages,
        "ingest": ingest_totals(summary_of(manifests, "ingest")),
        "rationales": summary_of(manifests, "rationales"),
        "train": train,
        "tune": summary_of(manifests, "tune"),
        "transfer": [m["summary"] for m in manifests["transfer"].values()],
        "evaluate": summary_of(manifests, "evaluate"),
        **{name: scores_of(paths, f"{name}.json") for name in other_scores.FILES},
        "provenance": provenance(cfg, paths, manifests, stages),
    }


def scores_of(paths: RunPaths, name: str) -> dict[str, Any] | None:
    """What a command with `--out RUN` or `--out RUN/evaluate` left there; None where it has not run."""
    # People name either as --out.
    for folder in (paths.root, paths.evaluate):
        uri = storage.join(folder, name)
        if storage.exists(uri):
            return json.loads(storage.read_text(uri))
    return None


def json_lines(uri: str) -> list[dict[str, Any]]:
    """Objects of a JSON-lines file, none where there is no file; a last line that was cut off is left out."""
    if not storage.exists(uri):
        return []
    rows = []
    for line in storage.read_text(uri).splitlines():
        try:
            rows.append(json.loads(line))
        # Only the last line can be cut off: a process was killed while it wrote.
        except json.JSONDecodeError:
            break
    return rows


def curves(paths: RunPaths, stage: str) -> list[dict[str, Any]]:
    """Lines of one training stage's metrics.jsonl, in the order of their steps, the last one of each step."""
    # A run that goes on after a crash writes some steps a second time; the later line counts.
    by_step = {
        row["step"]: row for row in json_lines(storage.join(paths.train, stage, "metrics.jsonl")) if "step" in row
    }
    return [by_step[step] for step in sorted(by_step)]


def quarantine(paths: RunPaths) -> list[dict[str, Any]]:
    """Rows of the shard set's quarantine table: dataset, path, place, reason, sha256."""
    return json_lines(storage.join(paths.shards, "quarantine.jsonl"))


def trials(paths: RunPaths) -> list[dict[str, Any]]:
    """The search's trials as tune/trials.json lists them."""
    uri = storage.join(paths.tune, "trials.json")
    return json.loads(storage.read_text(uri)) if storage.exists(uri) else []
