"""The error that every reader raises for a file it cannot turn into a record."""

from __future__ import annotations


class SkeletonFormatError(ValueError):
    """A file breaks its format: says which file, where in it, what was expected and what was found.

    Args:
        path: file or URI that was read.
        place: where in the file, for example "line 12" or "frame 3, body 1".
        expected: what the format asks for there.
        found: what stands there instead.
    """

    def __init__(self, path: str, place: str, expected: str, found: str) -> None:
        super().__init__(f"{path}: {place}: expected {expected}, found {found}")
        self.path, self.place, self.expected, self.found = path, place, expected, found

    def __reduce__(self) -> tuple[type[SkeletonFormatError], tuple[str, str, str, str]]:
        # Exceptions cross process borders in Ray; the default pickling would replay only the joined message.
        return type(self), (self.path, self.place, self.expected, self.found)
