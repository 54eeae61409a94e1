"""The accepted rationales of a finished run, for whoever learns from them. Asks nobody."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.runtime.errors import UserError
from skeleton_io import storage


def load_rationales(uri: str) -> dict[str, str]:
    """Clip key -> accepted rationale text of the last finished run; empty where the stage never finished.

    Raises:
        UserError: the stage finished under a version that wrote no answers.parquet.
    """
    # Written last: without it the table may be of a run that was broken off.
    if not storage.exists(storage.join(uri, "index.json")):
        return {}
    answers = storage.join(uri, "answers.parquet")
    if not storage.exists(answers):
        raise UserError(f"{uri}: made by an older version (no answers.parquet); run `skel rationales` for it again")
    data = storage.read_bytes(answers)
    rows = pq.read_table(pa.BufferReader(data), columns=["clip", "text", "accepted"]).to_pylist()
    return {row["clip"]: row["text"] for row in sorted(rows, key=lambda row: row["clip"]) if row["accepted"]}
