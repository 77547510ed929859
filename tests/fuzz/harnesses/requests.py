"""Requests as a client sends them: the connection's HTTP parser, the target, list options, Accept, impersonation."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote

import h11
import msgspec
import uvicorn
from uvicorn.server import ServerState

from proxy.api.list_options import (
    decode_list_options,
    parse_resource_version,
    validate_for_list,
    validate_for_watch,
    with_watch_defaults,
)
from proxy.api.media_types import MediaType, negotiate
from proxy.api.query import LIST_OPTIONS, Query, parse_boolean, parse_query, recognised
from proxy.api.request_info import RequestInfo
from proxy.api.request_target import MAX_TARGET_BYTES, canonical_target, parse_request
from proxy.api.status import BadRequest, Invalid, NotAcceptable, StatusError
from proxy.authn.client_impersonation import parse_impersonation
from proxy.authn.impersonation import impersonation_headers
from proxy.server.protocol import Connection
from tests.spec.request_info import request_info

_CANONICAL = re.compile(rb"/[A-Za-z0-9._~%/?&=-]*")
_VISIBLE = re.compile(rb"[!-~]*")
_LIST = RequestInfo(is_resource_request=True, verb="list", path="/api/v1/pods", resource="pods")
_BOOLEANS = frozenset({"allowWatchBookmarks", "sendInitialEvents", "watch"})

Request = tuple[bytes, bytes, bytes]
"""Method, target and body."""


def request_target(data: bytes) -> None:
    """`METHOD TARGET`: refused with a 4xx, or read as upstream reads it and unchanged by being sent on."""
    method, _, target = data.partition(b" ")
    try:
        parsed = parse_request(method, target)
    except StatusError as error:
        assert 400 <= error.code < 500
        return
    canonical = canonical_target(parsed.info, parsed.query)
    assert _CANONICAL.fullmatch(canonical)
    if len(canonical) <= MAX_TARGET_BYTES:
        assert parse_request(method, canonical) == parsed
    path, _, query = target.decode("ascii").partition("?")
    segments = unquote(path).split("/")
    assert not {".", ".."} & set(segments) and "" not in segments[1:-1]
    pairs = parse_qsl(query, keep_blank_values=True)
    facts, expected = msgspec.structs.asdict(parsed.info), request_info(method.decode(), unquote(path), pairs)
    if LIST_OPTIONS & {name for name, _ in pairs}:
        expected.pop(
            "name", None
        )  # of a collection: follows from the whole grammar of selectors, which the page leaves out
    assert {name: facts[name] for name in expected} == expected


def list_options(data: bytes) -> None:
    """A query string: refused with upstream's errors, or read as the standard library reads it, and canonical."""
    if not _VISIBLE.fullmatch(data):
        return  # the target is refused before its query is looked at
    try:
        query = recognised(parse_query(data), _LIST)
    except BadRequest:
        return
    standard = parse_qsl(data.decode(), keep_blank_values=True)
    for name, value in query.pairs:
        values = [given for key, given in standard if key == name]
        expected = [("true" if parse_boolean(each) else "false") if name in _BOOLEANS else each for each in values]
        assert expected == [value]
    try:
        options = decode_list_options(query)
    except BadRequest as error:
        assert error.body()
        return
    again = [(name, value) for name, value in query.pairs if name not in ("labelSelector", "fieldSelector")]
    again += [("labelSelector", options.label_selector_text), ("fieldSelector", options.field_selector_text)]
    assert decode_list_options(Query(tuple(again))) == options
    with suppress(Invalid):
        validate_for_list(options)
        assert options.send_initial_events is None
    with suppress(Invalid):
        validate_for_watch(with_watch_defaults(options))
    with suppress(BadRequest):
        assert 0 <= parse_resource_version(options.resource_version) < 2**64


def accept(data: bytes) -> None:
    """The index of a verb, then an Accept header: a form that it names, or 406. Filtered answers offer JSON only."""
    verb, header = ("get", "list", "watch")[data[0] % 3] if data else "get", data[1:].decode("latin-1")
    for offered in ((MediaType.JSON,), tuple(MediaType)):
        try:
            shown = negotiate(header, verb=verb, include_object="", offered=offered)
        except NotAcceptable as error:
            assert error.body()
            continue
        assert shown.media_type in offered
        assert not header or shown.media_type.value in header.replace(" ", "") or "*" in header
        if "as" not in header:
            assert not shown.form.value


def impersonation(data: bytes) -> None:
    """Header lines: a 400, or an identity that survives being told to the API server."""
    lines = [line.partition(b":") for line in data.split(b"\n") if b":" in line]
    try:
        asked = parse_impersonation([(name.lower(), value.strip(b" \t")) for name, _, value in lines])
    except BadRequest:
        return
    if asked is None:
        assert not any(name.lower().replace(b"_", b"-").startswith(b"impersonate-") for name, _, _ in lines)
        return
    sent = impersonation_headers(asked.user)
    again = parse_impersonation([(name.lower().encode(), value.encode()) for name, value in sent])
    assert again is not None and again.user == asked.user
    names = [name.lower() for name, _, _ in lines]
    assert names.count(b"impersonate-user") == 1 and names.count(b"impersonate-uid") <= 1
    assert asked.checks[0].name
    assert {check.name for check in asked.checks} <= {value.rpartition(":")[2] for _, value in sent} | {
        value for _, value in sent
    }


def http_requests(data: bytes) -> None:
    """What a connection sends: what is served are the first requests that h11 reads there, however they were cut.

    How many are served may depend on the cuts: garbage behind a request ends the connection, answered or not.
    """
    read = _read_by_h11(data)
    middle = len(data) // 2
    for pieces in ([data], [data[:middle], data[middle:]]):
        served = _served(pieces)
        assert served == read[: len(served)]


class _Transport(asyncio.Transport):
    """Takes what is written; closing is final at once."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False

    def write(self, data: Any) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


_loop = asyncio.new_event_loop()
_requests: list[Request] = []


async def _record(scope: Any, receive: Any, send: Any) -> None:
    """Answers once the request is whole, and keeps it; one that does not come whole is not kept."""
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        parts.append(message["body"])
        more = message["more_body"]
    _requests.append((scope["method"].encode(), scope["state"]["target"], b"".join(parts)))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


_config = uvicorn.Config(
    _record,
    http=Connection,
    ws="none",
    lifespan="off",
    interface="asgi3",
    proxy_headers=False,
    access_log=False,
    log_config=None,
)
_config.load()


def _served(pieces: list[bytes]) -> list[Request]:
    """The requests that the application was given whole."""
    _requests.clear()
    transport = _Transport()
    connection = Connection(_config, ServerState(), {}, _loop)
    connection.connection_made(transport)
    for piece in pieces:
        connection.data_received(piece)
        _loop.run_until_complete(_settle())
    connection.connection_lost(None)
    _loop.run_until_complete(_settle())
    return list(_requests)


async def _settle() -> None:
    """Every task goes on until it waits for the connection."""
    for _ in range(40):
        await asyncio.sleep(0)


def _read_by_h11(data: bytes) -> list[Request]:
    """The whole requests at the beginning of the stream, until it ends or is refused. Empty lines before each count
    for nothing (RFC 9112 §2.2), which h11 does not allow.
    """
    found: list[Request] = []
    with suppress(h11.RemoteProtocolError):
        while data := data.lstrip(b"\r\n"):
            connection, body = h11.Connection(h11.SERVER), b""
            connection.receive_data(data)
            head = connection.next_event()
            if not isinstance(head, h11.Request):
                break
            while isinstance(part := connection.next_event(), h11.Data):
                body += bytes(part.data)
            if not isinstance(part, h11.EndOfMessage):
                break
            found.append((head.method, head.target, body))
            data = connection.trailing_data[0]
    return found
