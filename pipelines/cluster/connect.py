"""Joins the cluster that RAY_ADDRESS names (a submitted job always has one) or starts a local one in this process.

Nothing is sent anywhere: usage statistics are off and hubs are offline unless the caller's environment says otherwise.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pipelines.runtime.errors import UserError
from pipelines.runtime.progress import say

OFFLINE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray Data prints a bar per operator, which a job's log turns into noise; the stages print their own progress.
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # A worker that does not rotate its log asks for the log's size before each task, and the task fails where that file
    # is not there (seen once in a hundred runs); rotating also bounds what a long run leaves on disk.
    "RAY_ROTATION_MAX_BYTES": str(128 * 2**20),
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def set_offline() -> None:
    """Applies the offline defaults to this process; must run before ray, transformers or deepspeed are imported."""
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)


@functools.cache
def _token() -> str:
    """One per process: Ray reads it once, so a second head of the same process needs the first one's."""
    return secrets.token_hex(32)


def private_head() -> dict[str, str]:
    """Environment of a head that only this machine reaches: loopback, a random token, a temp folder of its own."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _token(),
        # Unix sockets allow about 100 characters, so Ray's folder must lie high up.
        "RAY_TMPDIR": tempfile.mkdtemp(prefix="skel-"),
        # On Linux Ray replaces 127.0.0.1 by the machine's outside address and listens on all interfaces, unless it
        # is told that this is one of the systems where it does not build clusters.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def _join(address: str, env_vars: dict[str, str]) -> None:
    """Connects to a cluster that was there before.

    Raises:
        UserError: nothing answers at the address.
    """
    import ray

    # Ray's own helpers look for the cluster by this name too, and fail where the machine runs several.
    runtime_env: dict[str, Any] = {"env_vars": env_vars | {"RAY_ADDRESS": address}}
    # A job has a runtime environment already; the values above come from there, so nothing is lost.
    os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
        # Not submitted as a job, so nobody has sent the code to the other nodes yet; .rayignore keeps it small.
        runtime_env["working_dir"] = str(Path(__file__).resolve().parents[2])
    try:
        ray.init(address=address, runtime_env=runtime_env, logging_level=logging.WARNING)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"no Ray cluster answers at RAY_ADDRESS={address}: {why}") from None


def _start_head(env_vars: dict[str, str], tries: int = 3) -> None:
    """Starts a head of this process's own. Ray gives it 30 s, which a machine under full load does not always keep.

    What a failed try has started ends with this process; the next try has other ports.
    """
    import ray

    for left in reversed(range(tries)):
        # Ray's own helpers in its workers look for the cluster by RAY_ADDRESS, and fail where the machine runs several.
        port = _free_port()
        os.environ["RAY_GCS_SERVER_PORT"] = str(port)
        try:
            ray.init(
                include_dashboard=True,  # without it a cleaner of Ray 2.60 logs an error every second
                dashboard_host="127.0.0.1",
                runtime_env={"env_vars": env_vars | {"RAY_ADDRESS": f"127.0.0.1:{port}"}},
                logging_level=logging.WARNING,
            )
            return
        except Exception as error:  # Ray raises the bare class here
            late = any(words in str(error) for words in ("timed out during startup", "Failed to start GCS"))
            if not left or not late:
                raise
            say("[ray] the head did not start in time: this machine is very busy; trying again")
        finally:
            os.environ.pop("RAY_GCS_SERVER_PORT")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def _local(env_vars: dict[str, str]) -> Iterator[None]:
    """A cluster of this process's own, with a temp folder that goes with it."""
    private = private_head()
    # Before the import: Ray reads some of them only then.
    os.environ.update(private)
    import ray

    try:
        _start_head(env_vars)
        yield
    finally:
        ray.shutdown()
        for name in private:
            os.environ.pop(name)
        shutil.rmtree(private["RAY_TMPDIR"], ignore_errors=True)


@contextmanager
def connected() -> Iterator[None]:
    """Ray for the length of the block; a cluster that was there before is left alone.

    Raises:
        UserError: RAY_ADDRESS names a cluster that does not answer.
    """
    set_offline()
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    env_vars = {name: os.environ[name] for name in OFFLINE}
    with ExitStack() as stack:
        if address:
            _join(address, env_vars)
            stack.callback(sys.modules["ray"].shutdown)
        else:
            stack.enter_context(_local(env_vars))
        have = sys.modules["ray"].cluster_resources()
        where = f"joined {address}" if address else "local"
        say(f"[ray] {where}: {have.get('CPU', 0):g} CPUs, {have.get('GPU', 0):g} GPUs")
        yield


def require(cpus: float, gpus: float, what: str) -> None:
    """Refuses a plan that the cluster can never run, instead of waiting for ever.

    Raises:
        UserError: says what is needed and what there is.
    """
    import ray

    have = ray.cluster_resources()
    have_cpus, have_gpus = have.get("CPU", 0.0), have.get("GPU", 0.0)
    if have_cpus < cpus or have_gpus < gpus:
        raise UserError(
            f"{what} needs {cpus:g} CPUs and {gpus:g} GPUs, the cluster has {have_cpus:g} and {have_gpus:g}; "
            "lower train.workers, train.cpus_per_worker or train.gpus_per_worker, or add nodes"
        )
