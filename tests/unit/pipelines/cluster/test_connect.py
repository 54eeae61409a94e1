"""A head that starts late is tried again; any other failure is told at once."""

from __future__ import annotations

import os
from typing import Any

import pytest
import ray

from pipelines.cluster import connect


def _failing(monkeypatch: pytest.MonkeyPatch, times: int, words: str) -> list[object]:
    calls: list[object] = []

    def init(**options: object) -> None:
        calls.append(options)
        if len(calls) <= times:
            raise Exception(words)

    monkeypatch.setattr(ray, "init", init)
    return calls


LATE = "The current node timed out during startup. This could happen because some of the raylet failed to startup"


@pytest.mark.parametrize("words", [LATE, "Failed to start GCS.  Last 0 lines of error files:"])
def test_a_late_head_is_tried_again(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = _failing(monkeypatch, 2, words)
    connect._start_head({"A": "1"})
    assert len(calls) == 3
    assert capsys.readouterr().out.count("trying again") == 2
    assert "RAY_GCS_SERVER_PORT" not in os.environ


def test_workers_know_which_of_several_clusters_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def init(**options: Any) -> None:
        given = options["runtime_env"]["env_vars"]
        assert given["A"] == "1"
        assert given["RAY_ADDRESS"] == f"127.0.0.1:{os.environ['RAY_GCS_SERVER_PORT']}"
        calls.append(given["RAY_ADDRESS"])

    monkeypatch.setattr(ray, "init", init)
    connect._start_head({"A": "1"})
    assert len(calls) == 1


def test_it_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _failing(monkeypatch, 9, LATE)
    with pytest.raises(Exception, match="timed out"):
        connect._start_head({})
    assert len(calls) == 3


def test_other_failures_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _failing(monkeypatch, 1, "no port is free")
    with pytest.raises(Exception, match="no port"):
        connect._start_head({})
    assert len(calls) == 1


def test_all_heads_of_a_process_share_a_token_and_nothing_else() -> None:
    first, second = connect.private_head(), connect.private_head()
    os.rmdir(first["RAY_TMPDIR"])
    os.rmdir(second["RAY_TMPDIR"])
    assert first["RAY_AUTH_TOKEN"] == second["RAY_AUTH_TOKEN"]  # Ray reads it once per process
    assert len(first["RAY_AUTH_TOKEN"]) == 64
    assert first["RAY_TMPDIR"] != second["RAY_TMPDIR"]
