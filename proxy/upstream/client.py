"""UpstreamClient: requests to the API server as the proxy, from a canonical path and query.

It adds the proxy's credential, builds the target (nothing after it normalises one) and turns failures into
StatusErrors. It knows nothing of what it carries.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import httpx

from proxy import __version__
from proxy.telemetry.upstream_meter import FailureKind, UpstreamMeter
from proxy.upstream.config import UpstreamConfig
from proxy.upstream.credentials import BearerToken, UpstreamTls
from proxy.upstream.deadline import Deadline
from proxy.upstream.errors import UpstreamResponseTooLarge, UpstreamUnavailable, error_from_transport
from proxy.upstream.response import UpstreamResponse
from proxy.upstream.response_parser import Header
from proxy.upstream.revisions import Revisions
from proxy.upstream.target import encode_target
from proxy.upstream.transport import LONG_RUNNING, Fetched, ResponseBody, Timeouts, UpstreamTransport

CONNECT_TIMEOUT_SECONDS = 5.0
QUEUE_TIMEOUT_SECONDS = 10.0
GET_TIMEOUT_SECONDS = 60.0  # kube-apiserver's own --request-timeout
HEADER_TIMEOUT_SECONDS = 65.0  # an answer takes upstream 60 s at most; a watch's head comes at once
WRITE_TIMEOUT_SECONDS = 30.0
MAX_ERROR_BODY_BYTES = 1024 * 1024

_UNARY_TIMEOUTS = Timeouts(
    connect=CONNECT_TIMEOUT_SECONDS, headers=None, read=None, write=None, pool=QUEUE_TIMEOUT_SECONDS
)
_USER_AGENT = (b"User-Agent", f"watchkeeper/{__version__}".encode("ascii"))
# A caller's credential or framing that came this far is a bug of the one who let it.
_OWN_HEADERS = frozenset({"authorization", "host", "content-length", "transfer-encoding", "connection", "upgrade"})

Pairs = Sequence[tuple[str, str]]


class Transport(Protocol):
    """What connects to the API server; UpstreamTransport says what is expected of it."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response: ...
    async def fetch(
        self, target: bytes, headers: Sequence[Header], *, timeouts: Timeouts, max_body_bytes: int
    ) -> Fetched: ...
    async def aclose(self) -> None: ...


class UpstreamClient:
    """Raises ConfigError when a certificate or token of `config` cannot be used. Close it with `aclose`.

    `transport` replaces the connection to the server in `config`. `meter` is told of every request.
    """

    def __init__(
        self,
        config: UpstreamConfig,
        *,
        transport: Transport | None = None,
        meter: UpstreamMeter | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        server = config.server
        self._meter = meter
        self.revisions = Revisions()
        """How far the API server is known to have come."""
        self._base_path = server.base_path
        self._url = httpx.URL(server.origin)
        self._token = (
            BearerToken(token=config.token, token_file=config.token_file, monotonic=monotonic)
            if config.token is not None or config.token_file is not None
            else None
        )
        tls = UpstreamTls(config, monotonic=monotonic) if server.scheme == "https" else None
        self._transport = transport or UpstreamTransport(
            server.host,
            server.port,
            tls_context=tls.context if tls else None,
            tls_server_name=config.tls_server_name,
            monotonic=monotonic,
        )

    async def get(
        self,
        path: str,
        query: Pairs = (),
        *,
        accept: str | None = "application/json",
        headers: Pairs = (),
        max_body_bytes: int,
        timeout_seconds: float = GET_TIMEOUT_SECONDS,
    ) -> UpstreamResponse:
        """A whole answer, whatever its status. `timeout_seconds` is for everything, waiting in line included.

        `accept` None: `headers` hold what is accepted. They go out as those of `stream`.

        Raises UpstreamUnavailable, TooManyRequests when too many requests wait, UpstreamResponseTooLarge.
        """
        target = encode_target(self._base_path, path, query)
        fields = self._fields(headers if accept is None else (("Accept", accept), *headers))
        try:
            with Deadline(timeout_seconds):
                status, answered, body = await self._transport.fetch(
                    target, fields, timeouts=_UNARY_TIMEOUTS, max_body_bytes=max_body_bytes
                )
        except httpx.TransportError as error:
            self._failed(error)
            raise error_from_transport(error) from error
        except TimeoutError as error:
            self._failed(error)
            raise UpstreamUnavailable(f"the API server does not answer: nothing for {timeout_seconds:g} s") from error
        self._answered("GET", status)
        if body is None:
            raise UpstreamResponseTooLarge(max_body_bytes)
        return UpstreamResponse(status=status, raw_headers=answered, body=body)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        query: Pairs = (),
        *,
        headers: Pairs = (),
        content: bytes | AsyncIterable[bytes] | None = None,
        header_timeout_seconds: float = HEADER_TIMEOUT_SECONDS,
        read_timeout_seconds: float | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """An answer of any status whose body is read inside of the context, by `aiter_raw` or `buffer`.

        `headers` go out as they are, UTF-8; those that frame or authenticate a request are refused with ValueError.
        `read_timeout_seconds` bounds each wait for more of the body. Not counted among the unary requests. Leaving
        the context before the end of the body closes the connection. Failures, also those inside of the context,
        raise UpstreamUnavailable.
        """
        timeouts = {
            "connect": CONNECT_TIMEOUT_SECONDS,
            "headers": header_timeout_seconds,
            "read": read_timeout_seconds,
            "write": WRITE_TIMEOUT_SECONDS,
        }
        extensions = {"timeout": timeouts, LONG_RUNNING: True}
        request = self._request(method, path, query, headers, content, extensions)
        try:
            response = await self._send(request)
            response.request = request
            try:
                yield response
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            self._failed(error)
            raise error_from_transport(error) from error

    async def buffer(self, response: httpx.Response, max_body_bytes: int = MAX_ERROR_BODY_BYTES) -> UpstreamResponse:
        """Reads the rest of a response. Raises UpstreamResponseTooLarge, httpx.TransportError."""
        body = await _read_body(response, max_body_bytes)
        if body is None:
            raise UpstreamResponseTooLarge(max_body_bytes)
        return UpstreamResponse(status=response.status_code, raw_headers=response.headers.raw, body=body)

    async def aclose(self) -> None:
        """Closes all connections. Requests in flight fail with UpstreamUnavailable."""
        await self._transport.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        response = await self._transport.handle_async_request(request)
        self._answered(request.method, response.status_code)
        return response

    def _answered(self, method: str, status: int) -> None:
        if self._meter is not None:
            self._meter.answered(method, status)

    def _failed(self, error: Exception) -> None:
        if self._meter is not None:
            self._meter.failed(_kind_of(error))

    def _request(
        self,
        method: str,
        path: str,
        query: Pairs,
        headers: Pairs,
        content: bytes | AsyncIterable[bytes] | None,
        extensions: dict[str, object],
    ) -> httpx.Request:
        # httpx would collapse the dot segments of a URL with a path; `target` goes out as it is.
        extensions["target"] = encode_target(self._base_path, path, query)
        return httpx.Request(method, self._url, headers=self._fields(headers), content=content, extensions=extensions)

    def _fields(self, headers: Pairs) -> list[Header]:
        """The request's headers as they go out. Raises ValueError for one that is not the caller's to set."""
        # A relayed caller is named instead: upstream indents for browsers and curl, and takes the first of two names.
        fields = [(b"Host", self._url.netloc)]
        if not any(name.lower() == "user-agent" for name, _ in headers):
            fields.append(_USER_AGENT)
        if self._token is not None:
            fields.append((b"Authorization", b"Bearer " + self._token.current().encode("ascii")))
        for name, value in headers:
            if name.lower() in _OWN_HEADERS:
                raise ValueError(f"the header `{name}` is not the caller's to set")
            fields.append((name.encode("ascii"), value.encode("utf-8")))
        return fields


def _kind_of(error: Exception) -> FailureKind:
    match error:
        case httpx.PoolTimeout():
            return FailureKind.QUEUE_FULL
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return FailureKind.CONNECT
        case httpx.TimeoutException() | TimeoutError():
            return FailureKind.TIMEOUT
        case _:
            return FailureKind.BROKEN


async def _read_body(response: httpx.Response, max_bytes: int) -> bytes | None:
    if isinstance(response.stream, ResponseBody):
        return await response.stream.read_all(max_bytes)
    chunks = []
    size = 0
    try:
        async for data in response.aiter_raw():
            size += len(data)
            if size > max_bytes:
                return None
            chunks.append(data)
    finally:
        await response.aclose()
    return b"".join(chunks)
