"""A shard set on S3 (a moto server in this process): written, opened, read by key through the local cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from skeleton_io import storage
from skeleton_io.errors import SkeletonFormatError
from skeleton_io.shards import shard_set
from skeleton_io.shards.schema import to_row
from skeleton_io.sources.registry import SOURCES, protocols_for

ASSETS = Path(__file__).resolve().parents[1] / "assets"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
    ):
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    fsspec.filesystem("s3").mkdir("skeletons")
    yield "s3://skeletons"
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


def test_a_set_on_s3(bucket: str, tmp_path: Path):
    source, folder = SOURCES["ntu"], storage.join(bucket, "in")
    storage.upload(ASSETS / "ntu", folder)
    (item,) = source.list_items(folder)
    clip = source.read(folder, item, "demo")[0]
    uri = storage.join(bucket, "run/shards")
    info = shard_set.write_shard(shard_set.shard_uri(uri, "demo", 0), [to_row(clip)])
    with pytest.raises(SkeletonFormatError, match="ingest did not finish"):
        shard_set.ShardSet.open(uri)
    rules = {"demo": protocols_for(folder, "demo", source)}
    shard_set.write_index(uri, [info], [clip.topology], rules, [], {"demo": 1})
    stored = shard_set.ShardSet.open(uri, str(tmp_path / "cache"))
    np.testing.assert_array_equal(stored.clip("demo/S001C002P003R001A023").positions, clip.positions)
    assert stored.meta()["label"].to_pylist() == ["hand waving"]
    assert len(list((tmp_path / "cache").rglob("*.arrow"))) == 1
    stored.verify()
    storage.remove(uri)
    assert not storage.exists(storage.join(uri, "index.json"))
