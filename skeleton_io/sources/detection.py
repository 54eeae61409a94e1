"""A folder of unknown files -> the formats that it may be, by names and first bytes. Reads no clip.

A file counts for a format if its path fits the pattern; how many of the looked-at files the format's `sniff` takes
says how far that goes. A named set wins over a general format that reads the same files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skeleton_io import storage
from skeleton_io.sources.shared.files import HEAD_BYTES, FileSource
from skeleton_io.sources.shared.side_files import SIDE_FILES

_LOOKED = 8
_RIVAL = 0.25
"""A second format with at least this share of the first one's files makes the folder ambiguous."""
_NAMED = 3
_WORDS = "texts"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A format and what speaks for it.

    Attributes:
        files: paths that fit its pattern.
        looked: of how many of them the first bytes were read, `fitting` of which are of the format.
        first: the first that is.
    """

    source: FileSource
    files: tuple[str, ...]
    looked: int
    fitting: int
    first: str

    @property
    def weight(self) -> float:
        """About how many files are of the format."""
        return len(self.files) * self.fitting / self.looked

    def __str__(self) -> str:
        return f"{self.source.name} ({self.fitting} of {self.looked} looked at, {len(self.files)} in all: {self.first})"


def candidates(root: str, sources: Iterable[FileSource]) -> list[Candidate]:
    """Formats that read files of the folder, the likeliest first."""
    listed = [path for path in storage.list_files(root) if path.rsplit("/", 1)[-1] not in SIDE_FILES]
    heads: dict[str, bytes] = {}
    found = []
    for source in sources:
        files = tuple(path for path in listed if source.fits(path))
        if not files:
            continue
        step = max(1, len(files) // _LOOKED)
        looked = files[::step][:_LOOKED]
        for path in looked:
            if path not in heads:
                heads[path] = storage.read_head(storage.join(root, path), HEAD_BYTES)
        fitting = [path for path in looked if source.sniff(path, heads[path])]
        if fitting:
            found.append(
                Candidate(source=source, files=files, looked=len(looked), fitting=len(fitting), first=fitting[0])
            )
    words = [candidate for candidate in found if candidate.source.name == _WORDS]
    if words:
        # Words beside motions are those motions' companions; alone they are words, whatever else reads such a file.
        found = [other for other in found if not set(other.files) <= set(words[0].files)] or words
    # Sorting is stable: with equal weights a named set comes first, then the table decides.
    return sorted(found, key=lambda c: (-c.weight, c.source.licence is None))


def choose(found: Sequence[Candidate]) -> tuple[Candidate | None, list[Candidate]]:
    """The format of a folder and, where that is open, its rivals: (best, []) is a clear answer."""
    if not found:
        return None, []
    best = found[0]
    rivals = [other for other in found[1:] if other.weight >= _RIVAL * best.weight and not _covered(best, other)]
    return best, rivals


def _covered(best: Candidate, other: Candidate) -> bool:
    """Whether the other one is the same files under a more general or a more special name."""
    special = (best.source.licence is None) != (other.source.licence is None)
    return special and set(other.files) <= set(best.files)


def what_is_there(paths: Sequence[str]) -> str:
    """ "12 .npy, 3 .csv": kinds of files, the most frequent first."""
    kinds = Counter(_suffix(path) for path in paths)
    parts = [f"{count} {suffix}" for suffix, count in kinds.most_common(_NAMED)]
    return ", ".join(parts) + (", ..." if len(kinds) > _NAMED else "") if parts else "no files"


def _suffix(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return "." + name.rsplit(".", 1)[-1].lower() if "." in name else "without suffix"


def named_files(paths: Sequence[str]) -> str:
    """The first few paths."""
    return ", ".join(paths[:_NAMED]) + (", ..." if len(paths) > _NAMED else "")
