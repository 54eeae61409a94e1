"""A finished shard set -> files that other tools read, by the table of `skeleton_io.exporters.registry`. Starts no Ray.

Clips are read one at a time, sorted by set and id, so the same shards give the same files. What a format cannot hold is
refused clip by clip, with the reason, in `export.json`, which comes last.
"""

from __future__ import annotations

import fnmatch
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.data.clip_store import ClipStore
from pipelines.runtime.errors import UserError
from pipelines.runtime.progress import Progress, say
from skeleton_io import storage
from skeleton_io.exporters.formats import ExportFormat
from skeleton_io.exporters.registry import EXPORTERS, Refused
from skeleton_io.protocols.protocol import assign
from skeleton_io.record import transforms

_SHOWN_REASONS = 5


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A clip that was left out."""

    clip: str
    reason: str


def export(
    uri: str, to: ExportFormat, out: str, sets: Sequence[str] = (), clips: Sequence[str] = (), fill_gaps: float = 0.0
) -> dict[str, Any]:
    """Writes the clips of a shard set in another format.

    Args:
        uri: the shard set.
        to: key of `skeleton_io.exporters.registry.EXPORTERS`.
        out: folder or fsspec URI to write to.
        sets: only these; empty: all.
        clips: only clips whose key "set/id" matches one of these patterns (`*`, `?`); empty: all.
        fill_gaps: seconds; joints that are missing for no longer are put on a straight line. 0: nothing is.

    Returns:
        {"format", "exported", "refused": [{clip, reason}]}, as in `export.json`.

    Raises:
        UserError: no finished shard set, an unknown format or set, or no clip that matches.
    """
    if to not in EXPORTERS:
        raise UserError(f"no export format {to!r}; there is {', '.join(EXPORTERS)}")
    if fill_gaps < 0:
        raise UserError(f"--fill-gaps takes seconds from 0, found {fill_gaps:g}")
    if f"{out.rstrip('/')}/".startswith(f"{uri.rstrip('/')}/"):
        raise UserError(f"--out lies in the shard set {uri}, which an export must not touch")
    store = ClipStore(uri)
    keys = _select_keys(store, sets, clips)
    sides = _sides(store)
    exporter = EXPORTERS[to](out, store.protocols)
    progress = Progress("export", len(keys), "clips")
    refused: list[Refusal] = []
    for key in keys:
        clip = store.clip(key)
        if fill_gaps and not clip.present.all():
            clip, _ = transforms.fill_gaps(clip, fill_gaps)
        try:
            exporter.add(clip, sides[key])
        except Refused as error:
            refused.append(Refusal(clip=key, reason=str(error)))
        progress.add(1, f"{len(refused)} refused")
    exporter.finish()
    summary = {"format": to, "exported": len(keys) - len(refused), "refused": [asdict(item) for item in refused]}
    storage.write_atomic(storage.join(out, "export.json"), json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    say(f"[export] {summary['exported']} clips as {to} in {out}, {len(refused)} refused")
    for reason, count in Counter(item.reason for item in refused).most_common(_SHOWN_REASONS):
        say(f"[export] refused {count}: {reason}")
    return summary


def _select_keys(store: ClipStore, sets: Sequence[str], clips: Sequence[str]) -> list[str]:
    unknown = sorted(set(sets) - set(store.sets))
    if unknown:
        raise UserError(f"no set {unknown[0]!r} in {store.uri}; there is {', '.join(store.sets)}")
    keys = [key for key in store.keys if not sets or key.partition("/")[0] in sets]
    if clips:
        keys = [key for key in keys if any(fnmatch.fnmatchcase(key, pattern) for pattern in clips)]
    if not keys:
        wanted = f" matches {', '.join(clips)}" if clips else ""
        raise UserError(f"{store.uri}: no clip{wanted}; keys look like {', '.join(store.keys[:2]) or 'none'}")
    return keys


def _sides(store: ClipStore) -> dict[str, dict[str, str]]:
    """Key -> protocol -> side, the default protocol first; only protocols that the clip takes part in."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in store.sets}
    columns = ["id", "dataset", "label", "subject", "view", "setup", "repetition"]
    for row in store.meta().select(columns).to_pylist():
        rows[row["dataset"]].append(row)
    sides: dict[str, dict[str, str]] = {key: {} for key in store.keys}
    for name in store.sets:
        for protocol in store.protocols[name]:
            for key, side in assign(protocol, rows[name]).items():
                if side is not None:
                    sides[key][protocol.name] = side
    return sides
