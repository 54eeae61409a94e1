"""`skel protocol`."""

from __future__ import annotations

import argparse

from pipelines.commands.base import Add
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute
from pipelines.runtime.progress import say
from skeleton_io import storage


def register(add: Add) -> None:
    """Adds `protocol`."""
    parser = add("protocol", "write a zero-shot split of your own classes: some train, the others only test", _protocol)
    parser.add_argument("--shards", required=True, metavar="URI", help="shard set")
    parser.add_argument("--set", default="", metavar="NAME", help="set of it; may be left out where there is one")
    parser.add_argument("--unseen", required=True, type=int, metavar="N", help="classes that only test")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other classes")
    parser.add_argument("--within", default="", metavar="RULE", help="rule of the set that says who trains and tests")
    parser.add_argument("--out", required=True, metavar="FILE", help="YAML to write, for data.protocols")


def _protocol(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"skel protocol does not know {' '.join(rest)}; see skel protocol --help")
    from pipelines.data.tools.protocols import count_sides, draw_protocol
    from skeleton_io.protocols.files import is_file, to_yaml

    out = absolute(args.out)
    if not is_file(out):
        raise UserError(f"--out {args.out}: the name must end in .yaml")
    protocol, name, rows = draw_protocol(absolute(args.shards), args.set, args.unseen, args.seed, args.within)
    train, test = count_sides(protocol, rows)
    storage.write_atomic(out, to_yaml(protocol, f"{train} training clips, {test} test clips in the shards"))
    say(f"{protocol.name} ({protocol.hash}): {', '.join(protocol.hidden)} unseen; {train} train, {test} test -> {out}")
    say(f"data.protocols: {{{name}: {args.out}}}")
