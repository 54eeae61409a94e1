"""`skel <command>`: one command per stage, plus `full`, `inspect`, `config`. `--help` loads neither torch nor Ray."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from pipelines import config as configuration
from pipelines import full
from pipelines.cluster import connected, require, set_offline
from pipelines.config import FullConfig
from pipelines.errors import UserError
from pipelines.manifest import RunPaths

STAGE_HELP = {
    "rationales": "ask the teacher for a rationale of every training clip",
    "tiny-mllm": "write the tiny multimodal LLM that stands in where no checkpoint is at hand",
    "train": "train DrAction with the multimodal LLM, stage by stage (Ray Train + DeepSpeed)",
    "tune": "search rendering hyperparameters (Ray Tune); writes tune/best.yaml, which `skel train` accepts",
    "transfer": "train on one set, test on another over the labels they share",
    "evaluate": "score the test clips of every protocol",
    "report": "write report.json and report.html",
}
EPILOG = (
    "Any field of the configuration can be overridden by its name, for example --train.zero-stage 2 or "
    "--renderer.frames 16; `skel config --help` lists all fields with their meaning and default."
)


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="YAML preset, for example tune_configs/full_demo.yaml")
    parser.add_argument("--out", required=True, help="folder or URI of the run; stages find each other's output there")
    parser.add_argument("--data-root", default="", help="replaces {data_root} in data.inputs")


def _loaded(args: argparse.Namespace, rest: list[str]) -> tuple[FullConfig, RunPaths]:
    out = full.absolute(args.out)
    cfg = configuration.override(configuration.load(args.config), rest)
    if args.command in ("full", "ingest"):
        # The other stages read shards, not the native files.
        cfg = full.fill_inputs(cfg, args.data_root, out)
    return cfg, RunPaths(out)


def _full(args: argparse.Namespace, rest: list[str]) -> None:
    cfg, paths = _loaded(args, rest)
    full.check_inputs(cfg)
    with connected():
        full.run(cfg, paths)


def _stage(args: argparse.Namespace, rest: list[str]) -> None:
    cfg, paths = _loaded(args, rest)
    with connected():
        # An actor that no node can hold would be waited for without end.
        require(cfg.train.cpus_per_worker, cfg.train.gpus_per_worker, f"{args.command} (one worker)")
        full.run_one(args.command, cfg, paths)


def _demo_data(args: argparse.Namespace, rest: list[str]) -> None:
    import tyro
    from rich import print as show

    from pipelines import demo_data
    from skeleton_io.demo import DemoConfig

    cfg = tyro.cli(DemoConfig, args=rest, prog="skel demo-data OUT")
    show(demo_data.write(full.absolute(args.out), cfg))


def _ingest(args: argparse.Namespace, rest: list[str]) -> None:
    if args.config and args.input:
        raise UserError("give either --input NAME=PATH or --config, not both")
    if args.config:
        if args.format or args.clips_per_shard:
            raise UserError("with --config, say --data.format and --data.clips-per-shard instead")
        _stage(args, rest)
        return
    if rest:
        raise UserError(f"skel ingest does not know {' '.join(rest)}; see skel ingest --help")
    if not args.input:
        raise UserError("nothing to ingest: give --input NAME=PATH, once per set")
    inputs: dict[str, str] = {}
    for item in args.input:
        name, equals, path = item.partition("=")
        if not equals or not name or not path:
            raise UserError(f"--input takes NAME=PATH, found {item!r}")
        if name in inputs:
            raise UserError(f"--input names the set {name} twice")
        inputs[name] = full.absolute(path)
    from pipelines import ingest

    with connected():
        ingest.ingest(inputs, full.absolute(args.out), args.format or "ipc", args.clips_per_shard or 256)


def _inspect(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"skel inspect does not know {' '.join(rest)}; see skel inspect --help")
    from pipelines import inspect_shards

    inspect_shards.show(full.absolute(args.uri), as_json=args.json)


def _config(args: argparse.Namespace, rest: list[str]) -> None:
    base = configuration.load(args.config) if args.config else FullConfig()
    print(configuration.to_yaml(configuration.override(base, rest)), end="")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skel",
        description="Skeletons of any format -> Arrow shards -> rendered frames -> a multimodal LLM that names and "
        "explains the action. Start with: skel full --config tune_configs/full_demo.yaml --out runs/demo",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, work: Callable[[argparse.Namespace, list[str]], None]) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", epilog=EPILOG)
        sub.set_defaults(work=work)
        return sub

    _add_run_arguments(add("full", "run the whole pipeline; goes on where it was stopped", _full))
    demo = add("demo-data", "write a synthetic labelled motion set in three native formats", _demo_data)
    demo.epilog = "Further options are the fields of DemoConfig, for example --seed 3 --subjects 16."
    demo.add_argument("out", help="folder to write")
    ingest = add("ingest", "read native files into Arrow shards, with a quarantine for broken ones", _ingest)
    ingest.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a set and its folder; NAME is a known source (msr_action3d, utd_mhad, nw_ucla, sbu, bandai_namco_1, ...) "
        "or NAME:FORMAT with FORMAT one of ntu, bvh, coco17; repeatable",
    )
    ingest.add_argument("--out", required=True, help="folder or URI of the shard set (with --config: of the run)")
    ingest.add_argument("--format", choices=["ipc", "parquet"], default="", help="Arrow IPC files (default) or Parquet")
    ingest.add_argument("--clips-per-shard", type=int, default=0, help="consecutive clips per file (256)")
    ingest.add_argument("--config", default="", help="take the inputs from a preset instead of --input")
    ingest.add_argument("--data-root", default="", help="replaces {data_root} in data.inputs")
    inspect = add("inspect", "show what a shard set holds: counts, classes, quality, quarantine", _inspect)
    inspect.add_argument("uri", help="folder or URI of a shard set")
    inspect.add_argument("--json", action="store_true", help="machine-readable")
    for name, text in STAGE_HELP.items():
        _add_run_arguments(add(name, text, _stage))
    config = add("config", "print the resolved configuration as YAML", _config)
    config.add_argument("--config", default="", help="YAML preset; without it the defaults")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Entry point of `skel`; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["config"] and {"-h", "--help"} & set(arguments):
        # The list of all fields is tyro's to print.
        configuration.override(FullConfig(), ["--help"])
    if arguments[:1] == ["demo-data"] and {"-h", "--help"} & set(arguments):
        import tyro

        from skeleton_io.demo import DemoConfig

        tyro.cli(DemoConfig, args=["--help"], prog="skel demo-data OUT")
    args, rest = _parser().parse_known_args(arguments)
    set_offline()
    return full.guarded(lambda: args.work(args, rest))


if __name__ == "__main__":
    sys.exit(main())
