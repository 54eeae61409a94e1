"""`skel captions` and `skel questions`: a model in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pipelines.cluster.connect import connected, require
from pipelines.commands.base import ModelOptions
from pipelines.runtime.arguments import name_value
from pipelines.runtime.errors import UserError
from pipelines.runtime.paths import absolute


@dataclass(frozen=True, kw_only=True)
class Captions(ModelOptions):
    """Scores the model's descriptions of the test clips.

    examples:
      skel captions --model runs/demo --shards runs/demo/shards --out scores
      skel captions --model A --shards humanml3d/shards --out scores --bert-model models/roberta-large --bert-layer 17

    Writes OUT/captions.json: BLEU-1/4, ROUGE-L, CIDEr, METEOR and BERTScore against the clips' own captions (what
    cannot be computed here is listed as missing with the reason), and for all clips whether the captions state what the
    joints show. Stopped, it goes on where it was. The metrics need: pip install skeleton-ray[captions]. See
    docs/captions.md.
    """

    bert_model: Annotated[str, name_value("DIR")] = ""
    """Local weights of an English encoder, for BERTScore."""
    bert_layer: Annotated[int, name_value("N")] = 17
    """Its layer to compare (17, of roberta-large)."""

    def execute(self, fields: Sequence[str]) -> None:
        """Describes and scores."""
        from pipelines.evaluation.any_checkpoint import check_request
        from pipelines.evaluation.captions import run_captions

        request = self.request(fields)
        check_request(request)
        with connected():
            require(1, 0, "captions (one worker)")
            run_captions(request, absolute(self.bert_model) if self.bert_model else "", self.bert_layer)


@dataclass(frozen=True, kw_only=True)
class Questions(ModelOptions):
    """Asks the model about the motion of the test clips.

    examples:
      skel questions --model runs/demo --shards runs/demo/shards --out scores
      skel questions --model A --shards S --out scores --sets sbu --most 100
      skel questions --model A --shards S --out scores --file my_questions.json

    Writes OUT/qa.json: accuracy by closed choice and by free text, per kind of question, beside chance, the most
    frequent answer and 95 % intervals. Questions come from the motion of the test clips (which hand, how often, what
    first, who goes towards whom, why) or from a JSON list of {clip, question, answer, choices, kind}. See
    docs/questions.md.
    """

    file: Annotated[str, name_value("JSON")] = ""
    """Questions of your own instead of those of the motion."""
    most: Annotated[int, name_value("N")] = 200
    """Most questions of a kind; 0: all."""

    def execute(self, fields: Sequence[str]) -> None:
        """Asks and scores."""
        from pipelines.data.clip_store import ClipStore
        from pipelines.evaluation.any_checkpoint import check_request
        from pipelines.evaluation.question_scores import read_questions
        from pipelines.evaluation.questions import run_questions

        if self.most < 0:
            raise UserError(f"--most {self.most}: expected 0 or more")
        request, file = self.request(fields), absolute(self.file) if self.file else ""
        check_request(request)
        if file:
            read_questions(file, set(ClipStore(request.shards).keys))
        with connected():
            require(1, 0, "questions (one worker)")
            run_questions(request, file, self.most)
