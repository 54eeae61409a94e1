"""What the benchmarks of the teacher stage share: many small made clips, the local server, the configuration."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipelines.config.rationales import AcceptConfig, ApiTeacherConfig, RationalesConfig
from pipelines.config.tree import FullConfig
from skeleton_io.protocols.protocol import Protocol
from skeleton_io.record.sequence import SkeletonSequence, Source
from skeleton_io.record.topologies import NTU25
from skeleton_io.shards import shard_set
from skeleton_io.shards.schema import to_row

ROOT = Path(__file__).resolve().parents[1]
KEY = "sk-benchmark"
PER_SHARD = 1000


def make_clips(uri: str, clips: int, frames: int = 8) -> None:
    """A shard set of `clips` training clips and 10 test clips: NTU-25 bodies that drift, 10 labels."""
    rng = np.random.default_rng(0)
    body = rng.normal(0, 0.3, (25, 3)) + [0, 1, 3]
    infos, total = [], clips + 10
    for number, start in enumerate(range(0, total, PER_SHARD)):
        rows = []
        for k in range(start, min(start + PER_SHARD, total)):
            drift = rng.normal(0, 0.05, (frames, 25, 3)).cumsum(0)
            positions = (body + drift)[:, None].astype(np.float32)
            clip = SkeletonSequence(
                id=f"c{k:07d}",
                dataset="made",
                topology=NTU25,
                positions=positions,
                fps=10.0,
                label=f"action {k % 10}",
                subject="test" if k >= clips else "train",
                source=Source(uri="made", sha256=f"{k:064x}", reader="made", reader_version=1),
            )
            rows.append(to_row(clip))
        infos.append(shard_set.write_shard(shard_set.shard_uri(uri, "made", number), rows))
    protocol = Protocol(name="subject", field="subject", train=("train",), test=("test",))
    shard_set.write_index(uri, infos, [NTU25], {"made": [protocol]}, [], {"made": total})


def config(url: str, in_flight: int = 256, actors: int = 1, image_size: int = 32, frames: int = 2) -> FullConfig:
    """All clips, small frames, the local server; the server's words fit no clip, so only the label decides."""
    api = ApiTeacherConfig(
        base_url=f"{url}/v1",
        model="local",
        api_key_env="TEACHER_KEY",
        in_flight=in_flight,
        timeout_s=60.0,
        usd_per_million_input=2.0,
        usd_per_million_output=8.0,
    )
    accept = AcceptConfig(min_grounding=0.0, min_score=-9.0, max_contradicted=99)
    asked = RationalesConfig(
        teacher="openai_api", api=api, accept=accept, frames=frames, image_size=image_size, actors=actors
    )
    cfg = FullConfig()
    return replace(cfg, rationales=asked, data=replace(cfg.data, validation_share=0.0))


@contextmanager
def server() -> Iterator[Server]:
    """The local server as a process of its own."""
    command = [sys.executable, str(ROOT / "benchmarks" / "openai_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield Server(json.loads(process.stdout.readline())["port"], process.pid)
        process.stdin.close()
        process.wait(20)


class Server:
    """Address of the local server; `control` changes how it behaves and returns its counts."""

    def __init__(self, port: int, pid: int) -> None:
        self.url, self.pid = f"http://127.0.0.1:{port}", pid

    def control(self, **changes: object) -> dict[str, Any]:
        """See `openai_server`."""
        body = json.dumps(changes).encode() if changes else None
        request = urllib.request.Request(
            f"{self.url}/control", body, {"Content-Type": "application/json"}, method="POST" if changes else "GET"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
