"""`skel <command>`. `--help` loads neither torch nor Ray. Each command is a module of `pipelines.commands`."""

from __future__ import annotations

import argparse
import sys

from pipelines.cluster.connect import set_offline
from pipelines.commands import (
    compare,
    demo_data,
    describe,
    evaluate,
    export,
    export_model,
    formats,
    ingest,
    inspect,
    plan,
    predict,
    protocol,
    protocols,
    render,
    report,
    robustness,
    show_config,
    stages,
    transfer,
    words,
)
from pipelines.commands.base import Work
from pipelines.config.loading import override_config
from pipelines.config.tree import FullConfig
from pipelines.runtime.exits import guarded

COMMANDS = (
    stages,
    demo_data,
    formats,
    describe,
    ingest,
    inspect,
    protocols,
    protocol,
    export,
    render,
    plan,
    evaluate,
    compare,
    transfer,
    robustness,
    report,
    words,
    predict,
    export_model,
    show_config,
)
EPILOG = (
    "Any field of the configuration can be overridden by its name, for example --train.zero-stage 2 or "
    "--renderer.frames 16; `skel config --help` lists all fields with their meaning and default."
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skel",
        description="Skeletons of any format -> Arrow shards -> rendered frames -> a multimodal LLM that names and "
        "explains the action. Start with: skel full --config tune_configs/full_demo.yaml --out runs/demo",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, work: Work) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", epilog=EPILOG)
        sub.set_defaults(work=work)
        return sub

    for module in COMMANDS:
        module.register(add)
    for name, sub in commands.choices.items():
        takes_fields = name == "config" or "--config" in sub.format_usage()
        if sub.epilog == EPILOG and not takes_fields:
            sub.epilog = None
    return parser


def main(argv: list[str] | None = None) -> int:
    """Entry point of `skel`; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["config"] and {"-h", "--help"} & set(arguments):
        # The list of all fields is tyro's to print.
        override_config(FullConfig(), ["--help"])
    if arguments[:1] == ["demo-data"] and {"-h", "--help"} & set(arguments):
        import tyro

        from skeleton_io.demo.dataset import DemoConfig

        tyro.cli(DemoConfig, args=["--help"], prog="skel demo-data OUT")
    args, rest = _parser().parse_known_args(arguments)
    set_offline()
    return guarded(lambda: args.work(args, rest))


if __name__ == "__main__":
    sys.exit(main())
