"""Teacher behind the OpenAI batch protocol: request files of many questions, answered within a day at a lower price.

    <ledger>/batches/<name>.requests   the file that is uploaded, removed when its answers are in the ledger
    <ledger>/batches/<name>.json       what it asks and which batch it became

The state is written before anything is sent, and a batch carries its file's name in its metadata: killed at any moment,
the next run finds the batch on the server and goes on waiting instead of paying again. What a batch leaves unanswered
(expired, cancelled, failed) is simply asked again by the next run.
"""

from __future__ import annotations

import io
import json
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import openai
import ray

from pipelines.config.rationales import ApiTeacherConfig
from pipelines.config.tree import FullConfig
from pipelines.rationales.actors import RequestActor, frames_sha_of
from pipelines.rationales.frames import CLIPS_PER_BATCH, draw_frames
from pipelines.rationales.teachers.base import TeacherError, Usage
from pipelines.rationales.teachers.ledger import Ledger, Line, Outcome, line_of, write_lines
from pipelines.rationales.teachers.openai_api import completion_answer, price
from pipelines.rationales.teachers.structured import parse, parse_label
from pipelines.rationales.teachers.task import TeacherTask
from pipelines.runtime.errors import StageFailed
from pipelines.runtime.progress import Progress, say
from skeleton_io import storage

_ENDPOINT = "/v1/chat/completions"
_RUNNING = {"validating", "in_progress", "finalizing", "cancelling"}
_TAG = "skeleton_ray"


@dataclass(frozen=True, kw_only=True)
class BatchState:
    """One request file and its batch, as `<name>.json` keeps it.

    Attributes:
        name: of the file; also the batch's tag on the server.
        rows: the facts of its tasks, as their lines in the ledger will have them.
        batch: the server's name for it; empty until it is sent.
        bytes: size of the file.
        expected: tokens that it costs at most.
    """

    name: str
    rows: list[dict[str, Any]]
    batch: str = ""
    bytes: int
    expected: Usage

    def save(self, folder: str) -> None:
        """Writes it, whole or not at all."""
        storage.write_atomic(storage.join(folder, f"{self.name}.json"), json.dumps(asdict(self)))

    @classmethod
    def load(cls, uri: str) -> BatchState:
        """Reads it."""
        data = json.loads(storage.read_text(uri))
        return cls(**{**data, "expected": Usage(**data["expected"])})


def ask_in_batches(
    cfg: FullConfig, shards_uri: str, ledger: Ledger, tasks: list[TeacherTask], progress: Progress, secret: Any
) -> str:
    """Sends what is to be asked in files, waits for all of them and books the answers.

    Args:
        cfg: `rationales` is used.
        shards_uri: shard set.
        ledger: the account.
        tasks: what has no answer yet.
        progress: counts questions.
        secret: the key.

    Returns:
        Why it stopped early; empty where it did not.
    """
    api = cfg.rationales.api
    # Synchronous: files and batches are few, and waiting is all that is to be done.
    client = openai.OpenAI(base_url=api.base_url, api_key=secret.get_secret_value(), timeout=api.timeout_s)
    folder = storage.join(ledger.uri, "batches")
    states = _load_states(folder)
    waiting = {row["key"] for state in states for row in state.rows}
    if states:
        say(f"[rationales] {len(states)} batches of an earlier run hold {len(waiting)} questions")
    new = [task for task in tasks if task.key not in waiting]
    stop = ""
    money, tokens = ledger.spent()
    for state in states:
        # Sent and not in the ledger yet: as good as spent.
        tokens, money = tokens + state.expected.total, money + price(api, state.expected)
    try:
        for state in _write_files(cfg, shards_uri, folder, new):
            tokens, money = tokens + state.expected.total, money + price(api, state.expected)
            stop = _over(api, money, tokens)
            if stop:
                storage.remove(storage.join(folder, f"{state.name}.requests"))
                break
            state.save(folder)
            states.append(state)
        states = [_submit(client, folder, state) for state in states]
        _wait(client, api, ledger, folder, states, progress)
    except openai.APIError as error:
        text = str(error).replace(secret.get_secret_value(), "***")
        raise StageFailed(f"rationales: {' '.join(text.split())[:300]}; what was sent is kept, start again") from None
    return stop


def _over(api: ApiTeacherConfig, money: float, tokens: int) -> str:
    if api.budget_usd and money > api.budget_usd:
        return f"the next batch could exceed the budget of {api.budget_usd:g} USD"
    if api.budget_tokens and tokens > api.budget_tokens:
        return f"the next batch could exceed the budget of {api.budget_tokens} tokens"
    return ""


def _load_states(folder: str) -> list[BatchState]:
    names = storage.list_files(folder, ".json") if storage.exists(folder) else []
    return [BatchState.load(storage.join(folder, name)) for name in names]


def _write_files(cfg: FullConfig, shards_uri: str, folder: str, tasks: list[TeacherTask]) -> Iterator[BatchState]:
    """Writes request files; yields the state of each, which nobody has saved or sent yet."""
    if not tasks:
        return
    api = cfg.rationales.api
    structured = api.structured != "none"
    bodies = draw_frames(cfg, shards_uri, tasks).map_batches(
        RequestActor,
        fn_constructor_args=(shards_uri, cfg.rationales, structured),
        batch_size=CLIPS_PER_BATCH,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=1),
        num_cpus=0.25,
    )
    for rows, letters, data in _portions(bodies.iter_rows(), api):
        # Never the name of an earlier batch: its answers, or its failure, would be taken for those of this one.
        name = uuid.uuid4().hex[:16]
        storage.write_atomic(storage.join(folder, f"{name}.requests"), data)
        # Pictures are counted by number, not by the length of their base64 text.
        images = cfg.rationales.frames * len(rows)
        expected = Usage(input=letters // 3 + images * api.image_tokens, output=api.max_tokens * len(rows))
        yield BatchState(name=name, rows=rows, bytes=len(data), expected=expected)


def _portions(
    rows: Iterable[dict[str, Any]], api: ApiTeacherConfig
) -> Iterator[tuple[list[dict[str, Any]], int, bytes]]:
    """Rows of tasks with bodies -> (facts, letters of text, file) of portions that a server takes as one file."""
    facts: list[dict[str, Any]] = []
    sink, letters = io.BytesIO(), 0
    for row in rows:
        body = json.loads(row["body"])
        item = {"custom_id": row["key"], "method": "POST", "url": _ENDPOINT, "body": body}
        line = json.dumps(item).encode() + b"\n"
        # Before the line is added: a file must not cross the server's limit by one request.
        full = len(facts) >= api.batch_requests or sink.tell() + len(line) > api.batch_megabytes * 1e6
        if facts and full:
            yield facts, letters, sink.getvalue()
            facts, sink, letters = [], io.BytesIO(), 0
        # Text only: pictures in the body are base64 and cost by their number.
        texts = [body["messages"][0]["content"], *(p["text"] for p in body["messages"][1]["content"] if "text" in p)]
        facts.append(TeacherTask.from_row(row).facts(frames_sha_of(row)))
        letters += sum(map(len, texts))
        sink.write(line)
    if facts:
        yield facts, letters, sink.getvalue()


def _submit(client: Any, folder: str, state: BatchState) -> BatchState:
    """The state with its batch, which is made of the file unless one exists already."""
    if state.batch:
        return state
    # A run that was killed between sending and noting it left a batch that carries the name.
    for batch in client.batches.list(limit=100):
        if (batch.metadata or {}).get(_TAG) == state.name:
            break
    else:
        data = storage.read_bytes(storage.join(folder, f"{state.name}.requests"))
        file = client.files.create(file=(f"{state.name}.jsonl", data), purpose="batch")
        # Not sent twice by the client itself: a lost reply would leave a second batch, paid and unknown.
        batch = client.with_options(max_retries=0).batches.create(
            input_file_id=file.id, endpoint=_ENDPOINT, completion_window="24h", metadata={_TAG: state.name}
        )
    state = replace(state, batch=batch.id)
    state.save(folder)
    say(f"[rationales] batch {state.batch}: {len(state.rows)} questions, {state.bytes / 1e6:.1f} MB")
    return state


def _wait(
    client: Any, api: ApiTeacherConfig, ledger: Ledger, folder: str, states: list[BatchState], progress: Progress
) -> None:
    """Looks at the batches until all have ended, and books each as it ends."""
    left = list(states)
    while left:
        running = []
        for state in left:
            batch = client.batches.retrieve(state.batch)
            if batch.status in _RUNNING:
                running.append(state)
                continue
            lines = _lines(client, api, batch, {row["key"]: row for row in state.rows})
            # Lines first, then the state goes: killed between the two, the next run books the same file again.
            write_lines(ledger.uri, f"batch-{state.name}", lines)
            for suffix in ("json", "requests"):
                storage.remove(storage.join(folder, f"{state.name}.{suffix}"))
            failed = sum(line["status"] == "failed" for line in lines)
            missing = len(state.rows) - len(lines)
            note = f"{batch.status}, {failed} failed" + (f", {missing} unanswered" if missing else "")
            if why := _why(batch):
                say(f"[rationales] batch {batch.id} {batch.status}: {why}")
            progress.add(len(lines), note)
        left = running
        if left:
            time.sleep(api.batch_poll_s)


def _why(batch: Any) -> str:
    """What the server says of a batch as a whole that went wrong."""
    errors = getattr(batch.errors, "data", None) or []
    return "; ".join(dict.fromkeys(str(error.message) for error in errors[:5]))[:300]


def _lines(client: Any, api: ApiTeacherConfig, batch: Any, rows: dict[str, dict[str, Any]]) -> list[Line]:
    """Ledger lines of an ended batch, by question; each key once."""
    lines: dict[str, Line] = {}
    for file in (batch.output_file_id, batch.error_file_id):
        if not file:
            continue
        for text in client.files.content(file).content.splitlines():
            item = json.loads(text)
            key = item["custom_id"]
            # Output before errors: a key in both files has an answer.
            if key in rows and key not in lines:
                lines[key] = line_of(rows[key], _outcome(api, item, rows[key]["purpose"]))
    return [lines[key] for key in sorted(lines)]


def _outcome(api: ApiTeacherConfig, item: dict[str, Any], purpose: str) -> Outcome:
    """How one item of a batch's output file ended."""
    response = item["response"] or {}
    usage = Usage()
    try:
        if response.get("status_code") != 200:
            error = (response.get("body") or {}).get("error") or item.get("error") or {}
            raise TeacherError("rejected", f"HTTP {response.get('status_code')}: {error.get('message', '')}"[:300])
        answer = completion_answer(response["body"])
        usage = answer.usage
        (parse if purpose == "explain" else parse_label)(answer.raw)
        return Outcome.answered(answer, price(api, usage))
    except TeacherError as error:
        # An answer that cannot be read was paid for all the same.
        usage = usage if usage.total else error.usage
        failure = TeacherError(error.kind, error.reason, usage, error.raw)
        return Outcome.failed(failure, price(api, usage))
