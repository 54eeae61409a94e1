"""Rows on disk: whole parts, no doubles, a choice of clips that ignores their order. Neither Ray nor a model."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipelines.runtime.errors import StageFailed
from pipelines.scores.rows import (
    ROWS,
    ClipToScore,
    batches_of,
    check_finite,
    read_rows,
    sample_keys,
    to_clip_score,
    write_part,
)


def rows(*keys, prediction="bow"):
    one = {"set": "a", "label": "bow", "prediction": prediction, "log_prob": [-1.0, -2.0], "tokens": [1, 2]}
    return pa.Table.from_pylist([{"key": k, **one, "prior": [0.0, 0.0], "generated": None} for k in keys], ROWS)


def test_parts_come_back_whole_and_once(tmp_path):
    folder = str(tmp_path / "rows")
    assert read_rows(folder).num_rows == 0
    write_part(folder, rows("a/1", "a/2"))
    write_part(folder, rows("a/3"))
    write_part(folder, rows("a/3"))
    write_part(folder, rows("a/2", "a/4"))
    found = read_rows(folder)
    assert sorted(found["key"].to_pylist()) == ["a/1", "a/2", "a/3", "a/4"]
    assert found.schema == ROWS
    assert len(list((tmp_path / "rows").iterdir())) == 3


def test_a_row_becomes_a_clip_score():
    clip = to_clip_score(rows("a/1").to_pylist()[0])
    assert clip.log_prob == (-1.0, -2.0)
    assert clip.tokens == (1, 2)
    assert clip.generated is None


def test_sample_is_a_subset_that_ignores_order():
    keys = [f"a/{i}" for i in range(50)]
    chosen = sample_keys(keys, 10)
    assert len(chosen) == 10
    assert chosen == sample_keys(keys[::-1], 10)
    assert set(sample_keys(keys, 5)) <= set(chosen)
    assert sample_keys(keys, 0) == sorted(keys)


def test_batches_depend_on_the_questions_alone():
    questions = [ClipToScore(f"{name}/{i}", name, "bow") for i in range(5) for name in ("b", "a")]
    found = batches_of(questions, 2)
    assert [[q.key for q in batch] for batch in found] == [
        ["a/0", "a/1"], ["a/2", "a/3"], ["a/4"], ["b/0", "b/1"], ["b/2", "b/3"], ["b/4"],
    ]  # fmt: skip
    assert batches_of(questions[::-1], 2) == found


def test_a_score_that_is_no_number_is_refused():
    table = rows("a/1", "a/2")
    check_finite("evaluate", table)
    broken = table.set_column(4, "log_prob", pa.array([[-1.0, -2.0], [-1.0, float("nan")]], pa.list_(pa.float32())))
    with pytest.raises(StageFailed, match="a/2"):
        check_finite("evaluate", broken)
