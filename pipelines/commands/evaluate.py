"""`skel evaluate`, `robustness`, `compare` and `report`: how good a model is, and the page that says it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import tyro

from pipelines.cluster.connect import connected, require
from pipelines.commands.base import Command, Model, ModelOptions, RunOptions, Sets
from pipelines.commands.run import run_stage
from pipelines.runtime.arguments import NoCommas, name_value
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute
from pipelines.runtime.progress import say


@dataclass(frozen=True, kw_only=True)
class Evaluate(Command):
    """Scores the test clips of every protocol: of a run, or of any model on any shards.

    examples:
      skel evaluate --config tune_configs/full_demo.yaml --out runs/demo        the run's own model and test clips
      skel evaluate --model runs/demo --shards runs/demo/shards --out scores
      skel evaluate --model runs/real --shards ntu/shards --protocol ntu60-48-12 --out scores --answer reason
      skel evaluate --model A --shards S --protocol sbu=fold2 nw_ucla=cross-view-clean --out scores
      skel evaluate --model A --shards S --beside stick=runs/stick heatmap=runs/heatmap --out scores

    With --model it writes OUT/metrics.json and OUT/report.json. Stopped, it goes on where it was. Any field of
    `evaluate` can be set by its name, for example --evaluate.actors 8 or --evaluate.gzsl. `skel compare A B` sets two
    evaluations against each other; docs/evaluate.md says what the numbers are.
    """

    takes_fields: ClassVar[bool] = True

    config: Annotated[str, name_value("FILE")] = ""
    """YAML preset, for example tune_configs/full_demo.yaml."""
    out: Annotated[str, name_value("DIR")]
    """Folder or URI of the run, or with --model one to write to."""
    data_root: Annotated[str, name_value("FOLDER")] = ""
    """Replaces {data_root} in data.inputs."""
    model: Model = ""
    """A run, one of its training stages, or an export, instead of --config. Also --checkpoint."""
    shards: Annotated[str, name_value("URI")] = ""
    """Shard set to score (with --model)."""
    protocol: Annotated[tuple[str, ...], name_value("[SET=]RULE ...")] = ()
    """Name or file of a protocol, for each set that shall not use its own."""
    sets: Sets = ()
    """Only these sets of the shards."""
    answer: Annotated[Literal["", "direct", "reason"], name_value("{direct,reason}")] = ""
    """Ask for the label at once, or let the model explain the motion first."""
    beside: Annotated[tuple[str, ...], name_value("NAME=RUN ...")] = ()
    """Other models on the same clips, in the same table."""

    def execute(self, fields: Sequence[str]) -> None:
        """The stage of a run, or the model that is named."""
        if bool(self.config) == bool(self.model):
            raise UserError("skel evaluate needs either --config (a run's own stage) or --model with --shards")
        fields = [*fields, *self._fields()]
        if self.config:
            if self.shards or self.protocol or self.sets:
                raise UserError("--shards, --protocol and --sets go with --model; a run has them in its configuration")
            run_stage("evaluate", RunOptions(config=self.config, out=self.out, data_root=self.data_root), fields)
            return
        if not self.shards:
            raise UserError("--model needs --shards URI")
        from pipelines.evaluation.any_checkpoint import EvaluationRequest, check_request, run

        shards, model, out = (absolute(uri) for uri in (self.shards, self.model, self.out))
        request = EvaluationRequest(model, shards, self.protocol, self.sets, out, tuple(fields))
        check_request(request)
        with connected():
            require(1, 0, "evaluate (one worker)")
            run(request)

    def _fields(self) -> list[str]:
        """The short options as fields of the configuration.

        Raises:
            UserError: a model beside that is not NAME=RUN.
        """
        fields = ["--evaluate.answer", self.answer] if self.answer else []
        if self.beside:
            fields.append("--evaluate.beside")
        for text in self.beside:
            name, mark, uri = text.partition("=")
            if not (name and mark and uri):
                raise UserError(f"--beside {text}: expected NAME=RUN")
            fields += [name, absolute(uri)]
        return fields


@dataclass(frozen=True, kw_only=True)
class Robustness(ModelOptions):
    """Scores a model under worse data: joints, limbs, frames, persons lost, noise, other views.

    examples:
      skel robustness --model runs/demo --shards runs/demo/shards --out scores
      skel robustness --model A --shards S --out scores --sets sbu --protocol sbu=fold2
      skel robustness --model A --shards S --out scores --curves joint-dropout noise --seeds 5 --clips 200

    Perturbations: joint-dropout 0-50 %, noise 0-10 cm, limb-occlusion 0-4 limbs, frame-drop 0-75 %, frame-rate down to
    an eighth, view 0-90 degrees, mirror, missing-person, topology 25 -> 20 -> 17 -> 13 joints. Random ones are drawn
    under --seeds seeds. Writes OUT/robustness.json: a curve per perturbation with 95 % intervals, and the area under
    it. Stopped, it goes on where it was. docs/robustness.md says what the numbers are.
    """

    curves: Annotated[tuple[str, ...], NoCommas("joint-dropout noise"), name_value("CURVE ...")] = ()
    """Only these perturbations."""
    seeds: Annotated[int, name_value("N")] = 3
    """Draws of each random perturbation."""

    def execute(self, fields: Sequence[str]) -> None:
        """Scores every curve."""
        from pipelines.evaluation.any_checkpoint import check_request
        from pipelines.evaluation.perturbations import select_curves
        from pipelines.evaluation.robustness import RobustnessRequest, run

        base = self.request(fields)
        select_curves(self.curves)
        check_request(base)
        with connected():
            require(1, 0, "robustness (one worker)")
            run(RobustnessRequest(base, self.curves, self.seeds))


@dataclass(frozen=True, kw_only=True)
class Compare(Command):
    """Sets two evaluations against each other, clip by clip (paired bootstrap).

    examples:
      skel compare runs/a runs/b
      skel compare scores/ours scores/stick --rule summed --out difference.json

    A and B are runs, or folders that `skel evaluate --model` wrote. Only clips that both scored count. The interval is
    a paired bootstrap over clips: it leaves out 0 where one model is better beyond the chance of the draw of clips. It
    says nothing of the chance of training: for that, train with several seeds.
    """

    a: Annotated[str, tyro.conf.Positional, name_value("A")]
    """Run or evaluation folder."""
    b: Annotated[str, tyro.conf.Positional, name_value("B")]
    """Run or evaluation folder."""
    rule: Literal["normalised", "summed", "prior_corrected", "exact", "nearest", "substring"] = "normalised"
    """What counts as right."""
    seed: int = 0
    """Of the bootstrap."""
    resamples: Annotated[int, name_value("N")] = 10_000
    """Of the bootstrap."""
    out: Annotated[str, name_value("FILE")] = ""
    """Also write the numbers as JSON."""

    def execute(self, fields: Sequence[str]) -> None:
        """Prints the comparison."""
        if self.resamples < 1:
            raise UserError(f"--resamples must be at least 1, found {self.resamples}")
        from pipelines.evaluation import compare
        from pipelines.evaluation.compare import format_comparison, read_evaluation
        from skeleton_io import storage

        a, b = (read_evaluation(absolute(uri)) for uri in (self.a, self.b))
        result = compare.compare(a, b, self.rule, self.seed, self.resamples)
        for line in format_comparison(result):
            say(line)
        if self.out:
            storage.write_atomic(absolute(self.out), json.dumps(result, indent=1))


@dataclass(frozen=True, kw_only=True)
class Report(Command):
    """Writes report.json and one self-contained report.html.

    examples:
      skel report --config tune_configs/full_demo.yaml --out runs/demo      a whole run
      skel report --scores scores                                           of skel evaluate --model

    The page needs nothing beside itself. What skel robustness and its like wrote into the same folder is shown too;
    docs/report.md lists the sections.
    """

    takes_fields: ClassVar[bool] = True

    config: Annotated[str, name_value("FILE")] = ""
    """YAML preset, for example tune_configs/full_demo.yaml."""
    out: Annotated[str, name_value("RUN")] = ""
    """Folder or URI of the run."""
    data_root: Annotated[str, name_value("FOLDER")] = ""
    """Replaces {data_root} in data.inputs."""
    scores: Annotated[str, name_value("DIR")] = ""
    """A folder of skel evaluate --model instead of --config and --out; starts no Ray."""

    def execute(self, fields: Sequence[str]) -> None:
        """The page of a run, or of an evaluation that stands alone."""
        if not self.scores:
            if not self.config or not self.out:
                raise UserError("skel report needs --config FILE and --out RUN, or --scores DIR")
            run_stage("report", RunOptions(config=self.config, out=self.out, data_root=self.data_root), fields)
            return
        if self.config or self.out or fields:
            raise UserError("with --scores there is nothing else to say")
        from pipelines.report import scores_page

        scores_page.run(absolute(self.scores))
