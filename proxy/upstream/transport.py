"""UpstreamTransport: an httpx transport to one API server, on httptools and asyncio.

httpx is the interface (types, exceptions, `extensions["timeout"]`, `extensions["target"]`), this is the I/O: several
times cheaper than httpx's stock pool, whose cost grows with every open watch. Everything runs in the caller's task.
`fetch` is the same for a small whole answer, where making httpx's objects would cost as much as the exchange.

Unary requests share a bounded number of connections and take turns by caller (`fair_slots`); long-running ones (the
extension LONG_RUNNING) are not counted, for their number is bounded where they are made.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

import httpx

from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.connection_pool import ConnectionPool
from proxy.upstream.fair_slots import FairSlots, NoRoom
from proxy.upstream.request_head import encode_request_head
from proxy.upstream.response_parser import Header

LONG_RUNNING = "watchkeeper.long_running"

MAX_UNARY_REQUESTS = 64  # in flight at once: what one core can make use of, far below upstream's 400
MAX_WAITING_REQUESTS = 1024  # beyond, a request fails at once instead of adding to a queue nobody survives
MAX_IDLE_CONNECTIONS = 64
IDLE_SECONDS = 30.0

# What may be sent twice. PUT and DELETE are idempotent to HTTP, but their second answer is another one here.
_REPLAYABLE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Timeouts(NamedTuple):
    """Seconds, None for no bound: httpx's four, and `headers` for the whole head of the response (else `read`)."""

    connect: float | None
    headers: float | None
    read: float | None
    write: float | None
    pool: float | None

    @classmethod
    def of(cls, request: httpx.Request) -> Timeouts:
        """The `timeout` extension of a request; what it does not name has no bound."""
        given: dict[str, float | None] = request.extensions.get("timeout", {})
        read = given.get("read")
        return cls(given.get("connect"), given.get("headers", read), read, given.get("write"), given.get("pool"))


class Fetched(NamedTuple):
    """A whole answer. `body` None: it is larger than what was asked for."""

    status: int
    headers: list[Header]
    body: bytes | None


class _Outgoing(NamedTuple):
    """A request on its way. `body` None: `stream` follows the head."""

    method: str
    head: bytes
    body: bytes | None = b""
    stream: httpx.AsyncByteStream | None = None
    content_length: int | None = None

    @property
    def is_replayable(self) -> bool:
        """True when sending it a second time does what sending it once does."""
        return self.method in _REPLAYABLE_METHODS and self.body is not None


class ResponseBody(httpx.AsyncByteStream):
    """The body of one response. Read to its end, it gives the connection back; closed before, it ends it."""

    def __init__(self, connection: UpstreamConnection, read_timeout: float | None, release: Callable[[], None]) -> None:
        self._connection = connection
        self._read_timeout = read_timeout
        self._release: Callable[[], None] | None = release

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while data := await self._connection.read(self._read_timeout):
                yield data
        finally:
            await self.aclose()

    async def read_all(self, max_bytes: int) -> bytes | None:
        """The whole body, None as soon as it turns out larger than `max_bytes`."""
        try:
            return await self._connection.read_all(max_bytes, self._read_timeout)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        if self._release is not None:
            release, self._release = self._release, None
            release()


class UpstreamTransport(httpx.AsyncBaseTransport):
    """Sends every request to one `host` and `port`, whatever other transports would make of the URL.

    `tls_context` gives the context of a new connection, None means plain HTTP. The certificate is verified for
    `tls_server_name`, by default the host.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls_context: Callable[[], ssl.SSLContext] | None,
        tls_server_name: str | None = None,
        monotonic: Callable[[], float],
        max_unary_requests: int = MAX_UNARY_REQUESTS,
        max_waiting_requests: int = MAX_WAITING_REQUESTS,
        max_idle_connections: int = MAX_IDLE_CONNECTIONS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._host = host
        self._raw_host = host.encode("ascii")
        self._port = port
        self._tls_context = tls_context
        self._tls_server_name = tls_server_name or host
        self._pool = ConnectionPool(max_idle=max_idle_connections, idle_seconds=idle_seconds, monotonic=monotonic)
        self._slots = FairSlots(max_unary_requests, max_waiting=max_waiting_requests)
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Connections in use or free."""
        return self._pool.open_count

    @property
    def idle_connections(self) -> int:
        """Connections that are free."""
        return self._pool.idle_count

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request; returns when the response's head is there.

        Raises httpx.TransportError: ConnectError, ConnectTimeout, ReadError, ReadTimeout, WriteTimeout, PoolTimeout,
        RemoteProtocolError for an answer that is not HTTP, LocalProtocolError for a request that is not.
        """
        if request.url.raw_host != self._raw_host:
            raise httpx.LocalProtocolError("the request is for another host")
        counted = not request.extensions.get(LONG_RUNNING, False)
        status, headers, body = await self._begin(_outgoing(request), Timeouts.of(request), counted=counted)
        return httpx.Response(status, headers=headers, stream=body, extensions={"http_version": b"HTTP/1.1"})

    async def fetch(
        self, target: bytes, headers: Sequence[Header], *, timeouts: Timeouts, max_body_bytes: int
    ) -> Fetched:
        """GETs a whole answer. `headers` are all of the request's, Host included. Raises as `handle_async_request`."""
        outgoing = _Outgoing("GET", encode_request_head(b"GET", target, headers))
        status, fields, body = await self._begin(outgoing, timeouts, counted=True)
        return Fetched(status, fields, await body.read_all(max_body_bytes))

    async def aclose(self) -> None:
        """Closes every connection; requests in flight and later ones fail."""
        self._closed = True
        self._pool.close()

    async def _begin(
        self, outgoing: _Outgoing, timeouts: Timeouts, *, counted: bool
    ) -> tuple[int, list[Header], ResponseBody]:
        """An answer up to the end of its head. `counted`: one of the unary requests."""
        if counted:
            await self._take_slot(timeouts.pool)
        try:
            connection, status, headers = await self._exchange(outgoing, timeouts)
        except BaseException:
            if counted:
                self._slots.release()
            raise

        def release() -> None:
            if connection.finish():
                self._pool.give_back(connection)
            if counted:
                self._slots.release()

        return status, headers, ResponseBody(connection, timeouts.read, release)

    async def _take_slot(self, timeout_seconds: float | None) -> None:
        try:
            await self._slots.acquire(timeout_seconds)
        except NoRoom as error:
            raise httpx.PoolTimeout("too many requests are waiting") from error
        except TimeoutError as error:
            raise httpx.PoolTimeout(f"no connection became free for {timeout_seconds:g} s") from error

    async def _exchange(self, outgoing: _Outgoing, timeouts: Timeouts) -> tuple[UpstreamConnection, int, list[Header]]:
        if self._closed:
            raise httpx.ConnectError("the transport is closed")
        context = self._tls_context() if self._tls_context else None
        connection = self._pool.take(context)
        if connection is not None:
            try:
                return connection, *await _send(connection, outgoing, timeouts)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                # The peer may have closed a connection it saw idle just as we used it: no fault of the request.
                if not (connection.is_lost_unanswered() and outgoing.is_replayable):
                    raise
        connection = await self._connect(context, timeouts.connect)
        return connection, *await _send(connection, outgoing, timeouts)

    async def _connect(self, context: ssl.SSLContext | None, timeout_seconds: float | None) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        connection = UpstreamConnection(loop, context=context, on_lost=self._pool.forget)
        self._pool.add(connection)
        try:
            async with asyncio.timeout(timeout_seconds):
                await loop.create_connection(
                    lambda: connection,
                    self._host,
                    self._port,
                    ssl=context,
                    server_hostname=self._tls_server_name if context else None,
                )
            if self._closed:
                raise httpx.ConnectError("the transport is closed")
        except BaseException as error:
            connection.abort()
            self._pool.forget(connection)
            if isinstance(error, TimeoutError):  # an OSError, too
                raise httpx.ConnectTimeout("connection timed out") from error
            if isinstance(error, OSError):
                raise httpx.ConnectError(_why_not_connected(error)) from error
            raise
        return connection


async def _send(connection: UpstreamConnection, outgoing: _Outgoing, timeouts: Timeouts) -> tuple[int, list[Header]]:
    try:
        body_follows = outgoing.body is None
        connection.start(outgoing.head + (outgoing.body or b""), method=outgoing.method, body_follows=body_follows)
        if outgoing.stream is not None:
            await connection.send_body(
                outgoing.stream, content_length=outgoing.content_length, timeout_seconds=timeouts.write
            )
        return await connection.response_head(timeouts.headers)
    except BaseException:
        connection.abort()
        raise


def _outgoing(request: httpx.Request) -> _Outgoing:
    target = request.extensions.get("target") or request.url.raw_path
    head = encode_request_head(request.method.encode("ascii"), target, request.headers.raw)
    try:
        return _Outgoing(request.method, head, request.content)
    except httpx.RequestNotRead:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        length = request.headers.get("content-length")
        return _Outgoing(request.method, head, None, request.stream, None if length is None else int(length))


def _why_not_connected(error: OSError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
        case socket.gaierror():
            return f"its name cannot be resolved: {error.strerror}"
        case OSError(errno=int(number)):
            return os.strerror(number).lower()
        case _:
            return " ".join(str(error).split()) or type(error).__name__
