"""An exchange: one request and its response, over ASGI. The one place that turns answers and errors into messages."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, MutableMapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from proxy.api.media_types import wants_pretty
from proxy.api.request_target import ParsedRequest
from proxy.api.status import RequestEntityTooLarge, StatusError
from proxy.authn.user import User
from proxy.server.credential import Credential
from proxy.server.protocol import Connection
from proxy.telemetry.request_record import RequestRecord

log = logging.getLogger(__name__)

JSON = b"application/json"

FILTERED = (b"watchkeeper-filtered", b"true")
"""Tells that a list or watch shows what its caller may see, and that this is not all there is."""

BODILESS = frozenset({"GET", "HEAD"})

_SENT_WHOLE_BYTES = 1024 * 1024
"""An answer up to this size goes out in one piece with its length."""

STALLED_CLIENT_SECONDS = 60.0
"""A client that makes no room for the next part in this time is dropped: what it was to read is held for it."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


Headers = Sequence[tuple[bytes, bytes]]


class ClientGone(Exception):
    """The client is not there any more: nobody is to be answered."""


class Exchange:
    """`request` is set once the target is parsed, `credential` once the caller is known. Header names: lower case."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._receive = receive
        self.request: ParsedRequest | None = None
        self.credential = Credential(None)
        self.audit = RequestRecord(audit_id=random_uuid())
        self.on_stream: Callable[[RequestRecord], None] | None = None
        """Called once the head of a watch is sent."""
        self.started = False
        self.guard: Callable[[], None] | None = None
        """Called right before each part of an answer is written; raises when it may not be any more."""
        self._is_streamed = False

    # --- the request ---

    @property
    def method(self) -> str:
        """The HTTP method, upper case."""
        method: str = self._scope["method"]
        return method

    @property
    def client_address(self) -> str:
        """The IP address of the other end, empty when it is gone already."""
        client = self._scope.get("client")
        return str(client[0]) if client else ""

    @property
    def target(self) -> bytes:
        """The raw request target."""
        target: bytes = self._scope["state"]["target"]
        return target

    @property
    def head_too_large(self) -> bool:
        """True when the headers passed their bound."""
        return bool(self._scope["state"]["head_too_large"])

    @property
    def connection(self) -> Connection:
        """The client's connection."""
        connection: Connection = self._scope["state"]["connection"]
        return connection

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """All request headers in order."""
        headers: list[tuple[bytes, bytes]] = self._scope["headers"]
        return headers

    @property
    def is_for_a_person(self) -> bool:
        """True when the answer is to be indented."""
        return self.request is not None and wants_pretty(self.request.query, self.header(b"user-agent"))

    def charged_to(self, user: User) -> str:
        """The name whose limits the request counts for: the caller's, also where it acts as `user`."""
        return (self.audit.caller or user).name

    def header(self, name: bytes) -> str:
        """The first header of that name, empty when there is none."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return ""

    async def read_body(self, max_bytes: int) -> bytes:
        """The whole request body. Raises RequestEntityTooLarge, ClientGone when it does not come whole."""
        declared = self.header(b"content-length")
        if declared.isdigit() and int(declared) > max_bytes:
            raise RequestEntityTooLarge(max_bytes)
        parts: list[bytes] = []
        size = 0
        more = self.method not in BODILESS
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone("the client went away before its request was whole")
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > max_bytes:
                raise RequestEntityTooLarge(max_bytes)
            parts.append(part)
            more = message.get("more_body", False)
        return b"".join(parts)

    # --- the response ---

    async def respond(self, status: int, body: bytes, *, headers: Headers = ()) -> None:
        """A whole JSON answer, indented where a person reads it."""
        if self.is_for_a_person:
            body = msgspec.json.format(body.rstrip(b"\n"), indent=2)  # upstream ends only compact JSON with a newline
        await self.answer(status, body, [(b"content-type", JSON), *headers])

    async def respond_in_parts(self, parts: Iterator[bytes | memoryview], *, headers: Headers = ()) -> None:
        """A 200 JSON answer, made part by part as the client reads; a short one is sent whole."""
        begun: list[bytes | memoryview] = []
        size = 0
        for part in parts:
            begun.append(part)
            size += len(part)
            if size > _SENT_WHOLE_BYTES:
                break
        else:
            await self.answer(200, b"".join(begun), [(b"content-type", JSON), *headers])
            return
        await self._start(200, [(b"content-type", JSON), (b"transfer-encoding", b"chunked"), *headers])
        for part in chain(begun, parts):
            await self._may_write()
            self.connection.write_chunk(part)
            await asyncio.sleep(0)  # a client that reads as fast as this writes would have the loop for itself
        await self.finish()

    async def relay(self, status: int, headers: Headers, body: AsyncIterable[bytes]) -> None:
        """An upstream answer as it comes. `headers` hold no hop-by-hop header."""
        await self._start(status, headers)
        async for data in body:
            await self._write({"type": "http.response.body", "body": data, "more_body": True})
        await self.finish()

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """A whole answer, written in one step. `headers` do not tell its length."""
        whole = self._head(status, [(b"content-length", b"%d" % len(body)), *headers])
        await self._may_write()
        self.connection.answer(status, whole, body)
        self.audit.code = status

    async def finish_early(self) -> None:
        """Ends an answer that was under way: cleanly where its framing and its reader allow, else by dropping both."""
        if self._is_streamed and self.connection.writable:
            await self.finish()
        else:
            self.connection.abort()

    async def start_stream(self, *, headers: Headers = ()) -> None:
        """Sends the head of a watch at once; what follows goes to the connection directly, in chunks."""
        await self._start(200, [(b"content-type", JSON), (b"transfer-encoding", b"chunked"), *headers])
        if self.on_stream is not None:
            self.on_stream(self.audit)

    async def finish(self) -> None:
        """Ends a streamed answer cleanly."""
        await self._write({"type": "http.response.body", "body": b"", "more_body": False})

    async def fail(self, error: StatusError) -> None:
        """The Status of an error; once the answer has begun, only its end can say that it is not whole."""
        if self.started:
            self.connection.abort()
            return
        self.guard = None
        headers = [(b"x-content-type-options", b"nosniff")]
        if error.retry_after_seconds:
            headers.append((b"retry-after", b"%d" % error.retry_after_seconds))
        if error.closes_connection:
            headers.append((b"connection", b"close"))
        try:
            await self.respond(error.code, error.body(), headers=headers)
        except ClientGone:
            self.connection.abort()

    async def _may_write(self) -> None:
        """Returns when the client takes more. Raises ClientGone, and what the guard raises, to have nothing written."""
        connection = self.connection
        if not connection.writable:
            try:
                async with asyncio.timeout(STALLED_CLIENT_SECONDS):
                    await connection.wait_writable()
            except TimeoutError as error:
                raise ClientGone("the client does not read its answer") from error
            if not connection.writable:
                raise ClientGone("the connection is closing")
        if self.guard is not None:
            self.guard()
        self.started = True

    async def _write(self, message: Message) -> None:
        """Raises as `_may_write`."""
        await self._may_write()
        await self._send(message)

    async def _start(self, status: int, headers: Headers) -> None:
        self._is_streamed = not any(name == b"content-length" for name, _ in headers)
        head = self._head(status, headers)
        await self._write({"type": "http.response.start", "status": status, "headers": head})
        self.audit.code = status

    def _head(self, status: int, headers: Headers) -> Headers:
        """The headers with the proxy's own."""
        own = [(b"audit-id", self.audit.audit_id.encode())]
        if status == 200 and self.audit.shows_a_part:
            own.append(FILTERED)
        if not any(name == b"cache-control" for name, _ in headers):
            own.append((b"cache-control", b"no-cache, private"))
        return [*own, *headers]


def random_uuid() -> str:
    """A random UUID (version 4); uuid.uuid4 takes four times as long. Source: RFC 9562 §5.4"""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def warning_headers(warnings: Iterable[str]) -> Headers:
    """Upstream's Warning headers (a deprecated version) for an answer that is not its own."""
    return [(b"warning", warning.encode("utf-8")) for warning in warnings]
