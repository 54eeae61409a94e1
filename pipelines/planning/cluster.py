"""Nodes of a running cluster, or of a cluster YAML, against what training asks for. Starts nothing and runs no task."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.config.train import TrainConfig
from pipelines.runtime.errors import UserError


@dataclass(frozen=True)
class Node:
    """What one node offers: logical CPUs and GPUs, bytes of memory."""

    cpus: float
    gpus: float
    memory: float


def count_places(node: Node, train: TrainConfig) -> int:
    """Workers that fit on one node at a time."""
    shares = [
        math.floor(have / want + 1e-9)
        for have, want in ((node.cpus, train.cpus_per_worker), (node.gpus, train.gpus_per_worker))
        if want
    ]
    return min(shares) if shares else train.workers


def fit(nodes: Sequence[Node], train: TrainConfig, host_bytes: float) -> tuple[bool, str]:
    """Whether all workers fit at once, and why.

    Args:
        nodes: of the cluster.
        train: workers and what each reserves.
        host_bytes: memory of the CPU that one worker needs.
    """
    room = [count_places(node, train) for node in nodes]
    workers = f"{train.workers} workers of {train.cpus_per_worker:g} CPUs and {train.gpus_per_worker:g} GPUs"
    have = f"{len(nodes)} nodes have room for {sum(room)} ({', '.join(map(str, room))})"
    if sum(room) < train.workers:
        return False, f"{workers} asked for; {have}"
    left, tight = train.workers, []
    for node, most in sorted(zip(nodes, room, strict=True), key=lambda pair: -pair[1]):
        here = min(left, most)
        left -= here
        if here * host_bytes > node.memory:
            tight.append(f"{here} workers on a node need {here * host_bytes / 1e9:.0f} of {node.memory / 1e9:.0f} GB")
    return not tight, "; ".join([f"{workers}: {have}", *tight])


def cluster_nodes(address: str) -> list[Node]:
    """Nodes of the cluster at an address (`host:6379`, `ray://host:10001`, `auto`).

    Raises:
        UserError: nothing answers there.
    """
    import ray

    with _quiet():
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"--address {address}: no Ray cluster answers: {why}") from None
    try:
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    finally:
        ray.shutdown()
    names = ("CPU", "GPU", "memory")
    return [Node(*(float(resources.get(name, 0.0)) for name in names)) for resources in alive]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Ray's own lines on stderr about joining."""
    was = os.environ.get("RAY_LOG_TO_STDERR")
    os.environ["RAY_LOG_TO_STDERR"] = "0"
    try:
        yield
    finally:
        if was is None:
            os.environ.pop("RAY_LOG_TO_STDERR")
        else:
            os.environ["RAY_LOG_TO_STDERR"] = was
