"""The one file that knows uvicorn's protocol: a connection with its peer certificate, its bounds and a direct writer.

What stock uvicorn lacks and a security proxy needs: the peer's certificate, bounds on a request in bytes and in time,
small write buffers, Kubernetes' own form for protocol errors, the raw target, and a way to write one prepared chunk to
a connection without waking a task.

Where a request ends must never be in doubt. So a connection ends with an answer that is given before the request was
whole, with a request to leave HTTP, and with anything that comes behind a stream under way. Trailers are dropped.

Source: uvicorn/protocols/http/httptools_impl.py (0.54)
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from proxy.api.status import HeadersTooLarge, MalformedRequest, StatusError, TargetTooLong

MAX_TARGET_BYTES = 8 * 1024
MAX_HEAD_BYTES = 32 * 1024
"""Headers over this are refused with 431: kube-apiserver takes 1 MiB, no client sends a tenth of this."""

MAX_REST_BYTES = 16 * 1024 * 1024
"""What may follow a head: a body with its framing and trailers. Handlers that read a body have a bound of their own."""

MAX_PIPELINED = 16
"""Requests that wait behind the one being answered. No client of Kubernetes sends even one."""

HEAD_TIMEOUT_SECONDS = 30.0
"""From connection (or first byte) to a complete head; kube-apiserver gives 32 s."""

BODY_TIMEOUT_SECONDS = 60.0
"""From a complete head to a complete request; kube-apiserver gives 60 s for everything."""

LINGER_SECONDS = 2.0
"""How long a client may take to agree to the end of its connection; TLS alone would wait for half a minute."""

WRITE_BUFFER_BYTES = 32 * 1024
"""High-water mark of what one client has not read. Stock TLS transports take 512 KiB: 5,000 stuck readers, 6 GiB."""

Header = tuple[bytes, bytes]


class _Refused(Exception):
    """What follows on the connection is not parsed any more."""


class Connection(HttpToolsProtocol):
    """One client connection. `scope["state"]` of its requests holds `connection` (this) and `target` (raw bytes).

    While a streamed response is under way, `write` appends to its body what is already framed as HTTP chunks.
    """

    head_timeout_seconds = HEAD_TIMEOUT_SECONDS
    body_timeout_seconds = BODY_TIMEOUT_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.peer_certificate: bytes | None = None
        """The verified leaf certificate of the client in DER, None without one."""
        self._head_bytes = 0
        self._head_complete = False
        self._rest_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._owed_within: float | None = None
        """Seconds for what is still to come of a request, until the deadline is set: most requests come at once."""
        self._keeps_alive = True
        self._answering: RequestResponseCycle | None = None
        self._on_lost: Callable[[], None] | None = None
        self._refused = False

    # --- for handlers ---

    def write(self, chunk: bytes) -> None:
        """Writes framed bytes at once. On a lost connection it does nothing."""
        if not self.transport.is_closing():
            self.transport.write(chunk)

    def write_chunk(self, part: bytes | memoryview) -> None:
        """Writes one HTTP chunk at once, without a copy of what is in it. On a lost connection it does nothing."""
        if not self.transport.is_closing():
            self.transport.writelines((b"%x\r\n" % len(part), part, b"\r\n"))

    def answer(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Answers the request with a whole response in one write; ASGI's two messages would be two TLS records.

        `headers` tell its length. Raises ValueError, and writes nothing, when one of them would end its line early.
        """
        if self.parser is None:  # the client is gone
            return
        cycle = self._answering
        assert cycle is not None and not cycle.response_started, "no request waits for its answer"
        if cycle.disconnected:
            return
        headers = [*cycle.default_headers, *headers]
        if (b"connection", b"close") in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers.append((b"connection", b"close"))
        head = encode_response_head(status, headers)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self.transport.write(head if cycle.scope["method"] == "HEAD" else head + body)
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    @property
    def writable(self) -> bool:
        """False while the client has not read what it was sent, or is gone."""
        return not self.flow.write_paused and not self.transport.is_closing()

    async def wait_writable(self) -> None:
        """Returns when the client has caught up, or is gone."""
        await self.flow.drain()

    def on_lost(self, callback: Callable[[], None] | None) -> None:
        """Sets what is called once when the client goes away; at once when it has gone already.

        From now on what the client sends ends the connection: while requests waited behind a stream, nobody would read
        on, and see that the client has gone.
        """
        self._on_lost = callback
        if callback is None:
            return
        if self.pipeline:
            self._close()
        if self.parser is None or self.transport.is_closing():
            callback()

    def abort(self) -> None:
        """Drops the connection without waiting for what is still to be written."""
        if self._answering is not None:
            self._answering.disconnected = True
        self.transport.abort()

    # --- uvicorn's hooks ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        ssl_object: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self.peer_certificate = ssl_object.getpeercert(binary_form=True) if ssl_object else None
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._expect_within(self.head_timeout_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        self._unset_keepalive_if_required()  # uvicorn leaves it where the client has reset the connection
        super().connection_lost(exc)
        # They lead back here: in a cycle a connection would wait for the collector, with 50 KiB of TLS.
        self.cycle = self._answering = None  # type: ignore[assignment]
        self.scope = None  # type: ignore[assignment]
        self.pipeline.clear()
        if self._on_lost is not None:
            self._on_lost()
            self._on_lost = None

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        if self._head_complete:
            self._rest_bytes += len(data)
        else:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refused = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(MalformedRequest("the request is not valid HTTP/1.1"))
        else:
            self._check_bounds()
        if self._owed_within is not None:
            self._expect_within(self._owed_within)
            self._owed_within = None

    def _check_bounds(self) -> None:
        if self._rest_bytes > MAX_REST_BYTES:
            self._refuse(MalformedRequest(f"the request is larger than {MAX_REST_BYTES} bytes"))
        elif self._head_complete:
            return
        elif len(getattr(self, "url", b"")) > MAX_TARGET_BYTES:
            self._refuse(TargetTooLong(f"the request target is longer than {MAX_TARGET_BYTES} bytes"))
        elif self._head_bytes > MAX_HEAD_BYTES + MAX_TARGET_BYTES:
            self._refuse(HeadersTooLarge(f"the request headers are larger than {MAX_HEAD_BYTES} bytes"))

    def on_message_begin(self) -> None:
        if self._on_lost is not None or len(self.pipeline) >= MAX_PIPELINED:
            raise _Refused
        # Here and not with any data: line breaks between two requests must not keep an idle connection open.
        self._unset_keepalive_if_required()
        super().on_message_begin()
        self._head_complete = False
        if self._deadline is None:
            self._owed_within = self.head_timeout_seconds

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_complete:  # else a trailer: it must not pass for a header
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_complete = True
        self._head_bytes = self._rest_bytes = 0
        self._unset_keepalive_if_required()
        self._owed_within = self.body_timeout_seconds
        if self.parser.get_http_version() != "1.1" or not _is_unambiguous(self.headers):
            raise _Refused
        state = self.scope["state"]
        state["connection"] = self
        state["target"] = self.url
        # llhttp keeps the framing of a response that this refuses on safe ground: the parser saw the whole head.
        state["head_too_large"] = sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES
        super().on_headers_complete()
        self._keeps_alive, self.cycle.keep_alive = self.cycle.keep_alive, False  # until the request is whole

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        self._rest_bytes = 0
        self._owed_within = None
        self._cancel_deadline()
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keeps_alive
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._on_lost = None
        super().on_response_complete()
        if self.transport.is_closing():
            self._close()

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self._close()

    def _refuse(self, error: StatusError) -> None:
        self._refused = True
        body = error.body()
        head = (
            STATUS_LINE[error.code],
            b"content-type: application/json\r\ncache-control: no-cache, private\r\nconnection: close\r\n",
            b"content-length: %d\r\n\r\n" % len(body),
        )
        # Between two responses only: a pipelined head in doubt must not write into a response under way.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(b"".join((*head, body)))
        elif not self.cycle.response_started and not self.pipeline:
            self.cycle.disconnected = True  # its request turned out to be malformed behind the head: nobody answers it
            self.cycle.message_event.set()
            self.transport.write(b"".join((*head, body)))
        self._close()

    def _close(self) -> None:
        self.transport.close()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _expect_within(self, seconds: float) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(seconds, self._close)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def encode_response_head(status: int, headers: Sequence[Header]) -> bytes:
    """The status line and header section. Raises ValueError when a header would end its line early."""
    parts = [STATUS_LINE[status]]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n")
    head = b"".join(parts)
    lines = len(headers) + 2
    if head.count(b"\r") != lines or head.count(b"\n") != lines or b"\0" in head:
        raise ValueError("a header of the answer contains a line break or NUL")
    return head


def _is_unambiguous(headers: list[Header]) -> bool:
    """One Host, and no transfer coding but the one that nobody has to decode."""
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            return False
    return hosts == 1
