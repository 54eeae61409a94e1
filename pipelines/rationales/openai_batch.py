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
from typing import Any

from pipelines.config.rationales import ApiTeacherConfig
from pipelines.config.tree import FullConfig
from pipelines.rationales.actors import CLIPS_PER_BATCH, RequestActor, draw_frames, facts_of
from pipelines.rationales.teachers.base import TeacherError, Usage
from pipelines.rationales.teachers.ledger import Ledger, Line, write_lines
from pipelines.rationales.teachers.openai_api import completion_answer, price
from pipelines.rationales.teachers.structured import parse, parse_label
from pipelines.runtime.errors import StageFailed
from pipelines.runtime.progress import Progress, say
from skeleton_io import storage

_ENDPOINT = "/v1/chat/completions"
_RUNNING = {"validating", "in_progress", "finalizing", "cancelling"}
_TAG = "skeleton_ray"


def ask_in_batches(
    cfg: FullConfig, shards_uri: str, ledger: Ledger, todo: list[dict[str, Any]], progress: Progress, secret: Any
) -> str:
    """Sends what is to be asked in files, waits for all of them and books the answers.

    Args:
        cfg: `rationales` is used.
        shards_uri: shard set.
        ledger: the account.
        todo: questions without an answer.
        progress: counts questions.
        secret: the key.

    Returns:
        Why it stopped early; empty where it did not.
    """
    import openai

    api = cfg.rationales.api
    client = openai.OpenAI(base_url=api.base_url, api_key=secret.get_secret_value(), timeout=api.timeout_s)
    folder = storage.join(ledger.uri, "batches")
    states = _states(folder)
    waiting = {row["key"] for state in states for row in state["rows"]}
    if states:
        say(f"[rationales] {len(states)} batches of an earlier run hold {len(waiting)} questions")
    new = [row for row in todo if row["key"] not in waiting]
    stop = ""
    money, tokens = ledger.spent()
    for state in states:
        # Sent and not in the ledger yet: as good as spent.
        tokens, money = tokens + Usage(**state["expected"]).total, money + price(api, Usage(**state["expected"]))
    try:
        for name, rows, size, expected in _files(cfg, shards_uri, folder, new):
            tokens, money = tokens + expected.total, money + price(api, expected)
            stop = _over(api, money, tokens)
            if stop:
                storage.remove(storage.join(folder, f"{name}.requests"))
                break
            state = {"name": name, "rows": rows, "batch": "", "bytes": size, "expected": vars(expected)}
            _save(folder, state)
            states.append(state)
        for state in states:
            _submit(client, folder, state)
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


def _states(folder: str) -> list[dict[str, Any]]:
    names = storage.list_files(folder, ".json") if storage.exists(folder) else []
    return [json.loads(storage.read_text(storage.join(folder, name))) for name in names]


def _save(folder: str, state: dict[str, Any]) -> None:
    storage.write_atomic(storage.join(folder, f"{state['name']}.json"), json.dumps(state))


def _files(
    cfg: FullConfig, shards_uri: str, folder: str, todo: list[dict[str, Any]]
) -> Iterator[tuple[str, list[dict[str, Any]], int, Usage]]:
    """Writes request files; yields (name, rows of questions, bytes, expected usage) of each."""
    if not todo:
        return
    api = cfg.rationales.api
    structured = api.structured != "none"
    bodies = draw_frames(cfg, shards_uri, todo).map_batches(
        RequestActor,
        fn_constructor_args=(shards_uri, cfg.rationales, structured),
        batch_size=CLIPS_PER_BATCH,
        batch_format="numpy",
        compute=_pool(1),
        num_cpus=0.25,
    )
    for rows, data in _portions(bodies.iter_rows(), api):
        # Never the name of an earlier batch: its answers, or its failure, would be taken for those of this one.
        name = uuid.uuid4().hex[:16]
        storage.write_atomic(storage.join(folder, f"{name}.requests"), data)
        # Pictures are counted by number, not by the length of their base64 text.
        images = cfg.rationales.frames * len(rows)
        text = sum(row.pop("letters") for row in rows) // 3
        expected = Usage(input=text + images * api.image_tokens, output=api.max_tokens * len(rows))
        yield name, rows, len(data), expected


def _pool(size: int) -> Any:
    import ray

    return ray.data.ActorPoolStrategy(size=size)


def _portions(rows: Iterable[dict[str, Any]], api: ApiTeacherConfig) -> Iterator[tuple[list[dict[str, Any]], bytes]]:
    """Questions with bodies -> portions that a server takes as one file."""
    facts: list[dict[str, Any]] = []
    sink = io.BytesIO()
    for row in rows:
        body = json.loads(row["body"])
        item = {"custom_id": row["key"], "method": "POST", "url": _ENDPOINT, "body": body}
        line = json.dumps(item).encode() + b"\n"
        full = len(facts) >= api.batch_requests or sink.tell() + len(line) > api.batch_megabytes * 1e6
        if facts and full:
            yield facts, sink.getvalue()
            facts, sink = [], io.BytesIO()
        texts = [body["messages"][0]["content"], *(p["text"] for p in body["messages"][1]["content"] if "text" in p)]
        facts.append({**facts_of(row), "letters": sum(map(len, texts))})
        sink.write(line)
    if facts:
        yield facts, sink.getvalue()


def _submit(client: Any, folder: str, state: dict[str, Any]) -> None:
    """Makes a batch of a file unless one exists already."""
    if state["batch"]:
        return
    # A run that was killed between sending and noting it left a batch that carries the name.
    for batch in client.batches.list(limit=100):
        if (batch.metadata or {}).get(_TAG) == state["name"]:
            state["batch"] = batch.id
            break
    else:
        data = storage.read_bytes(storage.join(folder, f"{state['name']}.requests"))
        file = client.files.create(file=(f"{state['name']}.jsonl", data), purpose="batch")
        # Not sent twice by the client itself: a lost reply would leave a second batch, paid and unknown.
        batch = client.with_options(max_retries=0).batches.create(
            input_file_id=file.id, endpoint=_ENDPOINT, completion_window="24h", metadata={_TAG: state["name"]}
        )
        state["batch"] = batch.id
    _save(folder, state)
    say(f"[rationales] batch {state['batch']}: {len(state['rows'])} questions, {state['bytes'] / 1e6:.1f} MB")


def _wait(
    client: Any, api: ApiTeacherConfig, ledger: Ledger, folder: str, states: list[dict[str, Any]], progress: Progress
) -> None:
    """Looks at the batches until all have ended, and books each as it ends."""
    left = list(states)
    while left:
        running = []
        for state in left:
            batch = client.batches.retrieve(state["batch"])
            if batch.status in _RUNNING:
                running.append(state)
                continue
            lines = _lines(client, api, batch, {row["key"]: row for row in state["rows"]})
            write_lines(ledger.uri, f"batch-{state['name']}", lines)
            for suffix in ("json", "requests"):
                storage.remove(storage.join(folder, f"{state['name']}.{suffix}"))
            failed = sum(line["status"] == "failed" for line in lines)
            missing = len(state["rows"]) - len(lines)
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
    found: dict[str, Line] = {}
    for file in (batch.output_file_id, batch.error_file_id):
        if not file:
            continue
        for text in client.files.content(file).content.splitlines():
            item = json.loads(text)
            key = item["custom_id"]
            if key in rows and key not in found:
                found[key] = {**rows[key], **_line(api, item, rows[key]["purpose"])}
    return [found[key] for key in sorted(found)]


def _line(api: ApiTeacherConfig, item: dict[str, Any], purpose: str) -> Line:
    response = item["response"] or {}
    usage = Usage()
    try:
        if response.get("status_code") != 200:
            error = (response.get("body") or {}).get("error") or item.get("error") or {}
            raise TeacherError("rejected", f"HTTP {response.get('status_code')}: {error.get('message', '')}"[:300])
        answer = completion_answer(response["body"])
        usage = answer.usage
        (parse if purpose == "explain" else parse_label)(answer.raw)
        said = {"status": "answered", "kind": "", "reason": "", "raw": answer.raw, "model": answer.model}
    except TeacherError as error:
        usage = usage if usage.total else error.usage
        said = {"status": "failed", "kind": error.kind, "reason": error.reason, "raw": error.raw, "model": ""}
    cost = {"usage": vars(usage), "usd": price(api, usage)}
    return {**said, **cost, "seconds": 0.0, "attempts": 1, "at": round(time.time(), 3)}
