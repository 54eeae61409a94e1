"""Clips -> files that other tools read: npz, parquet here; pyskl, humanml3d, bvh in files of their own; one table.

An exporter takes clips one at a time and refuses, with the reason, what its format cannot say. Nothing is invented:
gaps are filled only where the caller did that (`transforms.fill_gaps`). Chooses no clips and reads no shards.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from skeleton_io import storage
from skeleton_io.exporters.bvh import bvh_text
from skeleton_io.exporters.formats import ExportFormat
from skeleton_io.exporters.humanml3d import humanml3d_files
from skeleton_io.exporters.pyskl import PysklSet
from skeleton_io.exporters.refusal import Refused
from skeleton_io.protocols.protocol import Protocol as SplitProtocol
from skeleton_io.record.sequence import SkeletonSequence
from skeleton_io.record.topology import Topology
from skeleton_io.shards.schema import to_row
from skeleton_io.shards.shard_set import ShardInfo, plan, shard_uri, write_index, write_shard

Sides = Mapping[str, str]
"""Protocol -> "train" or "test", for the protocols that the clip takes part in; the set's default protocol first."""


class Exporter(Protocol):
    """What `EXPORTERS` makes."""

    def add(self, clip: SkeletonSequence, sides: Sides) -> None:
        """Takes one clip.

        Raises:
            Refused: the format cannot hold it; says why.
        """
        ...

    def finish(self) -> None:
        """Writes what can only be written when all clips are known."""
        ...


def file_name(clip: SkeletonSequence) -> str:
    """The clip's id as a file name. An id with other characters gets part of its hash, so that no two become one."""
    # File systems take 255 bytes; hash and suffix come on top.
    plain = re.sub(r"[^\w.-]", "_", clip.id, flags=re.ASCII)[:150]
    if plain == clip.id and not plain.startswith("."):
        return plain
    return f"{plain.lstrip('.')}-{hashlib.sha256(clip.id.encode()).hexdigest()[:8]}"


class NpzFiles:
    """<out>/<set>/<id>.npz with every field of the record under its own name; opens with `allow_pickle=False`.

    What a clip does not have is not in its file. `joints` are names, `bones` (B, 2) indices, `segment_times` (S, 2)
    seconds beside `segment_labels`, `quality_names` beside `quality_values`.
    """

    def __init__(self, out: str, protocols: Mapping[str, tuple[SplitProtocol, ...]]) -> None:
        self.out = out

    def add(self, clip: SkeletonSequence, sides: Sides) -> None:
        """Writes one file."""
        fields: dict[str, object] = {
            "positions": clip.positions,
            "confidence": clip.confidence,
            "orientations": clip.orientations,
            "timestamps": clip.timestamps,
            "joints": np.array(clip.topology.joints),
            "bones": np.array(clip.topology.bones, np.int32).reshape(-1, 2),
            "topology": clip.topology.name,
            "image_size": clip.image_size,
            "segment_times": np.array([(s.start, s.end) for s in clip.segments], np.float64).reshape(-1, 2),
            "segment_labels": np.array([s.label for s in clip.segments], str),
            "quality_names": np.array(sorted(clip.quality), str),
            "quality_values": np.array([clip.quality[name] for name in sorted(clip.quality)], np.float64),
            "source_uri": clip.source.uri,
            "source_sha256": clip.source.sha256,
            "reader": clip.source.reader,
            "reader_version": clip.source.reader_version,
            "sides": np.array([f"{name}: {side}" for name, side in sides.items()], str),
        }
        texts = ("id", "dataset", "scale", "label", "subject", "view", "setup", "repetition", "licence")
        fields |= {name: getattr(clip, name) for name in (*texts, "source_transform", "fps")}
        fields |= {name: np.array(getattr(clip, name), str) for name in ("captions", "notes", "track_ids")}
        stream = io.BytesIO()
        arrays = {name: np.asarray(value) for name, value in fields.items() if value is not None}
        np.savez_compressed(stream, allow_pickle=False, **arrays)
        storage.write_atomic(storage.join(self.out, clip.dataset, f"{file_name(clip)}.npz"), stream.getvalue())

    def finish(self) -> None:
        """Nothing is left to do."""


class BvhFiles:
    """<out>/<set>/<id>.bvh, one per person (<id>-p2.bvh and so on for the others)."""

    def __init__(self, out: str, protocols: Mapping[str, tuple[SplitProtocol, ...]]) -> None:
        self.out = out

    def add(self, clip: SkeletonSequence, sides: Sides) -> None:
        """Writes the files of one clip."""
        texts = [bvh_text(clip, person) for person in range(clip.persons)]
        for person, text in enumerate(texts):
            suffix = f"-p{person + 1}" if person else ""
            storage.write_atomic(storage.join(self.out, clip.dataset, f"{file_name(clip)}{suffix}.bvh"), text)

    def finish(self) -> None:
        """Nothing is left to do."""


class HumanML3DFiles:
    """<out>/<set>/new_joints/<id>.npy, texts/<id>.txt, and all, train, val, test.txt by the set's default protocol."""

    def __init__(self, out: str, protocols: Mapping[str, tuple[SplitProtocol, ...]]) -> None:
        self.out = out
        self._names: dict[str, dict[str, list[str]]] = {}

    def add(self, clip: SkeletonSequence, sides: Sides) -> None:
        """Writes joints and text of one clip."""
        joints, text = humanml3d_files(clip)
        name, folder = file_name(clip), storage.join(self.out, clip.dataset)
        stream = io.BytesIO()
        np.save(stream, joints, allow_pickle=False)
        storage.write_atomic(storage.join(folder, "new_joints", f"{name}.npy"), stream.getvalue())
        storage.write_atomic(storage.join(folder, "texts", f"{name}.txt"), text)
        lists = self._names.setdefault(clip.dataset, {"all": [], "train": [], "val": [], "test": []})
        side = next(iter(sides.values()), "")
        for list_name in ("all", side) if side else ("all",):
            lists[list_name].append(name)

    def finish(self) -> None:
        """Writes the lists."""
        for dataset, lists in self._names.items():
            for name, clips in lists.items():
                storage.write_atomic(storage.join(self.out, dataset, f"{name}.txt"), "".join(f"{c}\n" for c in clips))


class PysklFiles:
    """<out>/<set>.pkl with annotations and splits, and <set>.labels.json. A set has to fit in memory.

    A set with several topologies becomes one file each, named after set and topology: pyskl stacks the joints.
    """

    def __init__(self, out: str, protocols: Mapping[str, tuple[SplitProtocol, ...]]) -> None:
        self.out = out
        self._sets: dict[tuple[str, str], PysklSet] = {}

    def add(self, clip: SkeletonSequence, sides: Sides) -> None:
        """Keeps one clip's annotation."""
        key = clip.dataset, clip.topology.hash
        if key not in self._sets:
            self._sets[key] = PysklSet(clip.topology)
        self._sets[key].add(clip, sides)

    def finish(self) -> None:
        """Writes the files."""
        datasets = [dataset for dataset, _ in self._sets]
        for (dataset, _), pyskl_set in self._sets.items():
            name = dataset if datasets.count(dataset) == 1 else f"{dataset}-{pyskl_set.topology.name}"
            annotations, labels = pyskl_set.files()
            storage.write_atomic(storage.join(self.out, f"{name}.pkl"), annotations)
            storage.write_atomic(storage.join(self.out, f"{name}.labels.json"), labels)


class ParquetSet:
    """A whole shard set of its own in Parquet: shards, topologies, protocols, index; `ShardSet` opens it too."""

    def __init__(
        self, out: str, protocols: Mapping[str, tuple[SplitProtocol, ...]], clips_per_shard: int = 256
    ) -> None:
        self.out, self.protocols, self.size = out, protocols, clips_per_shard
        self._rows: list[dict[str, object]] = []
        self._infos: list[ShardInfo] = []
        self._topologies: dict[str, Topology] = {}
        storage.remove(storage.join(out, "index.json"))

    def add(self, clip: SkeletonSequence, sides: Sides) -> None:
        """Keeps one row; writes a shard when one is full. Clips come sorted by set and id."""
        if self._rows and (self._rows[0]["dataset"] != clip.dataset or len(self._rows) == self.size):
            self._write()
        self._rows.append(to_row(clip))
        self._topologies[clip.topology.hash] = clip.topology

    def finish(self) -> None:
        """Writes the last shard and, at the very end, the index."""
        if self._rows:
            self._write()
        sets = sorted({info.dataset for info in self._infos})
        counts = {name: sum(info.rows for info in self._infos if info.dataset == name) for name in sets}
        rules = {name: self.protocols[name] for name in sets}
        write_index(self.out, self._infos, self._topologies.values(), rules, [], counts)

    def _write(self) -> None:
        dataset = str(self._rows[0]["dataset"])
        plan((str(row["id"]) for row in self._rows), self.size)
        number = sum(info.dataset == dataset for info in self._infos)
        self._infos.append(write_shard(shard_uri(self.out, dataset, number, "parquet"), self._rows))
        self._rows = []


EXPORTERS: dict[ExportFormat, Callable[[str, Mapping[str, tuple[SplitProtocol, ...]]], Exporter]] = {
    "pyskl": PysklFiles,
    "humanml3d": HumanML3DFiles,
    "npz": NpzFiles,
    "bvh": BvhFiles,
    "parquet": ParquetSet,
}
__all__ = ["EXPORTERS", "Exporter", "Refused", "Sides", "file_name"]
