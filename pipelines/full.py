"""The whole pipeline: the script that `ray job submit --working-dir . -- python pipelines/full.py` runs.

demo data -> ingest -> rationales -> tiny MLLM -> four training stages -> tune -> transfer -> evaluate -> report. Each
stage is a module of its own; a stage that is finished is skipped, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import importlib
import os
import select
import sys
import traceback
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    # Run as a script: the folder of this file would shadow top-level modules with names such as `config`.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pipelines import config as configuration
from pipelines.cluster import connected, require, set_offline
from pipelines.config import FullConfig
from pipelines.errors import StageFailed, UserError
from pipelines.manifest import RunPaths
from pipelines.progress import say
from pipelines.stop import EXIT_STOPPED, Stopped

EXIT_UNHEARD = 141  # 128 + SIGPIPE
# Stage name -> module; every module has run(cfg, paths) -> summary. Imported late: `--help` loads no torch.
STAGES: dict[str, str] = {
    "demo-data": "pipelines.demo_data",
    "ingest": "pipelines.ingest",
    "rationales": "pipelines.rationales",
    "tiny-mllm": "pipelines.tiny_mllm",
    "train": "pipelines.train",
    "tune": "pipelines.tune",
    "transfer": "pipelines.transfer",
    "evaluate": "pipelines.evaluate",
    "report": "pipelines.report",
}


def planned(cfg: FullConfig) -> list[str]:
    """The stages that this configuration asks for, in order."""
    wanted = {
        "demo-data": cfg.data.demo,
        "tiny-mllm": not cfg.mllm.path,
        "tune": bool(cfg.tune.space),
        "transfer": bool(cfg.evaluate.transfer) or cfg.evaluate.transfer_all,
    }
    return [name for name in STAGES if name not in wanted or wanted[name]]


def run_one(name: str, cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """Runs one stage by name and returns its summary."""
    return importlib.import_module(STAGES[name]).run(cfg, paths)


def run(cfg: FullConfig, paths: RunPaths) -> dict[str, Any]:
    """All planned stages in order; returns the report's summary.

    Raises:
        UserError: the cluster can never run the training; said before the first stage, not after hours.
    """
    names = planned(cfg)
    train = cfg.train
    require(train.workers * train.cpus_per_worker, train.workers * train.gpus_per_worker, f"{train.workers} workers")
    summary: dict[str, Any] = {}
    for number, name in enumerate(names, 1):
        say(f"[full] stage {number}/{len(names)}: {name}")
        summary = run_one(name, cfg, paths)
    say(f"[full] report: {paths.at('report.html')} and {paths.at('report.json')}")
    return summary


def absolute(uri: str) -> str:
    """A URI as it is; a path as an absolute one, since workers and jobs run in other folders."""
    return uri if "://" in uri else str(Path(uri).resolve())


def fill_inputs(cfg: FullConfig, data_root: str, out: str) -> FullConfig:
    """Replaces {data_root} and {out} in `data.inputs` and makes the paths absolute.

    Raises:
        UserError: an input needs --data-root and none was given.
    """
    inputs = {}
    for name, path in cfg.data.inputs.items():
        if "{data_root}" in path and not data_root:
            raise UserError(f"data.inputs {name}: {path} needs --data-root FOLDER")
        inputs[name] = absolute(path.replace("{data_root}", data_root).replace("{out}", out))
    return configuration.with_values(cfg, {"data.inputs": inputs}, "data.inputs")


def check_inputs(cfg: FullConfig) -> None:
    """Every local input folder exists before Ray starts; generated ones are written later.

    Raises:
        UserError: names the set and the folder.
    """
    if cfg.data.demo:
        return
    for name, path in cfg.data.inputs.items():
        if "://" not in path and not Path(path).exists():
            raise UserError(f"data.inputs {name}: no folder at {path}")


def guarded(work: Any) -> int:
    """Runs `work()`; exit code 2 and one line for errors of the user, 75 after a requested end, 1 for all others.

    Where the reader of our output has gone (`skel ... | head`), the end is a quiet 141, as a shell's own tools give.
    """
    try:
        work()
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except StageFailed as error:
        print(f"failed: {error}", file=sys.stderr, flush=True)
        return 1
    except Stopped as error:
        print(f"stopped: {error}", file=sys.stderr, flush=True)
        return EXIT_STOPPED
    except BrokenPipeError as error:
        if _listened_to():
            return _unforeseen(error)
        return EXIT_UNHEARD
    except KeyboardInterrupt:
        print("interrupted; finished stages are kept", file=sys.stderr, flush=True)
        return 130
    except Exception as error:  # noqa: BLE001 - the last line of defence; the traceback is printed
        return _unforeseen(error)
    return 0


def _unforeseen(error: Exception) -> int:
    """Exit code of an exception that nothing expected: of the user's error in it, else 1 and the traceback."""
    if isinstance(cause := user_error_in(error), UserError):
        print(f"error: {cause}", file=sys.stderr, flush=True)
        return 2
    traceback.print_exception(error)
    return 1


def _listened_to() -> bool:
    """Whether stdout still has a reader; where it has none, what is left of it goes nowhere."""
    try:
        out = sys.stdout.fileno()
    except (OSError, ValueError):
        return True
    poll = select.poll()
    poll.register(out, select.POLLOUT)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return True
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out)  # or the interpreter complains at its own last flush
    os.close(nowhere)
    return False


def user_error_in(error: BaseException) -> BaseException | None:
    """The UserError that Ray wrapped on its way out of a task, if there is one."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, UserError):
        seen = getattr(seen, "cause", None) or seen.__cause__
    return seen


def main(argv: list[str] | None = None) -> int:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        prog="full.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Any field of the configuration can be overridden by its name, for example --train.zero-stage 2; "
        "`skel config --help` lists them all.",
    )
    parser.add_argument("--config", required=True, help="YAML preset, for example tune_configs/full_demo.yaml")
    parser.add_argument("--out", required=True, help="folder or URI of the run")
    parser.add_argument("--data-root", default="", help="replaces {data_root} in data.inputs")
    args, rest = parser.parse_known_args(argv)

    def work() -> None:
        set_offline()
        out = absolute(args.out)
        cfg = configuration.override(configuration.load(args.config), rest)
        cfg = fill_inputs(cfg, args.data_root, out)
        check_inputs(cfg)
        with connected():
            run(cfg, RunPaths(out))

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main())
