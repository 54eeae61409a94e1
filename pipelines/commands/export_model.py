"""`skel export-model`."""

from __future__ import annotations

import argparse

from pipelines.commands.base import Add
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute


def register(add: Add) -> None:
    """Adds `export-model`."""
    parser = add(
        "export-model",
        "write a trained model as a folder that is used without this project: from_pretrained loads it, "
        "modeling_skeletonllm.py beside the weights draws and asks",
        _export,
    )
    parser.add_argument("run", help="folder or URI of a run, a training stage or an export")
    parser.add_argument("out", help="folder or URI to write to")
    parser.add_argument("--stage", default="", metavar="NAME", help="of the run; the last finished one without it")
    parser.add_argument("--replace", action="store_true", help="an earlier export at OUT may be removed")


def _export(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"skel export-model does not know {' '.join(rest)}; see skel export-model --help")
    from pipelines.exports.packaging import package

    package.write_package(absolute(args.run), absolute(args.out), args.stage, args.replace)
