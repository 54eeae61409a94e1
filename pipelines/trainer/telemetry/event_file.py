"""Numbers by step -> one event file that TensorBoard reads. Writes scalars only; draws and reads nothing.

Written at once and in this thread: a writer with a queue waits for ever on one that a full disk has ended. A record is
its length, the length's checksum, an `Event` message and its checksum (TFRecord); the messages are those that
tensorboardX brings, which Ray Tune needs anyway.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class EventFile:
    """A new event file in a folder; the name says when and where it was begun.

    Args:
        folder: is made where it is not there.
        purge_step: what earlier files of the folder say about this step and later ones no longer counts.

    Raises:
        OSError: nothing can be written there.
    """

    def __init__(self, folder: str | Path, purge_step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]

        Path(folder).mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self.file = (Path(folder) / name).open("wb")
        self._write(Event(wall_time=now, file_version="brain.Event:2"))
        if purge_step > 1:
            self._write(Event(wall_time=now, step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def _write(self, event: Any) -> None:
        """One record."""
        from tensorboardX.record_writer import masked_crc32c

        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        self.file.write(length + struct.pack("<I", masked_crc32c(length)))
        self.file.write(data + struct.pack("<I", masked_crc32c(data)))

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers of one step.

        Raises:
            OSError: the disk is full.
        """
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        values = [Summary.Value(tag=key, simple_value=float(value)) for key, value in numbers.items()]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def flush(self) -> None:
        """Everything is in the file when this returns.

        Raises:
            OSError: the disk is full.
        """
        self.file.flush()

    def close(self) -> None:
        """Lets go of the file."""
        self.file.close()
