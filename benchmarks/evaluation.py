"""Finished evaluations -> benchmarks/results/evaluation.md. Scores nothing.

skel evaluate --model RUN --shards S --out direct
skel evaluate --model RUN --shards S --out reason --answer reason --evaluate.max-clips 40
skel transfer --config tune_configs/full_real.yaml --out RUN2 --all
skel evaluate --model DRACTION --shards S --out drawn --beside stick=STICK   (presets/renderers_real.yaml)
python -m benchmarks.evaluation --direct direct --reason reason --renderers drawn --matrix RUN2/transfer/matrix.json \
    --notes notes.md
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parent / "results" / "evaluation.md"
Block = dict[str, Any]


def share(block: Block) -> str:
    """ "61.2 (58.4 to 63.9)", per cent."""
    low, high = block["ci95"]
    return f"{100 * block['value']:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def number(block: Block, name: str) -> str:
    """A value with its interval, as it is."""
    low, high = block[f"{name}_ci95"]
    return f"{block[name]:.3f} ({low:.3f} to {high:.3f})"


def methods(summary: Block) -> list[str]:
    """The model, baselines and floors of each set."""
    lines = [
        "| set | protocol | clips | chance | method | accuracy % | model minus it |",
        "|---|---|---:|---:|---|---:|---:|",
    ]
    for row in summary["table"]:
        block = summary["sets"][row["set"]]
        gap = row["difference"]
        told = f"{100 * row['value']:.1f}" if row["ci95"] is None else share(row)
        lines.append(
            f"| {row['set']} | {summary['protocols'][row['set']]['name']} | {block['accuracy']['n']} | "
            f"{100 * row['chance']:.1f} | {row['name']} | {told} | "
            + (
                f"{100 * gap['value']:+.1f} ({100 * gap['ci95'][0]:+.1f} to {100 * gap['ci95'][1]:+.1f}) |"
                if gap
                else "|"
            )
        )
    return lines


def scores(summary: Block) -> list[str]:
    """Every score over all sets and by set."""
    blocks = {"all": summary, **summary["sets"]}
    rows = {
        "clips": lambda b: str(b["accuracy"]["n"]),
        "chance %": lambda b: f"{100 * b['accuracy']['chance']:.1f}",
        "likelihood per token (headline) %": lambda b: share(b["accuracy"]),
        "likelihood summed %": lambda b: share(b["rules"]["summed"]),
        "less the prior %": lambda b: share(b["rules"]["prior_corrected"]),
        "top 3 %": lambda b: share({"value": b["accuracy"]["top3"], "ci95": b["accuracy"]["top3_ci95"]}),
        "top 5 %": lambda b: share({"value": b["accuracy"]["top5"], "ci95": b["accuracy"]["top5_ci95"]}),
        "class mean %": lambda b: share(b["mean_class"]),
        "written, exact %": lambda b: share(b["generated"]["exact"]),
        "written, nearest %": lambda b: share(b["generated"]["nearest"]),
        "written, official substring %": lambda b: share(b["generated"]["substring"]),
        "NLL, nats": lambda b: number(b["calibration"], "nll"),
        "ECE": lambda b: number(b["calibration"], "ece"),
        "AURC": lambda b: number(b["abstention"], "aurc"),
        "accuracy on the surest half %": lambda b: f"{100 * at(b['abstention'], 0.5):.1f}",
    }
    lines = ["| score | " + " | ".join(blocks) + " |", "|---|" + "---:|" * len(blocks)]
    lines += [
        f"| {name} | " + " | ".join(tell(block) for block in blocks.values()) + " |" for name, tell in rows.items()
    ]
    return lines


def at(curve: Block, coverage: float) -> float:
    """Accuracy of the abstention curve at one coverage."""
    return curve["accuracy"][curve["coverage"].index(coverage)]


def matrix(found: Block) -> list[str]:
    """Model and nearest clip of every pair."""
    lines = [
        "| trained on | tested on | shared labels | clips | chance | model % | nearest clip % |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for cell in found["cells"]:
        lines.append(
            f"| {cell['train']} | {cell['test']} | {cell['labels']} | {cell['n']} | {100 * cell['chance']:.1f} | "
            f"{share(cell) if cell['ci95'] else 'not trained'} | {share(cell['nearest'])} |"
        )
    return lines


def main() -> int:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--direct", required=True)
    parser.add_argument("--reason", default="")
    parser.add_argument("--matrix", default="")
    parser.add_argument("--renderers", default="", help="an evaluation --beside models behind fixed renderers")
    parser.add_argument("--notes", default="", help="Markdown that is put after the title")
    parser.add_argument("--out", default=str(OUT))
    args = parser.parse_args()
    direct = json.loads((Path(args.direct) / "metrics.json").read_text())
    lines = ["# Evaluation", "", *(Path(args.notes).read_text().splitlines() if args.notes else []), ""]
    lines += ["## Methods on the same clips", "", *methods(direct), "", "## All scores", "", *scores(direct), ""]
    if args.renderers:
        drawn = json.loads((Path(args.renderers) / "metrics.json").read_text())
        lines += ["## Fixed renderers", "", *methods(drawn), ""]
    if args.reason:
        reason = json.loads((Path(args.reason) / "metrics.json").read_text())
        lines += ["## Answers after reasoning", "", *scores(reason), ""]
    if args.matrix:
        lines += ["## Transfer", "", *matrix(json.loads(Path(args.matrix).read_text())), ""]
    Path(args.out).write_text("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
