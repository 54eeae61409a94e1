"""A local server that speaks the OpenAI chat and batch protocols, with faults on demand. For tests and benchmarks.

    python benchmarks/openai_server.py [--port 0]

Prints one line {"port": N}, listens on 127.0.0.1 and ends with its standard input. `POST /control` sets behaviour:

    latency_s      seconds before an answer
    faults         {kind: share of requests}: 429, 500, hang, malformed, refused, truncated, empty, wrong_label, 400
    sticky         a request that got a fault gets it again (else only its first attempt does)
    retry_after    what a 429 asks for, seconds
    status         every request gets this status (401, 403, 404, insufficient_quota ...)
    knows_schema   whether response_format is accepted
    blind_right    share of blind questions answered rightly

`GET /control` returns counts: requests, answers by distinct body, most in flight at once.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import sys
from collections import Counter
from typing import Any

from aiohttp import web

DEFAULTS: dict[str, Any] = {
    "latency_s": 0.0,
    "faults": {},
    "sticky": False,
    "retry_after": 0.2,
    "status": 0,
    "knows_schema": True,
    "blind_right": 1.0,
    "key": "",
}
_STATUS_TEXT = {401: "Incorrect API key provided", 403: "not allowed", 404: "no such model", 400: "bad request"}


class Server:
    """State of one server."""

    def __init__(self) -> None:
        self.set = dict(DEFAULTS)
        self.reset()

    def reset(self) -> None:
        self.seen: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.requests = self.now = self.peak = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}

    async def control(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            changes = await request.json()
            if changes.pop("reset", False):
                self.set = dict(DEFAULTS)
                self.reset()
            self.set.update(changes)
        twice = sum(count - 1 for count in self.answered.values())
        return web.json_response(
            {"requests": self.requests, "distinct": len(self.answered), "again": twice, "peak": self.peak}
        )

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.set["key"] and request.headers.get("Authorization") != f"Bearer {self.set['key']}":
            return _error(401, f"Incorrect API key provided: {request.headers.get('Authorization', '')}")
        self.requests += 1
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            if self.set["latency_s"]:
                await asyncio.sleep(self.set["latency_s"])
            return await self.reply(body)
        finally:
            self.now -= 1

    async def reply(self, body: dict[str, Any]) -> web.Response:
        name = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()
        if self.set["status"]:
            if self.set["status"] == "insufficient_quota":
                return _error(429, "You exceeded your current quota", code="insufficient_quota")
            return _error(self.set["status"], _STATUS_TEXT.get(self.set["status"], "error"))
        if "response_format" in body and not self.set["knows_schema"]:
            return _error(400, "Unknown parameter: response_format")
        fault = self.fault(name)
        self.seen[name] += 1
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "429":
            return _error(429, "slow down", headers={"Retry-After": str(self.set["retry_after"])})
        if fault in ("500", "400"):
            return _error(int(fault), "an error")
        self.answered[name] += 1
        return web.json_response(completion(body, fault, self.set["blind_right"], name))

    def fault(self, name: str) -> str:
        if self.seen[name] and not self.set["sticky"]:
            return ""
        place = int(name[:8], 16) / 2**32
        for kind, share in self.set["faults"].items():
            if place < share:
                return kind
            place -= share
        return ""

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        data = file.file.read()  # type: ignore[union-attr]
        name = f"file-{len(self.files)}"
        self.files[name] = data
        return web.json_response({"id": name, "object": "file", "bytes": len(data), "created_at": 0,
                                  "filename": "requests.jsonl", "purpose": "batch", "status": "processed"})  # fmt: skip

    async def content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def create_batch(self, request: web.Request) -> web.Response:
        body = await request.json()
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {"id": name, "object": "batch", "endpoint": body["endpoint"], "status": "in_progress",
                              "input_file_id": body["input_file_id"], "completion_window": "24h", "created_at": 0,
                              "metadata": body.get("metadata"), "looks": 0}  # fmt: skip
        return web.json_response(self.batches[name])

    async def list_batches(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": list(self.batches.values()), "has_more": False})

    async def get_batch(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        batch["looks"] += 1
        if batch["looks"] >= 2 and batch["status"] == "in_progress":
            self.finish(batch)
        return web.json_response(batch)

    def finish(self, batch: dict[str, Any]) -> None:
        out, bad = [], []
        for line in self.files[batch["input_file_id"]].splitlines():
            item = json.loads(line)
            name = hashlib.sha256(json.dumps(item["body"]["messages"]).encode()).hexdigest()
            fault = self.fault(name)
            self.seen[name] += 1
            self.requests += 1
            if fault in ("429", "500", "400", "hang"):
                status = int(fault) if fault.isdigit() else 500
                failed = {"status_code": status, "body": {"error": {"message": "an error"}}}
                bad.append({"custom_id": item["custom_id"], "error": None, "response": failed})
                continue
            self.answered[name] += 1
            body = completion(item["body"], fault, self.set["blind_right"], name)
            out.append({"custom_id": item["custom_id"], "error": None, "response": {"status_code": 200, "body": body}})
        for key, rows in (("output_file_id", out), ("error_file_id", bad)):
            if rows:
                batch[key] = f"{batch['id']}-{key}"
                self.files[batch[key]] = "".join(json.dumps(row) + "\n" for row in rows).encode()
        batch["status"] = "completed"


def completion(body: dict[str, Any], fault: str, blind_right: float, name: str) -> dict[str, Any]:
    """A chat completion for the prompts of this project."""
    text = "\n".join(part["text"] for part in body["messages"][-1]["content"] if part["type"] == "text")
    images = sum(part["type"] == "image_url" for part in body["messages"][-1]["content"])
    told = re.search(r"The action is:\s*(.+)", text)
    label = told.group(1).strip() if told else blind_label(text, blind_right, name)
    if fault == "wrong_label":
        label = "something else"
    answer: dict[str, Any] = {"label": label}
    if told:
        step = {"start": 0.0, "end": 0.8, "part": "right hand", "motion": "goes up", "cause": "First"}
        then = {"start": 0.8, "end": 1.5, "part": "right hand", "motion": "goes down", "cause": "Then"}
        answer = {"summary": "One arm is used.", "steps": [step, then], "evidence": "The legs stay still.", **answer}
    said, finish, refusal = json.dumps(answer), "stop", None
    if fault == "malformed":
        said = "I would say that " + said[: len(said) // 3]
    if fault == "truncated":
        said, finish = said[: len(said) // 2], "length"
    if fault == "empty":
        said = ""
    if fault == "refused":
        said, refusal = "", "I cannot help with that."
    tokens = {"prompt_tokens": len(text) // 4 + 85 * images, "completion_tokens": len(said) // 4}
    return {
        "id": f"chatcmpl-{name[:12]}",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": said, "refusal": refusal},
            }
        ],
        "usage": {**tokens, "total_tokens": sum(tokens.values())},
    }


def blind_label(text: str, right: float, name: str) -> str:
    """One of the listed actions. Which one is right the server cannot know: the share decides first against last."""
    names = re.findall(r"^- (.+)$", text, re.MULTILINE)
    if not names:
        return "unknown"
    return names[0] if int(name[8:16], 16) / 2**32 < right else names[-1]


def _error(status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": message, "code": code}}, status=status, headers=headers)


def application() -> web.Application:
    """The routes."""
    server, app = Server(), web.Application(client_max_size=512 * 1024**2)
    app.add_routes(
        [
            web.get("/control", server.control),
            web.post("/control", server.control),
            web.post("/v1/chat/completions", server.chat),
            web.post("/v1/files", server.upload),
            web.get("/v1/files/{id}/content", server.content),
            web.post("/v1/batches", server.create_batch),
            web.get("/v1/batches", server.list_batches),
            web.get("/v1/batches/{id}", server.get_batch),
        ]
    )
    return app


async def _serve(port: int) -> None:
    runner = web.AppRunner(application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=4096)
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    # Ends with whoever started it, however that one ends.
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
