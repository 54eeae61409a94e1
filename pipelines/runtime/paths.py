"""Where a run keeps what: paths made absolute, and the folders below a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skeleton_io import storage


def absolute(uri: str) -> str:
    """A URI as it is; a path as an absolute one, since workers and jobs run in other folders."""
    return uri if "://" in uri else str(Path(uri).resolve())


@dataclass(frozen=True)
class RunPaths:
    """Absolute URIs of a run's parts. `root` is a folder or any fsspec URI."""

    root: str

    def at(self, *parts: str) -> str:
        """A path below the run."""
        return storage.join(self.root, *parts)

    @property
    def demo(self) -> str:
        """Native files of the generated motion set."""
        return self.at("demo-data")

    @property
    def shards(self) -> str:
        """Arrow shards, index, topologies, protocols, quarantine."""
        return self.at("shards")

    @property
    def rationales(self) -> str:
        """Teacher's rationales, keyed by content hash."""
        return self.at("rationales")

    @property
    def mllm(self) -> str:
        """The tiny checkpoint, where no other is named."""
        return self.at("mllm")

    @property
    def train(self) -> str:
        """One folder per training stage; `export/` of the last one is the model."""
        return self.at("train")

    @property
    def tune(self) -> str:
        """Trials and the best configuration as `best.yaml`."""
        return self.at("tune")

    @property
    def evaluate(self) -> str:
        """Predictions and metrics."""
        return self.at("evaluate")

    @property
    def transfer(self) -> str:
        """One folder per cross-format experiment."""
        return self.at("transfer")
