"""Notices a rank that hangs: where nothing beats for a set time, all stacks are written and the process ends.

The timer is faulthandler's own thread, which needs no interpreter lock: it also fires while the rank waits in a
collective or in native code. The end of one rank is what Ray Train answers by starting all of them again. Does not find
out which rank was first; the stacks tell (the others wait in a collective). A process that is frozen as a whole
(SIGSTOP) cannot end itself: then the others' timers fire.
"""

from __future__ import annotations

import faulthandler
import hashlib
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from skeleton_io import storage

FOLDER = "faults"
"""Of a stage, for stacks and the clips of steps that failed."""
_TRIES = 1000


def dump_folder(out: str) -> Path:
    """Where this machine's ranks write their stacks: the stage's own folder, or a temporary one where that is remote.

    A dying process cannot upload; `collect` does at the next start.
    """
    if storage.is_local(out):
        return storage.local_path(out) / FOLDER
    return Path(tempfile.gettempdir()) / f"skel-{FOLDER}-{hashlib.sha256(out.encode()).hexdigest()[:16]}"


def collect(out: str) -> list[str]:
    """Uploads stacks that lie on this machine to a remote stage folder; returns the names of all that are there.

    Empty files, of ranks that ended in another way, are removed: before any rank of this start watches.
    """
    folder = dump_folder(out)
    stacks = []
    for file in sorted(folder.glob("hang-*.txt")) if folder.is_dir() else []:
        try:
            if file.stat().st_size:
                stacks.append(file)
            else:
                file.unlink()
        except FileNotFoundError:
            continue  # another rank of this machine was faster
    if not storage.is_local(out):
        for file in stacks:
            with suppress(FileNotFoundError):
                storage.write_atomic(storage.join(out, FOLDER, file.name), file.read_bytes())
                file.unlink()
    return [file.name for file in stacks]


class Watchdog:
    """Ends this process where `beat` is not called for `seconds`; 0 does nothing. One per process.

    Args:
        seconds: of patience.
        out: URI of the stage.
        rank: named in the file of the stacks.
    """

    def __init__(self, seconds: float, out: str, rank: int) -> None:
        self.seconds, self.folder, self.rank = seconds, dump_folder(out), rank
        self.file: TextIO | None = None

    def beat(self) -> None:
        """Something was done: the time starts anew."""
        if not self.seconds:
            return
        if self.file is None:
            self.file = self._open()
        faulthandler.dump_traceback_later(self.seconds, exit=True, file=self.file)

    def _open(self) -> TextIO:
        """Open from the start: lost rights or files that run out must not matter when it is needed.

        Raises:
            OSError: the folder cannot be made.
        """
        for _ in range(_TRIES):
            # Another rank of this machine that stops watching removes the folder where it is empty: try again.
            with suppress(FileNotFoundError, FileExistsError):
                self.folder.mkdir(parents=True, exist_ok=True)
                number = len(list(self.folder.glob(f"hang-rank{self.rank}-*.txt")))
                return (self.folder / f"hang-rank{self.rank}-{number}.txt").open("w")
        raise OSError(f"{self.folder}: expected a folder that can be made, found something in its way")

    def close(self) -> None:
        """Stops watching until the next beat; removes the file, which is empty."""
        if self.file is not None:
            faulthandler.cancel_dump_traceback_later()
            self.file.close()
            Path(self.file.name).unlink(missing_ok=True)
            self.file = None
            with suppress(OSError):
                self.folder.rmdir()  # only where it is empty
