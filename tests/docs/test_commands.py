"""Every shell block of README.md and docs/ is run here, or says why it is not. A new block fails until it is in BLOCKS.

FAST commands run in `make test`, SLOW ones in `make test-slow`, LONG ones (many minutes) in `make docs-check`.
"""

from __future__ import annotations

import io
import re
import shlex
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from pipelines import cli, full
from pipelines.config import loading
from pipelines.config.tree import FullConfig
from pipelines.runtime.arguments import read_options

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?:sh|bash|shell|console)\n(.*?)^```$", re.M | re.S)
INLINE = re.compile(r"`(skel [a-z-]+ [^`]*?)`", re.S)
FAST, SLOW, LONG = "fast", "slow", "long"
WAYS = {"here": "run_here", "shell": "run_in_shell", "checkout": "run_in_checkout"}


@dataclass(frozen=True)
class Plan:
    """How the commands of a block are run, or why they are not."""

    kind: str
    """FAST, SLOW, LONG, or the reason why nothing is run."""
    other: dict[str, str] = field(default_factory=dict)
    """Part of a command -> its own kind or reason."""
    way: str = "here"
    """A key of WAYS; a pipe always takes the shell."""
    before: tuple[str, ...] = ()
    """Commands that the page takes as done."""

    def kind_of(self, command: str) -> str:
        return next((kind for part, kind in self.other.items() if part in command), self.kind)


# Block (page#number in the page) -> its plan.
BLOCKS = {
    "README.md#1": Plan(LONG, {"make test": "runs the tests, and so this one"}, "checkout"),
    "README.md#2": Plan(LONG, way="checkout"),
    "README.md#3": Plan("needs a cluster"),
    "README.md#4": Plan(SLOW, way="shell"),
    "docs/captions.md#1": Plan(SLOW),
    "docs/deploy.md#1": Plan("needs a cluster with GPUs and a bucket"),
    "docs/deploy.md#2": Plan(FAST),
    "docs/deploy.md#3": Plan("needs a Docker daemon and a registry"),
    "docs/deploy.md#4": Plan("needs an AWS account"),
    "docs/deploy.md#5": Plan("needs a Kubernetes cluster with KubeRay"),
    "docs/evaluate.md#1": Plan(SLOW, {"skel transfer": LONG}),
    "docs/export-model.md#1": Plan(FAST),
    "docs/export.md#1": Plan(FAST),
    "docs/own-data.md#1": Plan(FAST),
    "docs/plan.md#1": Plan(FAST),
    "docs/plan.md#2": Plan(SLOW, way="shell"),
    "docs/predict.md#1": Plan(FAST, {"s3://": "needs a bucket and 8 GPUs", "| jq": SLOW}),
    "docs/questions.md#1": Plan(SLOW),
    "docs/rationales.md#1": Plan(SLOW),
    "docs/render.md#1": Plan(FAST),
    "docs/render.md#2": Plan(FAST),
    "docs/robustness.md#1": Plan(SLOW),
    "docs/transfer.md#1": Plan(LONG),
    "docs/tune.md#1": Plan(LONG, way="shell", before=("skel tune --config X --out RUN",)),
}

# What a reader puts in place of it. All other names of the pages (my_clip.bvh, runs/real, A, S) lie in the folder
# where the commands run, see `workplace`.
SUBSTITUTES = {
    "--data-root FOLDER": "--data-root {shared}/data",
    "HOST:6379": "{address}",
    "CLIP.skeleton": "clip.skeleton",
    # The demo has no set of that name.
    "sbu=fold2": "demo_ntu=cross_subject",
    # The weights are 1.4 GB and their package is no part of the dev extra.
    "--bert-model models/roberta-large": "",
}


@dataclass(frozen=True)
class Block:
    """One fenced shell block: its key in BLOCKS, and its commands, continued lines joined and comments gone."""

    key: str
    commands: tuple[str, ...]


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def without_comment(line: str) -> str:
    """A shell's comment begins with # at the start of a word; those in quotes are none."""
    return re.sub(r"""^((?:[^'"#]|'[^']*'|"[^"]*"|(?<=\S)#)*?)(?:^|\s)#.*$""", r"\1", line).strip()


def commands_of(text: str) -> tuple[str, ...]:
    """One line a command."""
    lines = (without_comment(line) for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines())
    return tuple(line for line in lines if line)


def blocks_of(page: Path) -> list[Block]:
    name = page.relative_to(ROOT).as_posix()
    found = FENCE.findall(page.read_text())
    return [Block(f"{name}#{number}", commands_of(text)) for number, text in enumerate(found, 1)]


ALL = [block for page in pages() for block in blocks_of(page)]
COMMANDS = [(block, line) for block in ALL for line in block.commands]


def arguments(command: str) -> list[str] | None:
    """A command of `skel`, or `full.py`, and its arguments; None where neither is called."""
    words = shlex.split(command.split(" | ")[0])
    if "pipelines/full.py" in words:
        return ["full.py", *words[words.index("pipelines/full.py") + 1 :]]
    return words[1:] if words[0] in ("skel", ".venv/bin/skel") else None


def parse(words: list[str]) -> None:
    """Parses as `skel` and `full.py` do, fields of the configuration too, and starts nothing.

    Raises:
        UserError: the command line knows no such command, flag or field, or a value does not fit the preset.
    """
    if words[0] == "full.py":
        options, fields = full.read_arguments(words[1:])
    else:
        cls = cli.command_class(words[0])
        options, fields = read_options(cls, "skel", words[1:], FullConfig if cls.takes_fields else None)
    preset = ROOT / (getattr(options, "config", "") or "none")
    # Presets of the reader's own, as RUN/tune/best.yaml, are not there.
    loading.override_config(loading.load_config(str(preset)) if preset.is_file() else FullConfig(), fields)


def substituted(command: str, values: dict[str, str]) -> str:
    for name, value in SUBSTITUTES.items():
        command = command.replace(name, value)
    for name, value in values.items():
        command = command.replace(f"{{{name}}}", value)
    return command


def test_every_block_has_a_plan() -> None:
    assert sorted(BLOCKS) == sorted(block.key for block in ALL)
    for block in ALL:
        for part in BLOCKS[block.key].other:
            assert any(part in command for command in block.commands), f"{block.key}: no command holds {part!r}"
    text = "\n".join(command for _, command in COMMANDS)
    assert [name for name in SUBSTITUTES if name not in text] == []


def test_no_shell_block_hides() -> None:
    """A command in a block of another language, or of none, would never be run."""
    for page in pages():
        rest = FENCE.sub("", page.read_text())
        for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", rest, re.M | re.S):
            assert not re.search(r"^(\.venv/bin/)?(skel|make|ray|python) ", text, re.M), f"{page.name}: ```{language}"


def test_comments_and_continued_lines() -> None:
    text = "a b  # c\n# d\nmake 'x # y' \\\n  --z a#b\n"
    assert commands_of(text) == ("a b", "make 'x # y' --z a#b")


@pytest.mark.parametrize(
    "command", [line for _, line in COMMANDS if arguments(line)], ids=lambda line: " ".join(line.split()[:3])
)
def test_flags_are_known(command: str) -> None:
    words = arguments(substituted(command, {}))
    assert words is not None
    parse(words)


@pytest.mark.parametrize("page", [p for p in pages() if INLINE.search(p.read_text())], ids=lambda p: p.name)
def test_flags_in_sentences_are_known(page: Path) -> None:
    """`skel x --flag VALUE` between the words of a page; [ ] and ... are the reader's to leave out."""
    for text in INLINE.findall(page.read_text()):
        words = shlex.split(re.sub(r"\.\.\.|[][]", " ", text))[1:]
        flags = [word for word in words if word.startswith("--") and word != "--help"]
        assert [flag for flag in flags if flag not in help_of(words[0])] == [], text


@cache
def help_of(command: str) -> str:
    """Text of `skel COMMAND --help`."""
    text = io.StringIO()
    with redirect_stdout(text), suppress(SystemExit):
        cli.main([command, "--help"])
    return text.getvalue()


def blocks(kind: str) -> list:
    """A parameter for every block that has commands of this kind: its plan and these commands."""
    found = []
    for block in ALL:
        plan = BLOCKS.get(block.key)
        if plan and (lines := [line for line in block.commands if plan.kind_of(line) == kind]):
            found.append(pytest.param(plan, lines, id=block.key))
    return found


def run(plan: Plan, commands: list[str], request: pytest.FixtureRequest) -> None:
    """Runs commands in the plan's way, placeholders filled in."""
    way = "shell" if any(" | " in command for command in commands) else plan.way
    text = "\n".join(commands)
    values = {}
    if "FOLDER" in text:
        values["shared"] = str(request.getfixturevalue("shared_data").resolve())
    if "HOST:" in text:
        values["address"] = request.getfixturevalue("ray_address")
    runner = request.getfixturevalue(WAYS[way])
    runner([*plan.before, *(substituted(command, values) for command in commands)])


@pytest.mark.parametrize(("plan", "commands"), blocks(FAST))
def test_fast_commands(plan: Plan, commands: list[str], request: pytest.FixtureRequest) -> None:
    run(plan, commands, request)


@pytest.mark.slow
@pytest.mark.parametrize(("plan", "commands"), blocks(SLOW))
def test_slow_commands(plan: Plan, commands: list[str], request: pytest.FixtureRequest) -> None:
    run(plan, commands, request)


@pytest.mark.long
@pytest.mark.parametrize(("plan", "commands"), blocks(LONG))
def test_long_commands(plan: Plan, commands: list[str], request: pytest.FixtureRequest) -> None:
    run(plan, commands, request)
