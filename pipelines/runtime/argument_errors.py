"""What is wrong with a command line, in one line: an unknown flag with the nearest one, tyro's boxes as sentences."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from pipelines.runtime.errors import UserError

_PLAIN_WORDS = (
    (r"Error parsing (\S+): invalid literal for int\(\) with base 10: (.*)", r"\1: expected a whole number, found \2"),
    (r"Error parsing (\S+): could not convert string to float: (.*)", r"\1: expected a number, found \2"),
    (r"Error parsing (\S+): Could not find valid parse for arguments: \[(.*)\]", r"\1: cannot read \2"),
    (r"Error parsing (\S+): no type matching \S+ could be instantiated from \[(.*?)\]\..*", r"\1: cannot read \2"),
    (r"Error parsing (--\S+): (.*)", r"\1: \2"),
    (r"Error parsing \w+: (.*)", r"\1"),
    (r"Missing value for argument '([^']*)'.*", r"\1 needs a value"),
)
"""What tyro says -> what we say."""
_CHOICE = re.compile(r"invalid choice '(.*)' for argument '([^']*)'\. Expected one of \((.*)\)\.")


class UnknownArgument(UserError):
    """A flag or word that nothing takes; names the nearest flag.

    Args:
        argument: the word.
        known: what could have been meant -> how it is called today.
        program: who does not know it.
    """

    def __init__(self, argument: str, known: Mapping[str, str], program: str = "the configuration") -> None:
        near = difflib.get_close_matches(argument, known, 1)
        hint = f"did you mean {known[near[0]]}?" if near else f"see {program} --help"
        super().__init__(f"{program} does not know {argument}; {hint}")
        self.argument, self.known = argument, dict(known)


def one_line(box: str, incomplete: str) -> str:
    """The first paragraph of tyro's box as a sentence.

    Args:
        box: as tyro prints it; its rules are of hyphens where the terminal has no better ones.
        incomplete: what to say where positional words are missing.
    """
    inside = re.sub(r"\x1b\[[\d;]*m", "", box).splitlines()[1:]  # the first line is the title
    lines = "\n".join(line.strip(" │") for line in inside).strip("-─\n").splitlines()
    end = next((at for at, line in enumerate(lines) if re.match("[-─]{8}|╰", line)), len(lines))
    text = re.sub(r" ([.,)])", r"\1", " ".join(line for line in lines[:end] if line))  # it wraps before a full stop
    if text.startswith("Missing from"):
        return incomplete
    if choice := _CHOICE.fullmatch(text):
        names = sorted(set(re.findall(r"'([^']*)'", choice[3])) - {"", "None"})  # tyro's order changes
        return f"{choice[2]}: expected {', '.join(names)}; found {choice[1]}"
    for pattern, sentence in _PLAIN_WORDS:
        if re.fullmatch(pattern, text):
            return re.sub(pattern, sentence, text)
    return text
