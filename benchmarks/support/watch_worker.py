"""The process that holds watchers. One JSON line in, one out: the first opens them, then commands, until input ends.

    {"host": …, "port": …, "ca_file": …, "watchers": [{"path", "object", "cert_file", "key_file", "token"}, …]}
    {"do": "report", "expected": {OBJECT: NUMBER}}    where everybody is, against the last update of each object
    {"do": "reset", "expected": {…}}                  the same, and counts from here

Every answer is {"behind": watchers that miss updates, "delivered", "bytes", "faults", "latencies"}.
"""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import uvloop

from benchmarks.support.watch_stream import Observed, WatchStream

_CONNECTS_AT_ONCE = 32
_CONNECT_SECONDS = 60.0


class Worker:
    """The watchers of one process."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._spec = spec
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._connecting = asyncio.Semaphore(_CONNECTS_AT_ONCE)
        self._streams: list[WatchStream] = []
        self._observed = Observed()

    async def open(self) -> None:
        """Returns when every watch is open."""
        async with asyncio.TaskGroup() as tasks:
            for watcher in self._spec["watchers"]:
                tasks.create_task(self._connect(watcher))

    def close(self) -> None:
        """Ends all watches."""
        for stream in self._streams:
            stream.close()

    def reset(self) -> None:
        """Counts begin anew; faults stay."""
        self._observed.delivered = self._observed.bytes = 0
        self._observed.latencies.clear()

    def behind(self, expected: Mapping[str, int]) -> int:
        """How many watchers have not got the last update of their object."""
        return sum(stream.last != expected.get(stream.object.decode(), 0) for stream in self._streams)

    def report(self, expected: Mapping[str, int]) -> dict[str, Any]:
        """An answer."""
        observed = self._observed
        return {
            "behind": self.behind(expected),
            "delivered": observed.delivered,
            "bytes": observed.bytes,
            "faults": observed.faults,
            "latencies": observed.latencies,
        }

    async def _connect(self, watcher: Mapping[str, str]) -> None:
        loop = asyncio.get_running_loop()
        async with self._connecting, asyncio.timeout(_CONNECT_SECONDS):
            opened = loop.create_future()
            headers = "accept: application/json\r\n"
            if watcher["token"]:
                headers += f"authorization: Bearer {watcher['token']}\r\n"
            stream = WatchStream(watcher["path"], headers, watcher["object"], self._observed, opened)
            self._streams.append(stream)
            await loop.create_connection(
                lambda: stream,
                self._spec["host"],
                self._spec["port"],
                ssl=self._context(watcher["cert_file"], watcher["key_file"]),
                server_hostname=self._spec["host"],
            )
            await opened

    def _context(self, cert_file: str, key_file: str) -> ssl.SSLContext:
        if cert_file not in self._contexts:
            context = self._contexts[cert_file] = ssl.create_default_context(cafile=self._spec["ca_file"])
            if cert_file:
                context.load_cert_chain(cert_file, key_file)
        return self._contexts[cert_file]


async def _run(lines: TextIO) -> None:
    loop = asyncio.get_running_loop()
    worker = Worker(json.loads(await loop.run_in_executor(None, lines.readline)))
    await worker.open()
    gc.freeze()
    gc.disable()  # a pause of the generator would be measured as the server's
    _answer(worker.report({}))
    while line := await loop.run_in_executor(None, lines.readline):
        command = json.loads(line)
        _answer(worker.report(command["expected"]))
        if command["do"] == "reset":
            worker.reset()
    worker.close()


def _answer(report: Mapping[str, Any]) -> None:
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    try:
        uvloop.run(_run(sys.stdin))
    except* (OSError, TimeoutError) as group:
        raise SystemExit(f"{len(group.exceptions)} watches did not open: {group.exceptions[0]!r}") from None
