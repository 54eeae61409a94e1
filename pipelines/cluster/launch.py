"""Starts a Ray head of its own, submits the full pipeline as a job, streams its log, ends that head and no other.

What `make full` runs. The head has free ports, its own temp folder, a random token and listens on loopback only.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated

import tyro

from pipelines.cluster.connect import OFFLINE, private_head
from pipelines.config.loading import load_config
from pipelines.config.tree import FullConfig
from pipelines.runtime import manifest
from pipelines.runtime.arguments import name_value, read_options
from pipelines.runtime.errors import UserError
from pipelines.runtime.progress import say
from pipelines.runtime.stop import EXIT_STOPPED

LOOPBACK = "127.0.0.1"
STARTUP_SECONDS = 90
STOP_SECONDS = 110
"""Given to a job that is stopped: a spot machine is taken away two minutes after it is told. A second Ctrl-C waits no
longer."""


def pick_port(wanted: int, flag: str) -> int:
    """`wanted`, or a free port where it is 0.

    Raises:
        UserError: the wanted port is taken.
    """
    if not 0 <= wanted <= 65535:
        raise UserError(f"{flag} takes a port from 0 to 65535, found {wanted}")
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be taken ({error.strerror})"
            raise UserError(f"port {wanted} ({flag}) {why}; give another one, or 0 for any free port") from None
        return probe.getsockname()[1]


class Head:
    """One Ray head in the foreground of a child process; `stop` ends exactly that process."""

    def __init__(self, port: int, dashboard_port: int, cpus: int | None) -> None:
        self.url = f"http://{LOOPBACK}:{dashboard_port}"
        self.dashboard_port = dashboard_port
        bin_folder = str(Path(sys.executable).parent)
        self.env = os.environ | {name: os.environ.get(name, value) for name, value in OFFLINE.items()}
        # Ray kills a stopped job after 3 s, which is too short for a checkpoint.
        self.env["RAY_JOB_STOP_WAIT_TIME_S"] = str(STOP_SECONDS)
        self.env |= private_head() | {"PATH": bin_folder + os.pathsep + os.environ["PATH"]}
        self.folder = self.env["RAY_TMPDIR"]
        # A job of the user's own cluster must not be found by accident.
        self.env.pop("RAY_ADDRESS", None)
        command = [str(Path(bin_folder) / "ray"), "start", "--head", "--block", f"--node-ip-address={LOOPBACK}"]
        command += [f"--port={port}", f"--dashboard-host={LOOPBACK}", f"--dashboard-port={dashboard_port}"]
        command += [f"--dashboard-agent-listen-port={pick_port(0, '')}", f"--temp-dir={self.folder}"]
        command += ["--disable-usage-stats"] + ([f"--num-cpus={cpus}"] if cpus else [])
        self.log = open(Path(self.folder) / "head.log", "w+")  # noqa: SIM115 - closed in stop()
        self.process = subprocess.Popen(
            command, env=self.env, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def wait(self) -> None:
        """Returns once jobs can be submitted.

        Raises:
            UserError: the head ended or did not answer in time; carries the end of its log.
        """
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex((LOOPBACK, self.dashboard_port)) == 0:
                    return
            time.sleep(0.2)
        self.log.flush()
        tail = " | ".join(Path(self.log.name).read_text().strip().splitlines()[-3:])
        raise UserError(f"the Ray head did not come up within {STARTUP_SECONDS} s: {tail}")

    def stop(self) -> None:
        """SIGTERM to the head's own process, which ends its children; SIGKILL to its group if it hangs."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def exit_code(head: Head, job_id: str, code: int) -> int:
    """The driver's own exit code; Ray's command line returns 1 for every failure."""
    if code == 0:
        return 0
    question = (
        "import sys; from ray.job_submission import JobSubmissionClient as C; "
        f"print(C({head.url!r}).get_job_info({job_id!r}).driver_exit_code)"
    )
    try:
        answer = subprocess.run(
            [sys.executable, "-c", question], env=head.env, capture_output=True, text=True, timeout=60, check=False
        ).stdout.strip()
    except subprocess.TimeoutExpired:
        return code
    return int(answer) if answer.isdigit() and int(answer) else code


def submit(head: Head, root: Path, arguments: list[str]) -> int:
    """Submits the pipeline, streams its log and returns the job's exit code."""
    job_id = f"skel-{secrets.token_hex(4)}"
    env_vars = {name: head.env[name] for name in OFFLINE} | {"SKELETON_RAY_REVISION": manifest.revision(root)}
    ray = str(Path(sys.executable).parent / "ray")
    command = [ray, "job", "submit", "--address", head.url, "--submission-id", job_id, "--working-dir", str(root)]
    command += ["--runtime-env-json", json.dumps({"env_vars": env_vars})]
    command += ["--", "python", "pipelines/full.py", *arguments]
    job = subprocess.Popen(command, env=head.env, cwd=root, start_new_session=True)
    try:
        return exit_code(head, job_id, job.wait())
    except KeyboardInterrupt:
        say("[launch] interrupted: stopping the job; what is finished is kept and the next start goes on from there")
        stop = [ray, "job", "stop", "--no-wait", "--address", head.url, job_id]
        try:
            subprocess.run(stop, env=head.env, timeout=30, check=False, capture_output=True)
            # A training stage writes a checkpoint first; the job's log ends with the job.
            code = exit_code(head, job_id, job.wait(STOP_SECONDS) or 130)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            return 130
        return code if code == EXIT_STOPPED else 130
    finally:
        job.terminate()
        job.wait()


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal all raise KeyboardInterrupt in the block.

    Ctrl-C even where a script started it in the background, which ignores it; nohup keeps its meaning.
    """

    def interrupt(signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(signum).name)

    kinds = [signal.SIGINT, signal.SIGTERM]
    kinds += [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    previous = {kind: signal.signal(kind, interrupt) for kind in kinds}
    try:
        yield
    finally:
        for kind in kinds:
            signal.signal(kind, previous[kind])


def path_arguments(cfg: FullConfig) -> list[str]:
    """Arguments with the folders that a configuration names from here; the job reads it in a copy of the code."""
    named = {"--rationales.ledger": cfg.rationales.ledger, "--mllm.path": cfg.mllm.path}
    if cfg.rationales.renderer != "stick":
        named["--rationales.renderer"] = cfg.rationales.renderer
    return [part for flag, value in named.items() if value for part in (flag, value)]


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Starts a Ray head of its own, submits the full pipeline as a job, streams its log, ends that head and no other.

    What `make full` runs. The head has free ports, its own temp folder, a random token and listens on loopback only.
    """

    config: Annotated[str, name_value("FILE")]
    """YAML preset, for example tune_configs/full_demo.yaml."""
    out: Annotated[str, name_value("RUN")]
    """Folder or URI of the run."""
    data_root: Annotated[str, name_value("FOLDER")] = ""
    """Replaces {data_root} in data.inputs."""
    port: Annotated[int, name_value("PORT")] = 0
    """Port of the Ray head; 0: any free one."""
    dashboard_port: Annotated[int, name_value("PORT")] = 0
    """Port of the dashboard and job API; 0: any free one."""
    num_cpus: Annotated[int | None, tyro.conf.DisallowNone, name_value("N")] = None
    """CPUs that the head offers; default: all of the machine's."""


def run(argv: list[str] | None) -> int:
    """Checks the plan, then head, job, report; returns the job's exit code."""
    args, _ = read_options(Arguments, "python -m pipelines.cluster.launch", sys.argv[1:] if argv is None else argv)
    root = Path(__file__).resolve().parents[2]
    cfg = load_config(args.config)  # a wrong configuration must not cost a head's start
    out = args.out if "://" in args.out else str(Path(args.out).resolve())
    arguments = ["--config", str(Path(args.config).resolve()), "--out", out]
    if args.data_root:
        arguments += ["--data-root", args.data_root if "://" in args.data_root else str(Path(args.data_root).resolve())]
    arguments += path_arguments(cfg)
    port, dashboard_port = pick_port(args.port, "--port"), pick_port(args.dashboard_port, "--dashboard-port")
    with interruptible():
        head = Head(port, dashboard_port, args.num_cpus)
        try:
            say(f"[launch] Ray head starts, dashboard at {head.url}")
            head.wait()
            code = submit(head, root, arguments)
        except KeyboardInterrupt:
            code = 130
        finally:
            for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(kind, signal.SIG_IGN)  # a second Ctrl-C must not leave the head behind
            head.stop()
    if code == 0:
        say(f"[launch] report: {out}/report.html and {out}/report.json")
    return code


def main(argv: list[str] | None = None) -> int:
    """`run` with one clear line and exit code 2 for what the user can mend."""
    try:
        return run(argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
