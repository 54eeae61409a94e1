"""Teacher on the cluster's own GPUs: a multimodal model under vLLM through `ray.data.llm`. Needs the extra `vllm`.

`rationales.api` gives model (a hub id or a folder), temperature, longest answer and requests in flight; address, key,
prices and budgets mean nothing here. Rows that fail become dead letters and the rest goes on.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

import ray

from pipelines.config.rationales import ApiTeacherConfig
from pipelines.config.tree import FullConfig
from pipelines.rationales.actors import RequestActor, frames_sha_of
from pipelines.rationales.frames import CLIPS_PER_BATCH, draw_frames
from pipelines.rationales.teachers.base import Answer, TeacherError, Usage
from pipelines.rationales.teachers.ledger import Ledger, Line, Outcome, line_of, write_lines
from pipelines.rationales.teachers.structured import parse, parse_label
from pipelines.rationales.teachers.task import TeacherTask
from pipelines.runtime.errors import UserError
from pipelines.runtime.progress import Progress

_ERROR = "__inference_error__"
_ORDER = ("key", "clip", "dataset", "label", "purpose", "sample", "prompt_sha", "asked", "drawing", "frames_sha")


def ask_vllm(
    cfg: FullConfig, shards_uri: str, ledger: Ledger, tasks: list[TeacherTask], progress: Progress, secret: Any
) -> str:
    """Runs all tasks through the model; answers are booked in portions of `CLIPS_PER_BATCH`.

    Args:
        cfg: `rationales` is used.
        shards_uri: shard set.
        ledger: the account.
        tasks: what has no answer yet.
        progress: counts questions.
        secret: not used.

    Returns:
        An empty text: there is no budget to stop it.
    """
    bodies = draw_frames(cfg, shards_uri, tasks).map_batches(
        RequestActor,
        fn_constructor_args=(shards_uri, cfg.rationales, False),
        batch_size=CLIPS_PER_BATCH,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=1),
        num_cpus=0.25,
    )
    portion: list[Line] = []
    for row in processor(cfg)(bodies).iter_rows():
        portion.append(line_of_row(row))
        # Booked as they come: what is in the ledger survives the end of the engine.
        if len(portion) == CLIPS_PER_BATCH:
            _book(ledger, portion, progress)
            portion = []
    if portion:
        _book(ledger, portion, progress)
    return ""


def processor(cfg: FullConfig) -> Any:
    """The Ray Data processor: chat bodies -> generated texts.

    Raises:
        UserError: vLLM is not installed.
    """
    try:
        import vllm  # noqa: F401  # type: ignore[import-not-found]
    except ImportError:
        raise UserError("rationales.teacher vllm needs vLLM: pip install 'skeleton-ray[vllm]'") from None
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    rationales = cfg.rationales
    engine = vLLMEngineProcessorConfig(
        model_source=rationales.api.model,
        engine_kwargs={"limit_mm_per_prompt": {"image": rationales.frames}},
        concurrency=rationales.actors,
        batch_size=CLIPS_PER_BATCH,
        max_pending_requests=rationales.api.in_flight,
        prepare_multimodal_stage={"enabled": True},
        # Else one picture that the engine cannot read would end the stage.
        should_continue_on_error=True,
    )
    return build_processor(engine, preprocess=Preprocess(rationales.api), postprocess=keep_row)


class Preprocess:
    """A row with a chat body -> messages and sampling parameters."""

    def __init__(self, cfg: ApiTeacherConfig) -> None:
        self._sampling = {"temperature": cfg.temperature, "max_tokens": cfg.max_tokens}

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Other columns are carried along by Ray."""
        return {**row, "messages": json.loads(row["body"])["messages"], "sampling_params": self._sampling}


def keep_row(row: dict[str, Any]) -> dict[str, Any]:
    """What is needed of a generated row."""
    return row


def line_of_row(row: dict[str, Any]) -> Line:
    """A row of the processor's output -> ledger line. Rows with an error carry its text in a column of its own."""
    task = TeacherTask.from_row(row)
    facts = task.facts(frames_sha_of(row))
    # The ledgers of this teacher have had their facts in this order from the start.
    facts = {name: facts[name] for name in _ORDER}
    usage = Usage(input=int(row["num_input_tokens"] or 0), output=int(row["num_generated_tokens"] or 0))
    text, error = str(row["generated_text"] or ""), row.get(_ERROR)
    try:
        if error:
            raise TeacherError("unavailable", " ".join(str(error).split())[:300])
        (parse if task.purpose == "explain" else parse_label)(text)
    except TeacherError as failure:
        outcome = Outcome.failed(TeacherError(failure.kind, failure.reason, usage, text), usd=0.0)
        # The model is on this cluster: it is known also where it failed.
        return line_of(facts, replace(outcome, model=_model_of(row)))
    return line_of(facts, Outcome.answered(Answer(raw=text, model=_model_of(row), usage=usage), usd=0.0))


def _model_of(row: dict[str, Any]) -> str:
    return str(row.get("model", "vllm"))


def _book(ledger: Ledger, lines: list[Line], progress: Progress) -> None:
    # A name of its own: under an earlier one, dead letters asked once more would take the place of whole portions.
    write_lines(ledger.uri, f"vllm-{uuid.uuid4().hex}", lines)
    failed = sum(line["status"] == "failed" for line in lines)
    progress.add(len(lines), f"{failed} failed" if failed else "")
