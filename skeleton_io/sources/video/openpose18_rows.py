"""Csv rows of 18 OpenPose joints and a class, one row a FRAME -> refused, with the reason.

Such tables mix the frames of many recordings and say nowhere which rows belong together or in which order. A row is
no clip, and to join rows by guess would invent motion.
"""

from __future__ import annotations

from collections.abc import Iterable

from skeleton_io.sources.shared.files import ClipOrError, FileSource, Listing, SourceFile

_FIRST, _LAST = b"nose_x,nose_y,", b"class"


def parse(file: SourceFile) -> Iterable[ClipOrError]:
    """Raises for every file.

    Raises:
        SkeletonFormatError: rows without a sequence id; or no such table at all.
    """
    if not _sniff(file.item.path, file.data[:4096]):
        raise file.error("line 1", "columns nose_x, nose_y, ..., class", repr(file.data[:40]))
    rows = file.data.count(b"\n") + (not file.data.endswith(b"\n")) - 1
    raise file.error("line 1", "a column that names each row's recording", f"{rows} rows of joints and a class only")


def _sniff(path: str, head: bytes) -> bool:
    line = head.partition(b"\n")[0].strip().lower()
    return line.startswith(_FIRST) and line.endswith(_LAST)


SOURCE = FileSource(
    name="openpose18_rows",
    version=1,
    pattern=r"(?:.*/)?([^/]+)\.csv",
    parse=parse,
    sniff=_sniff,
    listing=Listing(
        title="csv rows of single frames",
        files="*.csv, a row per frame (refused: no clips in it)",
        joints="18",
        dims="2",
        persons="1",
    ),
)
