"""What the API server sends: HTTP responses, watches, lists. Reading does not depend on how a stream is cut."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from typing import Any

import httpx
import msgspec

from proxy.api.objects import UNREADABLE_JSON, ObjectVersion
from proxy.api.watch_event import EventType, MalformedEvent, decode_event, frame
from proxy.upstream.list_reader import ReadForm, Table
from proxy.upstream.response_parser import ResponseParser
from proxy.upstream.unread_list import decode_raw_list, parse_unread_list
from proxy.upstream.watch_reader import UpstreamEventError, WatchReader

Event = tuple[EventType, ObjectVersion]


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def http_response(data: bytes) -> None:
    """A response is refused or read the same however it is cut, and as the standard library reads it."""
    whole = _response([data])
    for size in (1, 7):
        assert _response(_pieces(data, size))[:3] == whole[:3]
    status, body, reusable, headers = whole
    if reusable and b"HTTP/1.1 1" not in data:
        with suppress(HTTPException, ValueError):
            standard = HTTPResponse(_Socket(data))  # type: ignore[arg-type]
            standard.begin()
            assert (standard.status, standard.read()) == (status, body)
    assert all(b"\r" not in part and b"\n" not in part for header in headers for part in header)


class _Socket:
    """What http.client asks of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _response(pieces: list[bytes]) -> tuple[int, bytes, bool, list[tuple[bytes, bytes]]]:
    """Status 0 where no whole response comes."""
    parser = ResponseParser(method="GET")
    body = b""
    try:
        for piece in pieces:
            parser.feed(piece)
            body += parser.take()
        if not parser.complete:
            parser.end()
            assert not parser.is_reusable
    except httpx.RemoteProtocolError:
        if not parser.complete:
            return 0, b"", False, []
    assert 200 <= parser.status < 600
    return parser.status, body + parser.take(), parser.is_reusable, parser.headers


def watch_events(data: bytes) -> None:
    """The first byte chooses the form. Events do not depend on cuts, are one line each, and are what was sent."""
    form, stream = (ReadForm.TABLE if data[:1] == b"t" else ReadForm.OBJECT), data[1:]
    events, failure = _events(form, [stream])
    for size in (1, 5):
        again, same_failure = _events(form, _pieces(stream, size))
        assert same_failure is failure
        assert [(kind, version.raw) for kind, version in again] == [(kind, version.raw) for kind, version in events]
    lines = [line for line in stream.split(b"\n") if line]
    for (kind, version), line in zip(events, lines, strict=False):
        framed = frame(kind, version.raw)
        assert framed.endswith(b"}\n") and framed.count(b"\n") == 1
        assert decode_event(framed[:-1]).type is kind
        if form is ReadForm.OBJECT:
            _agrees_with_standard(version, line, kind)


def _events(form: ReadForm, pieces: list[bytes]) -> tuple[list[Event], type[Exception] | None]:
    reader, events = WatchReader(form), []
    try:
        for piece in pieces:
            for event in reader.feed(piece):
                events.append(event)
    except (MalformedEvent, UpstreamEventError) as error:
        return events, type(error)
    return events, None


def _agrees_with_standard(version: ObjectVersion, line: bytes, kind: EventType) -> None:
    sent = _standard(line)
    if sent is not None:
        assert sent["type"] == kind.value
        _is_the_object(version, sent["object"])


def _is_the_object(version: ObjectVersion, sent: Any) -> None:
    metadata = sent["metadata"]
    assert version.name == metadata.get("name", "")
    assert version.namespace == metadata.get("namespace", "")
    assert version.rv == metadata.get("resourceVersion", "")
    assert dict(version.labels) == (metadata.get("labels") or {})
    stamped = _standard(version.stamped("7"))
    assert stamped is None or stamped == {**sent, "metadata": {**metadata, "resourceVersion": "7"}}
    for path in ("spec.nodeName", "status.phase", "type", "metadata.name"):
        value = version.field(path)
        assert value is None or isinstance(value, str)


def _standard(text: bytes) -> Any:
    """What the standard library reads; None where it refuses, or where its floats and names differ from msgspec's."""
    try:
        return json.loads(text.decode(), parse_constant=_refuse, parse_float=str, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(members)) != len(members):
        raise ValueError("a name comes twice: which one counts is for nobody to say")
    return dict(members)


def list_body(data: bytes) -> None:
    """Items cut out unseen are the items that reading gives; what is no list is refused."""
    cut = read = None
    with suppress(*UNREADABLE_JSON):
        read = decode_raw_list(data)
    with suppress(*UNREADABLE_JSON):
        cut = parse_unread_list(data)
    with suppress(*UNREADABLE_JSON):
        for row in msgspec.json.decode(data, type=Table).rows or ():
            assert b"\n" not in row.version().row_head
    standard = _standard(data)
    if read is None or standard is None or list(standard)[-1:] != ["items"]:  # the API server writes items last
        return
    assert cut is not None and (cut.rv, cut.kind) == (read.metadata.resourceVersion, read.kind)
    assert _standard(b"[" + b",".join(map(bytes, cut.texts)) + b"]") == (standard.get("items") or [])
    for item, sent in zip(read.items or (), standard.get("items") or (), strict=True):
        with suppress(*UNREADABLE_JSON):
            _is_the_object(ObjectVersion(bytes(item)), sent)
