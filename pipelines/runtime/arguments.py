"""Words of a command line -> a frozen dataclass of options, by tyro, with one line for whatever is wrong.

Every door uses it: `skel`, `full.py`, the launcher. A list is given by spaces (`--sets A B`), never by commas or by
naming the flag twice. tyro's own errors are boxes of many lines; here they become `UserError`s.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import tyro

from pipelines.runtime.argument_errors import UnknownArgument, one_line
from pipelines.runtime.bounds_in_help import help_registry
from pipelines.runtime.errors import UserError

T = TypeVar("T")
FIELDS_NOTE = (
    "Any field of the configuration can be overridden by its name, for example --train.zero-stage 2 or\n"
    "--renderer.frames 16; `skel config --help` lists all fields with their meaning and default."
)


@dataclass(frozen=True)
class EarlierName:
    """Mark of an option: what it was called before, which is still taken."""

    flag: str


@dataclass(frozen=True)
class NoCommas:
    """Mark of a list that was once given by commas: a comma in it is refused, the way to give it is shown.

    `@FILE` may have one in its name.
    """

    example: str


def name_value(metavar: str) -> Any:
    """How an option's value is called in the help; an empty default is not shown, the docstring says what it means."""
    return tyro.conf.arg(
        metavar=metavar,
        help_behavior_hint=lambda default: "" if default in ("", "''", "None") else f"(default: {default})",
    )


@dataclass(frozen=True)
class _Option:
    flag: str
    metavar: str
    is_list: bool
    is_positional: bool
    is_required: bool
    marks: tuple[Any, ...]


def _options(cls: type) -> dict[str, _Option]:
    """Flag -> option of a flat dataclass; a switch that is on by default has its `--no-` form too."""
    hints, options = get_type_hints(cls, include_extras=True), {}
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        marks = tuple(hint.__metadata__) if hasattr(hint, "__metadata__") else ()
        kind = get_args(hint)[0] if marks else hint
        metavar = next((mark.metavar for mark in marks if getattr(mark, "metavar", None)), field.name.upper())
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        flag = "--" + field.name.replace("_", "-")
        positional = tyro.conf.Positional in marks
        options[flag] = _Option(flag, metavar, get_origin(kind) is tuple, positional, required, marks)
        if kind is bool and tyro.conf.FlagCreatePairsOff not in marks:
            options["--no-" + flag[2:]] = dataclasses.replace(options[flag], is_required=False)
    return options


def flags_of(cls: type) -> dict[str, str]:
    """The flags that a dataclass of options takes, earlier names too -> what they are called today."""
    options = _options(cls)
    return {flag: flag for flag, option in options.items() if not option.is_positional} | _earlier_names(options)


def _earlier_names(options: dict[str, _Option]) -> dict[str, str]:
    """Earlier name -> name of today."""
    return {m.flag: flag for flag, option in options.items() for m in option.marks if isinstance(m, EarlierName)}


def flags_of_fields(tree: object) -> dict[str, str]:
    """The dotted flags that a tree of configuration takes, as its help lists them."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        tyro.cli(type(tree), default=tree, args=["--help"])
    lines = (line.lstrip("│ ") for line in text.getvalue().splitlines())
    return {flag: flag for line in lines if line.startswith("--") for flag in re.findall(r"--\w[\w.-]*", line)}


def read_options(
    cls: type[T], program: str, words: Sequence[str], tree: type | None = None, help_cls: type | None = None
) -> tuple[T, list[str]]:
    """The options that the words give.

    Args:
        cls: flat frozen dataclass, a docstring per field; `name_value`, `EarlierName` and `NoCommas` mark its fields.
        program: as the user typed it, for example "skel predict".
        words: what follows it.
        tree: configuration whose fields are taken beside the options, by dotted name; None: no others are.
        help_cls: dataclass that the help shows; None: `cls`.

    Returns:
        The options, and the words that are left for `read_fields`; none are without a `tree`.

    Raises:
        UserError: an unknown flag (`UnknownArgument`), a wrong value, or something is missing.
        SystemExit: 0, after the help was shown.
    """
    options = _options(cls)
    words = _rename(words, options)
    if _asks_help(words):
        show_help(help_cls or cls, program, FIELDS_NOTE if tree and not help_cls else "")
    _check_flags(program, options, words, tree)
    _check_lists(program, options, words)
    named = {flag for flag, _ in _flags(words)}
    if missing := [o for f, o in options.items() if o.is_required and not o.is_positional and f not in named]:
        wanted = ", ".join(f"{option.flag} {option.metavar}" for option in missing)
        raise UserError(f"{program} needs {wanted}; see {program} --help")
    places = " ".join(option.metavar for option in options.values() if option.is_positional)
    value, rest = _parse(cls, words, program, f"{program} needs {places}; see {program} --help")
    for flag, option in options.items():
        if option.is_positional and not getattr(value, flag[2:].replace("-", "_")):
            raise UserError(f"{program} needs {places}; see {program} --help")
    if rest and (tree is None or not rest[0].startswith("--")):
        raise UnknownArgument(rest[0], {}, program)
    return value, rest


def read_fields(default: T, words: Sequence[str]) -> T:
    """A tree of configuration with fields replaced that are named by dotted flags, `--train.zero-stage 2`.

    Raises:
        UserError: an unknown flag (`UnknownArgument`) or a wrong value.
    """
    value, rest = _parse(type(default), words, "skel", "a field has no value", default=default)
    if rest:
        raise UnknownArgument(rest[0], flags_of_fields(default))
    return value


def show_help(cls: type, program: str, note: str = "") -> None:
    """Prints the help of a dataclass of options.

    Raises:
        SystemExit: 0, always.
    """
    description = "\n\n".join(filter(None, [inspect.getdoc(cls), note]))
    tyro.cli(cls, prog=program, args=["--help"], description=description, registry=help_registry())


def _parse(cls: type[T], words: Sequence[str], program: str, incomplete: str, **settings: Any) -> tuple[T, list[str]]:
    """tyro, with its box of an error as one line; `incomplete` is said where positional words are missing."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            value, rest = tyro.cli(
                cls, prog=program, args=list(words), return_unknown_args=True, add_help=False, **settings
            )
    except SystemExit:
        raise UserError(one_line(box.getvalue(), incomplete)) from None
    return value, list(rest)


def _flags(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Flags as tyro names them, each with the words up to the next one; nothing after a bare `--`."""
    flag, values = "", list[str]()
    for word in words:
        if word.startswith("--"):
            if flag:
                yield flag, values
            if word == "--":
                return
            name, mark, value = word.partition("=")
            flag, values = name.replace("_", "-"), [value] if mark else []
        else:
            values.append(word)
    if flag:
        yield flag, values


def _asks_help(words: Sequence[str]) -> bool:
    end = words.index("--") if "--" in words else len(words)
    return any(word in ("-h", "--help") for word in words[:end])


def _rename(words: Sequence[str], options: dict[str, _Option]) -> list[str]:
    """The words with earlier names replaced by those of today."""
    today, renamed = _earlier_names(options), []
    for word in words:
        flag, mark, value = word.partition("=")
        renamed.append(today[flag] + mark + value if flag in today else word)
    return renamed


def _check_flags(program: str, options: dict[str, _Option], words: Sequence[str], tree: type | None) -> None:
    """Refuses a flag that neither the options nor the tree can have.

    Raises:
        UnknownArgument: names the nearest flag of both.
    """
    sections = {field.name for field in dataclasses.fields(tree)} if tree else set()
    own = {flag: flag for flag, option in options.items() if not option.is_positional}
    for flag, _ in _flags(words):
        if flag not in own and flag[2:].partition(".")[0].replace("-", "_") not in sections:
            fields = flags_of_fields(tree()) if tree else {}
            raise UnknownArgument(flag, {**fields, **own, **_earlier_names(options)}, program)


def _check_lists(program: str, options: dict[str, _Option], words: Sequence[str]) -> None:
    """Refuses lists by commas, by repeating the flag, and with nothing in them.

    Raises:
        UserError: shows the way to give it.
    """
    flags = set[str]()
    for flag, values in _flags(words):
        option = options.get(flag)
        if option is None or not option.is_list:
            continue
        way = next((mark.example for mark in option.marks if isinstance(mark, NoCommas)), "")
        example = f"{flag} {way or option.metavar}"
        if flag in flags:
            raise UserError(f"{flag} is given twice; all its values follow one flag: {example}")
        if not values:
            raise UserError(f"{flag} needs at least one value: {example}")
        if way and (item := next((value for value in values if "," in value and value[0] != "@"), "")):
            raise UserError(f"{flag} {item!r}: values are given with spaces between them: {example}")
        flags.add(flag)
