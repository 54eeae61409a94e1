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

_MOST_READ = 8  # files of a format whose first bytes are read: a folder may be remote
_RIVAL = 0.25
"""A second format with at least this share of the first one's files makes the folder ambiguous."""
_NAMED = 3  # kinds or paths that a message names
_WORDS = "texts"  # the format whose files are companions of others


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A format and what speaks for it.

    Attributes:
        files: paths that fit its pattern.
        sample_size: of how many of them the first bytes were read, `fitting` of which are of the format.
        first: the first that is.
    """

    source: FileSource
    files: tuple[str, ...]
    sample_size: int
    fitting: int
    first: str

    @property
    def weight(self) -> float:
        """About how many files are of the format."""
        return len(self.files) * self.fitting / self.sample_size

    def __str__(self) -> str:
        share = f"{self.fitting} of {self.sample_size} looked at"
        return f"{self.source.name} ({share}, {len(self.files)} in all: {self.first})"


def candidates(root: str, sources: Iterable[FileSource]) -> list[Candidate]:
    """Formats that read files of the folder, the likeliest first."""
    paths = [path for path in storage.list_files(root) if path.rsplit("/", 1)[-1] not in SIDE_FILES]
    heads: dict[str, bytes] = {}
    matches = []
    for source in sources:
        files = tuple(path for path in paths if source.fits(path))
        if not files:
            continue
        step = max(1, len(files) // _MOST_READ)
        sample = files[::step][:_MOST_READ]
        for path in sample:
            if path not in heads:
                heads[path] = storage.read_head(storage.join(root, path), HEAD_BYTES)
        fitting = [path for path in sample if source.sniff(path, heads[path])]
        if fitting:
            matches.append(
                Candidate(source=source, files=files, sample_size=len(sample), fitting=len(fitting), first=fitting[0])
            )
    words = [candidate for candidate in matches if candidate.source.name == _WORDS]
    if words:
        # Words beside motions are those motions' companions; alone they are words, whatever else reads such a file.
        matches = [other for other in matches if not set(other.files) <= set(words[0].files)] or words
    # Sorting is stable: with equal weights a named set comes first, then the table decides.
    return sorted(matches, key=lambda c: (-c.weight, c.source.licence is None))


def choose(ranking: Sequence[Candidate]) -> tuple[Candidate | None, list[Candidate]]:
    """The format of a folder and, where that is open, its rivals: (best, []) is a clear answer."""
    if not ranking:
        return None, []
    best = ranking[0]
    rivals = [other for other in ranking[1:] if other.weight >= _RIVAL * best.weight and not _is_covered(best, other)]
    return best, rivals


def _is_covered(best: Candidate, other: Candidate) -> bool:
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
