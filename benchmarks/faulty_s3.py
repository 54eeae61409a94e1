"""An S3 server on this machine with faults: moto, and a proxy of our own before it that loses, delays and refuses.

    python benchmarks/faulty_s3.py [--target URL] [--seed 0] [--rate 0.08] [--kinds 500 503 lost]

Prints one line {"port": N}, listens on 127.0.0.1 and ends with its
standard input. `GET /-/counts` counts the requests that met a fault. A share `rate` of the
requests meets one of:

    500        refused before anything was done
    503        SlowDown, likewise
    lost       done, but the connection ends without an answer
    cut        done, but the answer breaks off in the middle
    hang       done, but no answer within the client's patience
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections import Counter

import aiohttp
from aiohttp import web
from moto.server import ThreadedMotoServer

KINDS = ("500", "503", "lost", "cut", "hang")
HANG_SECONDS = 60.0
_ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>injected</Message></Error>"
_OF_ONE_HOP = {"connection", "transfer-encoding", "content-encoding", "keep-alive", "date", "server"}


class Proxy:
    """Hands requests on, all but some."""

    def __init__(self, target: str, seed: int, rate: float, kinds: tuple[str, ...] = KINDS) -> None:
        self.target, self.rate, self.kinds = target, rate, kinds
        self.rng = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.session: aiohttp.ClientSession | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/-/counts":
            return web.json_response(self.counts)
        fault = self.rng.choice(self.kinds) if self.rng.random() < self.rate else "none"
        self.counts[fault] += 1
        if fault in ("500", "503"):
            text = _ERROR.format("InternalError" if fault == "500" else "SlowDown")
            return web.Response(status=int(fault), text=text, content_type="application/xml")
        status, headers, body = await self._forward(request)
        if fault == "hang":
            await asyncio.sleep(HANG_SECONDS)
        if fault in ("lost", "hang") and request.transport is not None:
            request.transport.abort()
        answer = web.StreamResponse(status=status, headers=headers)
        answer.content_length = None if request.method == "HEAD" else len(body)
        if request.method == "HEAD" and "Content-Length" in headers:
            answer.headers["Content-Length"] = headers["Content-Length"]
        await answer.prepare(request)
        if fault == "cut" and request.transport is not None:
            await answer.write(body[: len(body) // 2])
            request.transport.abort()
            return answer
        await answer.write(body)
        await answer.write_eof()
        return answer

    async def _forward(self, request: web.Request) -> tuple[int, dict[str, str], bytes]:
        if self.session is None:
            self.session = aiohttp.ClientSession(auto_decompress=False)
        sent = {name: value for name, value in request.headers.items() if name.lower() not in _OF_ONE_HOP}
        url, content = self.target + request.raw_path, await request.read()
        async with self.session.request(
            request.method, url, headers=sent, data=content, allow_redirects=False
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_ONE_HOP}
            return answer.status, kept, await answer.read()


async def serve(target: str, seed: int, rate: float, kinds: tuple[str, ...] = KINDS) -> None:
    """The proxy, and moto where no other server is named, until standard input ends."""
    moto = None if target else ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    if moto is not None:
        moto.start()
        target = f"http://127.0.0.1:{moto.get_host_and_port()[1]}"
    application = web.Application(client_max_size=1 << 30)
    proxy = Proxy(target, seed, rate, kinds)
    application.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    if proxy.session is not None:
        await proxy.session.close()
    if moto is not None:
        moto.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="", help="URL of another S3 server to stand before")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.08)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.target, arguments.seed, arguments.rate, tuple(arguments.kinds)))
