"""How a command ends: errors of the user in one line, exit codes that a script can tell apart."""

from __future__ import annotations

import os
import select
import sys
import traceback
from typing import Any

from pipelines.runtime.errors import StageFailed, UserError

EXIT_UNHEARD = 141  # 128 + SIGPIPE


def guarded(work: Any) -> int:
    """Runs `work()`; exit code 2 and one line for errors of the user, 75 after a requested end, 1 for all others.

    Where the reader of our output has gone (`skel ... | head`), the end is a quiet 141, as a shell's own tools give.
    """
    try:
        _to_the_end(work)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except StageFailed as error:
        print(f"failed: {error}", file=sys.stderr, flush=True)
        return 1
    except BrokenPipeError as error:
        if _has_reader():
            return _report_unforeseen(error)
        return EXIT_UNHEARD
    except KeyboardInterrupt:
        print("interrupted; finished stages are kept", file=sys.stderr, flush=True)
        return 130
    except Exception as error:  # noqa: BLE001 - the last line of defence; the traceback is printed
        from pipelines.runtime.stop import EXIT_STOPPED, Stopped  # pyarrow: too slow for a list of commands

        if not isinstance(error, Stopped):
            return _report_unforeseen(error)
        print(f"stopped: {error}", file=sys.stderr, flush=True)
        return EXIT_STOPPED
    return 0


def _to_the_end(work: Any) -> None:
    """Runs `work()` and writes out what it has printed, also where it ended after showing its help."""
    try:
        work()
    except SystemExit as end:
        if end.code:
            raise
    sys.stdout.flush()


def _report_unforeseen(error: Exception) -> int:
    """Exit code of an exception that nothing expected: of the user's error in it, else 1 and the traceback."""
    if isinstance(cause := user_error_in(error), UserError):
        print(f"error: {cause}", file=sys.stderr, flush=True)
        return 2
    traceback.print_exception(error)
    return 1


def _has_reader() -> bool:
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
