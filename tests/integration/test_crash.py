"""An ingest is killed from outside, then done again: the same bytes, nothing half visible. `benchmarks/crash.py` is
the long version.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks import crash
from pipelines.ingest.stage import ingest
from pipelines.ingest.tasks import read_chunk, write_block
from skeleton_io import storage
from skeleton_io.sources.registry import SOURCES

ROWS = 5


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return crash.native(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def reference(written: dict[str, str], tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> dict[str, bytes]:
    out = str(tmp_path_factory.mktemp("reference"))
    ingest(written, out, "ipc", crash.PER_SHARD)
    return crash.contents(out)


@pytest.mark.parametrize(
    ("kind", "moment"), [pytest.param("everything", 0.1, marks=pytest.mark.slow), ("driver", 0.05)]
)
def test_killed_and_done_again(
    kind: str, moment: float, written: dict[str, str], reference: dict[str, bytes], tmp_path: Path
) -> None:
    case = crash.Case("local", written, {}, reference)
    found = crash.trial(case, kind, moment, True, str(tmp_path / "out"), random.Random(0))
    assert found is not None
    assert found.wrong == ""
    assert found.index or found.spool or found.shards


@pytest.mark.slow
def test_killed_on_s3_with_faults(written: dict[str, str], reference: dict[str, bytes], s3_endpoint: str) -> None:
    """The killed run meets the faults; this process looks, and does it again, past them."""
    storage.filesystem("s3://crash")[0].mkdir("crash")
    inputs = {name: f"s3://crash/in/{name.split(':')[0]}" for name in written}
    for name, path in written.items():
        storage.upload(path, inputs[name])
    with crash.faulty_s3(1, 0.08, s3_endpoint) as endpoint:
        case = crash.Case("s3", inputs, crash.client(endpoint), reference)
        found = crash.trial(case, "everything", 0.1, True, "s3://crash/out", random.Random(0))
    assert found is not None
    assert found.wrong == ""


@pytest.mark.slow
def test_both_passes_get_over_faults(
    written: dict[str, str], s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The tasks themselves, in this process, against a server that fails one request of five."""
    name, folder = next(iter(written.items()))
    source = name.split(":")[1]
    items = SOURCES[source].list_items(folder)[:ROWS]
    common = {"number": 0, "source": source, "dataset": "set", "items": [[item.id, item.path, []] for item in items]}
    rows = {"kind": "ipc", "dataset": "set", "number": 0}
    expected = None
    for place in (str(tmp_path), "s3://faults"):
        with crash.faulty_s3(2, 0.2, s3_endpoint) as endpoint, monkeypatch.context() as patch:
            for key, value in crash.client(endpoint).items():
                patch.setenv(key, value)
            fs = storage.filesystem("s3://faults")[0]
            fs.clear_instance_cache()
            root, spool = storage.join(place, "in"), storage.join(place, "spool")
            if place.startswith("s3"):
                storage.filesystem(place)[0].mkdir("faults")
            for item in items:
                storage.write_atomic(storage.join(root, item.path), (Path(folder) / item.path).read_bytes())
            report = read_chunk({**common, "spool": spool, "root": root})
            picked = [[0, row] for row in range(len(report["clips"]))]
            info = write_block({**rows, "spool": spool, "out": place, "rows": picked})
            fs.clear_instance_cache()
        expected = expected or (report, info)
        assert (report, info) == expected
    assert expected is not None
    assert len(expected[0]["clips"]) >= 1
