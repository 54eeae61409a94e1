"""`skel COMMAND`: the table of commands, the overview that `skel --help` prints, and one form of error for all.

Each command is a frozen dataclass in `pipelines.commands`. The overview loads none of them, nor tyro, torch or Ray.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.runtime.errors import UserError
from pipelines.runtime.exits import guarded

if TYPE_CHECKING:
    from pipelines.commands.base import Command


@dataclass(frozen=True)
class Entry:
    """Where a command's class is, and what it does in a few words."""

    place: str
    summary: str


GROUPS: dict[str, dict[str, Entry]] = {
    "Run it all": {
        "full": Entry("run:Full", "run the whole pipeline; goes on where it was stopped"),
    },
    "Bring your data": {
        "demo-data": Entry("data:DemoData", "write a synthetic labelled motion set in three native formats"),
        "formats": Entry("formats:Formats", "list the formats that ingest reads"),
        "describe": Entry("formats:Describe", "look at files of an unknown layout, draft a YAML that reads them"),
        "ingest": Entry("data:Ingest", "read native files into Arrow shards; broken ones are set aside"),
        "protocols": Entry("protocols:Protocols", "list the splits with their hashes, and their clips in a shard set"),
        "protocol": Entry("protocols:DrawProtocol", "write a zero-shot split of your own classes"),
        "export": Entry("data:Export", "write the clips of a shard set in a format of other tools"),
    },
    "Look": {
        "inspect": Entry("data:Inspect", "show what a shard set holds: counts, classes, quality, quarantine"),
        "render": Entry("predict:Render", "draw clips of any format as the model sees them"),
    },
    "Teach and train": {
        "plan": Entry("plan:Plan", "say what training would need and whether it fits; starts nothing"),
        "rationales": Entry("run:Rationales", "ask the teacher for a rationale of every training clip"),
        "tiny-mllm": Entry("run:TinyMLLM", "write the tiny multimodal LLM that stands in for a checkpoint"),
        "train": Entry("run:Train", "train DrAction with the multimodal LLM, stage by stage"),
        "tune": Entry("run:Tune", "search rendering hyperparameters (Ray Tune)"),
    },
    "Judge": {
        "evaluate": Entry("evaluate:Evaluate", "score the test clips of every protocol"),
        "compare": Entry("evaluate:Compare", "set two evaluations against each other, clip by clip"),
        "transfer": Entry("run:Transfer", "train on some sets, test on another over the labels they share"),
        "robustness": Entry("evaluate:Robustness", "score a model under noise, lost joints or frames, other views"),
        "captions": Entry("language:Captions", "score the model's descriptions of the test clips"),
        "questions": Entry("language:Questions", "ask the model about the motion of the test clips"),
        "report": Entry("evaluate:Report", "write report.json and one self-contained report.html"),
    },
    "Use a model": {
        "predict": Entry("predict:Predict", "name the action in clips of any format, or ask about it"),
        "export-model": Entry("export_model:ExportModel", "write a model as a folder that is used without skel"),
    },
    "Set up": {
        "config": Entry("config:ShowConfig", "print the resolved configuration as YAML; --help lists all fields"),
    },
}
"""Group -> command -> entry, as `skel --help` shows them. A new command is its class and one line here."""
ENTRIES = {name: entry for commands in GROUPS.values() for name, entry in commands.items()}


def overview() -> str:
    """The help of `skel` itself."""
    lines = [
        "usage: skel COMMAND ...",
        "",
        "Skeletons of any format -> Arrow shards -> rendered frames -> a multimodal LLM that names and explains the",
        "action.",
        "",
        "Start here:",
        "  skel full --config tune_configs/full_demo.yaml --out runs/demo    # the whole pipeline on data it makes",
        "  skel predict my_clip.bvh --model runs/demo                        # then use the model",
    ]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:<13} {entry.summary}" for name, entry in commands.items())]
    lines += ["", "skel COMMAND --help explains a command, with examples. The pages are in docs/."]
    return "\n".join(lines)


def command_class(name: str) -> type[Command]:
    """The class of a command; loads its module.

    Raises:
        UserError: no such command; names the nearest.
    """
    if name not in ENTRIES:
        import difflib

        near = difflib.get_close_matches(name, ENTRIES, 1)
        raise UserError(f"skel does not know {name}; " + (f"did you mean {near[0]}?" if near else "see skel --help"))
    module, _, cls = ENTRIES[name].place.partition(":")
    return getattr(importlib.import_module(f"pipelines.commands.{module}"), cls)


def _run(name: str, words: list[str]) -> None:
    """One command from its words to its end."""
    cls = command_class(name)
    from pipelines.cluster.connect import set_offline
    from pipelines.runtime.argument_errors import UnknownArgument
    from pipelines.runtime.arguments import flags_of, read_options

    program, tree = f"skel {name}", None
    if cls.takes_fields:
        from pipelines.config.tree import FullConfig

        tree = FullConfig
    command, fields = read_options(cls, program, words, tree, cls.help_class)
    set_offline()
    try:
        command.execute(fields)
    except UnknownArgument as error:  # a field, which is looked up once the preset is read
        raise UnknownArgument(error.argument, error.known | flags_of(cls), program) from None


def main(argv: list[str] | None = None) -> int:
    """Entry point of `skel`; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help", "help"):
        code = guarded(lambda: print(overview()))
        return code if words else code or 2
    return guarded(lambda: _run(words[0], list(words[1:])))


if __name__ == "__main__":
    sys.exit(main())
