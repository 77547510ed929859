"""UpstreamConnection: one HTTP/1.1 connection to the API server, one exchange at a time.

An exchange is `start`, perhaps `send_body`, `response_head`, `read` until `b""`, `finish`. Whoever breaks off calls
`abort`. Only one coroutine uses a connection at any time. A slow reader holds back the peer.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterable, Callable
from typing import cast

import httpx

from proxy.upstream.response_parser import Header, ResponseParser

READ_HIGH_WATER_BYTES = 256 * 1024  # buffered body above which the peer is held back: one read of the event loop
WRITE_HIGH_WATER_BYTES = 64 * 1024  # TLS transports would buffer 512 KiB of a request body

# A peer that vanished without a word is noticed within a minute, also on a silent watch.
_KEEPALIVE_OPTIONS = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


class _ReadBuffer(threading.local):
    """What an event loop reads into. One a thread: its loop runs nothing between `get_buffer` and `buffer_updated`."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(READ_HIGH_WATER_BYTES))


_read_buffer = _ReadBuffer()


class UpstreamConnection(asyncio.BufferedProtocol):
    """`context` is what the connection was made with; `on_lost` is told once when it is gone."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        context: ssl.SSLContext | None,
        on_lost: Callable[[UpstreamConnection], None],
    ) -> None:
        self.context = context
        self._loop = loop
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._response: ResponseParser | None = None  # None between exchanges
        self._request_sent = False
        self._failure: httpx.TransportError | None = None
        self._closed = False
        self._may_write = True
        self._reading_paused = False
        self._read_buffer = _read_buffer.view
        self._high_water_bytes = READ_HIGH_WATER_BYTES
        self._waiter: asyncio.Future[None] | None = None
        self._is_over: Callable[[], bool] = self._is_answered  # what the waiter waits for
        self._expired = False

    @property
    def is_closed(self) -> bool:
        """True when nothing can be sent any more."""
        return self._closed or self._transport is None or self._transport.is_closing()

    def start(self, data: bytes, *, method: str, body_follows: bool) -> None:
        """Begins an exchange by sending a request, or its head where `body_follows`."""
        self._response = ResponseParser(method=method)
        self._high_water_bytes = READ_HIGH_WATER_BYTES
        self._request_sent = not body_follows
        self._write(data)

    async def send_body(
        self, body: AsyncIterable[bytes], *, content_length: int | None, timeout_seconds: float | None
    ) -> None:
        """Sends the body, chunked without a `content_length`; stops early when the answer is there already.

        Raises httpx.WriteTimeout when the peer takes nothing for so long, httpx.LocalProtocolError when the body is
        not as long as was said.
        """
        sent = 0
        async for data in body:
            if self._is_answered():
                return
            sent += len(data)
            if content_length is not None and sent > content_length:
                raise httpx.LocalProtocolError("the body is longer than its Content-Length")
            if data:
                self._write(data if content_length is not None else b"%x\r\n%b\r\n" % (len(data), data))
            if not self._may_write:
                await self._wait_for(self._may_go_on_writing, timeout_seconds, httpx.WriteTimeout)
        if content_length is None:
            self._write(b"0\r\n\r\n")
        elif sent < content_length:
            raise httpx.LocalProtocolError("the body is shorter than its Content-Length")
        self._request_sent = True

    async def response_head(self, timeout_seconds: float | None) -> tuple[int, list[Header]]:
        """Status and headers of the final response. The timeout is for all of it, however slowly it drips in."""
        response = self._current_response()
        if not self._is_answered():
            await self._wait_for(self._is_answered, timeout_seconds, httpx.ReadTimeout)
        if not response.head_complete:
            raise self._failure or httpx.ReadError("the connection is closed")
        return response.status, response.headers

    async def read(self, timeout_seconds: float | None) -> bytes:
        """All of the body that is there, at least one byte; `b""` is the end. Data before a failure is delivered."""
        response = self._current_response()
        if not self._is_readable():
            await self._wait_for(self._is_readable, timeout_seconds, httpx.ReadTimeout)
        if response.has_data:
            data = response.take()
            self._resume_reading()
            return data
        if response.complete:
            return b""
        raise self._failure or httpx.ReadError("the connection is closed")

    async def read_all(self, max_bytes: int, timeout_seconds: float | None) -> bytes | None:
        """The rest of the body in one piece, None once there is more than `max_bytes` of it.

        Cheaper than `read` piece by piece: the reader is woken at the end only. The timeout is for a stretch in which
        nothing comes; it may take twice as long to be noticed.
        """
        response = self._current_response()
        self._high_water_bytes = max_bytes
        self._resume_reading()
        while not self._is_whole():
            received = response.buffered_bytes
            try:
                await self._wait_for(self._is_whole, timeout_seconds, httpx.ReadTimeout)
            except httpx.ReadTimeout:
                if response.buffered_bytes == received:
                    raise
        if response.buffered_bytes > max_bytes:
            return None
        if not response.complete:
            raise self._failure or httpx.ReadError("the connection is closed")
        return response.take()

    def is_lost_unanswered(self) -> bool:
        """True when the peer closed before the first byte of its answer, so that it may never have seen the request."""
        return self._closed and self._response is not None and not self._response.has_begun

    def finish(self) -> bool:
        """Ends the exchange; False when the connection is not fit for another, and it is closed then."""
        response, self._response = self._current_response(), None
        fit = response.is_reusable and not response.has_data and self._request_sent and not self.is_closed
        if not fit:
            self.abort()
        response.discard()
        return fit

    def abort(self) -> None:
        """Closes at once: neither a TLS goodbye nor unsent bytes are waited for."""
        if self._transport is not None:
            self._transport.abort()

    # --- from the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        peer_socket = transport.get_extra_info("socket")
        peer_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE_OPTIONS:
            if hasattr(socket, name):
                peer_socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        response = self._response
        if response is None:  # nothing was asked: whatever this is, it must not become the next answer
            self.abort()
            return
        try:
            response.feed(self._read_buffer[:nbytes])
        except httpx.RemoteProtocolError as error:
            self._failure = self._failure or error
            self.abort()
        if response.buffered_bytes > self._high_water_bytes:
            self._pause_reading()
        self._wake()

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        if self._failure is None:
            self._failure = self._reason_of_loss(exc)
        self._wake()
        self._on_lost(self)

    # --- inside ---

    def _current_response(self) -> ResponseParser:
        assert self._response is not None, "no exchange was started"
        return self._response

    def _is_answered(self) -> bool:
        return self._current_response().head_complete or self._failure is not None or self._closed

    def _is_readable(self) -> bool:
        response = self._current_response()
        return response.has_data or response.complete or self._failure is not None or self._closed

    def _is_whole(self) -> bool:
        response = self._current_response()
        is_too_large = response.buffered_bytes > self._high_water_bytes
        return is_too_large or response.complete or self._failure is not None or self._closed

    def _may_go_on_writing(self) -> bool:
        return self._may_write or self._is_answered()

    def _reason_of_loss(self, exc: Exception | None) -> httpx.TransportError | None:
        if exc is not None:
            return httpx.ReadError(_one_line(exc))
        try:
            if self._response is not None:
                self._response.end()
        except httpx.RemoteProtocolError as error:
            return error
        return None

    def _write(self, data: bytes) -> None:
        if not self.is_closed and self._transport is not None:
            self._transport.write(data)

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self.is_closed and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self.is_closed and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()

    async def _wait_for(
        self, ready: Callable[[], bool], timeout_seconds: float | None, timeout_error: type[httpx.TimeoutException]
    ) -> None:
        self._expired = False
        timer = None if timeout_seconds is None else self._loop.call_later(timeout_seconds, self._expire)
        try:
            while not ready():
                if self._expired:
                    raise timeout_error(f"nothing for {timeout_seconds:g} s")
                self._is_over = ready
                self._waiter = self._loop.create_future()
                await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _expire(self) -> None:
        self._expired = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done() and (self._expired or self._is_over()):
            self._waiter.set_result(None)


def _one_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
