"""The process that sends requests: some connections, each with one request at a time, until all are answered.

In: one JSON line {"host", "port", "ca_file", "cert_file", "key_file", "target", "token", "connections", "requests"};
out: an empty object when all are connected. Then any line in begins, and one comes out:
{"seconds", "bytes" of all bodies, "latencies_ms" of each request}. An answer that is not 200 ends it with status 1.
"""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import httptools
import uvloop

_CONNECT_SECONDS = 60.0


class Requester(asyncio.Protocol):
    """One connection. `take` says whether there is one more request to send; `done` is set when there is none."""

    def __init__(self, request: bytes, take: Callable[[], bool], done: asyncio.Future[None]) -> None:
        self._request = request
        self._take = take
        self._done = done
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._sent_at = 0.0
        self.bytes = 0
        self.latencies_ms: list[float] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(ConnectionError(f"closed before the answer: {exc}"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.bytes += len(body)

    def on_message_complete(self) -> None:
        self.latencies_ms.append((time.perf_counter() - self._sent_at) * 1000)
        status = self._parser.get_status_code()
        if status == 200:
            self.send()
        elif not self._done.done():
            self._done.set_exception(ConnectionError(f"answered with {status}"))

    def send(self) -> None:
        """Sends the next request, where there is one."""
        assert self._transport is not None
        if not self._take():
            self._done.set_result(None)
            return
        self._parser = httptools.HttpResponseParser(self)
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


async def _run(lines: TextIO) -> None:
    loop = asyncio.get_running_loop()
    spec = json.loads(lines.readline())
    left = spec["requests"]

    def take() -> bool:
        nonlocal left
        left -= 1
        return bool(left >= 0)

    context = ssl.create_default_context(cafile=spec["ca_file"])
    if spec["cert_file"]:
        context.load_cert_chain(spec["cert_file"], spec["key_file"])
    requesters: list[Requester] = []
    finished = []
    async with asyncio.timeout(_CONNECT_SECONDS):
        for _ in range(spec["connections"]):
            finished.append(loop.create_future())
            requester = Requester(_request(spec), take, finished[-1])
            requesters.append(requester)
            await loop.create_connection(
                lambda requester=requester: requester,  # type: ignore[misc]
                spec["host"],
                spec["port"],
                ssl=context,
                server_hostname=spec["host"],
            )
    gc.freeze()
    gc.disable()  # a pause of the generator would be measured as the server's
    print("{}", flush=True)
    lines.readline()
    started = time.perf_counter()
    for requester in requesters:
        requester.send()
    await asyncio.gather(*finished)
    result = {
        "seconds": time.perf_counter() - started,
        "bytes": sum(each.bytes for each in requesters),
        "latencies_ms": [latency for each in requesters for latency in each.latencies_ms],
    }
    print(json.dumps(result), flush=True)


def _request(spec: Mapping[str, Any]) -> bytes:
    token = f"authorization: Bearer {spec['token']}\r\n" if spec["token"] else ""
    return f"GET {spec['target']} HTTP/1.1\r\nhost: benchmark\r\naccept: application/json\r\n{token}\r\n".encode()


if __name__ == "__main__":
    try:
        uvloop.run(_run(sys.stdin))
    except (OSError, TimeoutError) as error:
        raise SystemExit(f"the load failed: {error!r}") from None
