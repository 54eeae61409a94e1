"""Clips of a run with frames and rationale -> a folder of pictures and the Markdown to go with them.

    python benchmarks/rationale_examples.py --run RUN [--per-set 2] --images docs/images/rationales

Clips are chosen by the hash of their key among all training clips that were answered, accepted or not. Prints Markdown;
what a reader finds true or false in it is for a person to write.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipelines.config.tree import FullConfig
from pipelines.figures.charts import filmstrip
from pipelines.rationales.frames import FrameActor, frames_config
from pipelines.rationales.review_page import sample_rows

SIDE = 96


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="holds shards/ and rationales/")
    parser.add_argument("--per-set", type=int, default=2)
    parser.add_argument("--images", type=Path, required=True)
    args = parser.parse_args()
    args.images.mkdir(parents=True, exist_ok=True)
    rows = pq.read_table(args.run / "rationales" / "answers.parquet").to_pylist()
    cfg = FullConfig()
    drawer = FrameActor(str(args.run / "shards"), cfg.rationales, frames_config(cfg))
    for name in sorted({row["dataset"] for row in rows}):
        for row in sample_rows([row for row in rows if row["dataset"] == name], args.per_set):
            frames = drawer.draw(row["clip"]).astype(np.float32).transpose(0, 3, 1, 2) / 255
            strip = base64.b64decode(filmstrip(frames, SIDE).split(",", 1)[1])
            picture = args.images / f"{row['clip'].replace('/', '_')}.webp"
            picture.write_bytes(io.BytesIO(strip).getvalue())
            print(f"### {row['clip']}: {row['label']}\n\n![frames]({picture.relative_to('docs')})\n")
            print("> " + "\n> ".join(line + "  " for line in row["text"].splitlines()) + "\n")
            verdict = "accepted" if row["accepted"] else "rejected for " + ", ".join(row["rejected_for"])
            print(f"{row['supported']} of {row['claims']} claims borne out, score {row['score']:.2f}, {verdict}.\n")


if __name__ == "__main__":
    main()
