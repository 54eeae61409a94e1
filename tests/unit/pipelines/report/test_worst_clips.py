"""The most frequent confusions, each with the clip that the model was surest about."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.report.worst_clips import choose_worst, worst_confusions
from pipelines.scores.metrics import ClipScore, Scoreboard
from pipelines.scores.rows import ROWS

NAMES = ("bow", "clap", "wave")


def clips() -> list[ClipScore]:
    """A third of the clips is "bow"; every second clip is taken for "bow", the others for "clap"."""
    return [
        ClipScore(
            key=f"a/{i:02d}",
            set="a",
            label=NAMES[i % 3],
            log_prob=tuple(-1.0 - (1 + i / 10) * (j != i % 2) for j in range(3)),
            tokens=(1, 1, 1),
            prior=(0.0, 0.0, 0.0),
            generated=NAMES[i % 2],
        )
        for i in range(12)
    ]


def test_worst_confusions_are_sorted_and_leave_out_the_diagonal():
    worst = worst_confusions(["x", "y"], [[5, 1], [3, 2]])
    assert [(w.truth, w.predicted, w.count, w.of) for w in worst] == [("y", "x", 3, 5), ("x", "y", 1, 6)]


def test_the_clip_of_a_confusion_is_the_surest(tmp_path):
    evaluate = Scoreboard({"a": NAMES}, 100, 0).assemble(clips(), {})
    names = ("key", "set", "label", "log_prob", "tokens", "prior", "generated")
    rows = [{**{n: getattr(c, n) for n in names}, "prediction": NAMES[i % 2]} for i, c in enumerate(clips())]
    (tmp_path / "rows-x").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=ROWS), tmp_path / "rows-x" / "part-0.parquet")
    worst = choose_worst(str(tmp_path), {**evaluate, "rows": "rows-x"})
    assert [(e.confusion.truth, e.confusion.predicted, e.confusion.count, e.confusion.of) for e in worst] == [
        ("bow", "clap", 2, 4),
        ("clap", "bow", 2, 4),
        ("wave", "bow", 2, 4),
    ]
    assert [example.clip.key for example in worst] == ["a/09", "a/10", "a/08"]
    assert worst[0].written == "clap"
    assert choose_worst(str(tmp_path), evaluate) == []
