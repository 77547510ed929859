"""One watcher: a TLS connection with one watch, read as cheaply as Python can, each event checked.

What is checked: every event is the MODIFIED of the object this watcher may see, numbered one more than the last. A
gap, a double, a wrong order or an object of somebody else is a fault, and a run with one is void.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.support.mark import mark_of, read_mark

LATENCY_STEP_NS = 100_000
"""Resolution of the histogram of latencies: 0.1 ms."""

_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_RESOURCE_VERSION = b'"resourceVersion":"'
_MODIFIED = b'{"type":"MODIFIED"'
_MAX_FAULTS = 10


@dataclass(slots=True)
class Observed:
    """What all watchers of a process saw. `latencies` counts events by steps of LATENCY_STEP_NS."""

    delivered: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)
    latencies: Counter[int] = field(default_factory=Counter)

    def fault(self, text: str) -> None:
        """Remembers a fault; after the first few only that there was one."""
        if len(self.faults) < _MAX_FAULTS:
            self.faults.append(text)


class WatchStream(asyncio.Protocol):
    """Lists `path`, then watches it from there, on one connection, as clients do.

    `headers` are those of both requests. `name` is the only object it must see, empty for none. `opened` is set when
    the watch is answered with 200.
    """

    def __init__(self, path: str, headers: str, name: str, observed: Observed, opened: asyncio.Future[None]) -> None:
        self._path = path
        self._headers = headers
        self._observed = observed
        self._opened = opened
        self._is_listed = False
        self._buffer = b""  # what came and is not read yet
        self._line = b""  # an event of which only the beginning came
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self.object = name.encode()
        self.last = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._request(self._path)

    def data_received(self, data: bytes) -> None:
        received_ns = time.time_ns()
        self._buffer = self._buffer + data if self._buffer else data
        if self._opened.done():
            self._read_chunks(received_ns)
        else:
            self._read_answer()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(ConnectionError(f"closed before the watch was open: {exc}"))
        elif not self._closing:
            self._observed.fault(f"the watch of {self.object.decode()} ended by itself: {exc}")

    def close(self) -> None:
        """Ends the watch."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def _request(self, target: str) -> None:
        assert self._transport is not None
        self._transport.write(f"GET {target} HTTP/1.1\r\nhost: benchmark\r\n{self._headers}\r\n".encode())

    def _read_answer(self) -> None:
        head, end, rest = self._buffer.partition(_HEAD_END)
        if not end:
            return
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            self._opened.set_exception(ConnectionError(f"not 200: {self._buffer[:500]!r}"))
        elif self._is_listed:
            self._buffer = rest
            self._opened.set_result(None)
        elif rest.endswith(_LAST_CHUNK) if b"chunked" in head.lower() else len(rest) == _content_length(head):
            self._buffer = b""
            self._listed(rest)

    def _listed(self, body: bytes) -> None:
        """Goes on to watch. The list's own metadata come before its items."""
        self._is_listed = True
        own = body.find(mark_of(self.object)) if self.object else -1
        mark = read_mark(body[own:]) if own >= 0 else None
        self.last = mark.number if mark else 0
        start = body.index(_RESOURCE_VERSION) + len(_RESOURCE_VERSION)
        rv = body[start : body.index(b'"', start)].decode()
        self._request(f"{self._path}?watch=true&resourceVersion={rv}")

    def _read_chunks(self, received_ns: int) -> None:
        buffer, position = self._buffer, 0
        while (size_end := buffer.find(b"\r\n", position)) > 0:
            start = size_end + 2
            end = start + int(buffer[position:size_end], 16)
            if len(buffer) < end + 2:
                break
            self._read_payload(buffer[start:end], received_ns)
            position = end + 2
        self._buffer = buffer[position:]

    def _read_payload(self, payload: bytes, received_ns: int) -> None:
        *events, self._line = (self._line + payload).split(b"\n")
        for event in events:
            self._check(event, received_ns)

    def _check(self, event: bytes, received_ns: int) -> None:
        observed = self._observed
        mark = read_mark(event)
        if mark is None or mark.object != self.object or not event.startswith(_MODIFIED):
            observed.fault(f"{self.object.decode()} was shown {event[:300]!r}")
            return
        if mark.number != self.last + 1:
            observed.fault(f"{self.object.decode()}: {mark.number} after {self.last}")
        self.last = mark.number
        observed.delivered += 1
        observed.bytes += len(event)
        observed.latencies[(received_ns - mark.sent_ns) // LATENCY_STEP_NS] += 1


def _content_length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else -1
