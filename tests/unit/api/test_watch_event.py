"""Watch events on the wire."""

from __future__ import annotations

import json

import pytest

from proxy.api.status import too_old_resource_version
from proxy.api.watch_event import EventType, LineSplitter, MalformedEvent, decode_event, error_frame, frame


def test_a_frame_is_upstreams_byte_by_byte() -> None:
    assert frame(EventType.ADDED, b'{"kind":"Pod"}') == b'{"type":"ADDED","object":{"kind":"Pod"}}\n'


def test_an_error_is_an_event_with_a_status() -> None:
    event = json.loads(error_frame(too_old_resource_version(3, 10)))
    assert event == {
        "type": "ERROR",
        "object": {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "too old resource version: 3 (10)",
            "reason": "Expired",
            "code": 410,
        },
    }


@pytest.mark.parametrize("kind", EventType)
def test_every_type_is_read(kind: EventType) -> None:
    event = decode_event(b'{"type":"%b","object":{"a": [1]}}' % kind.value.encode())
    assert (event.type, bytes(event.object)) == (kind, b'{"a": [1]}')


def test_members_that_are_not_known_are_left_alone() -> None:
    assert decode_event(b'{"object":{},"extra":1,"type":"ADDED"}').type is EventType.ADDED


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"{}",
        b"[]",
        b'{"type":"ADDED"}',
        b'{"object":{}}',
        b'{"type":"added","object":{}}',
        b'{"type":"PATCHED","object":{}}',
        b'{"type":"ADDED","object":{}',
        b'{"type":"ADDED","object":{}}{"type":"ADDED","object":{}}',
        b'{"type":null,"object":{}}',
        b'{"type":"\xff","object":{}}',
        b'{"type":"ADDED","object":' + b"[" * 100_000,
    ],
)
def test_anything_else_is_no_event(line: bytes) -> None:
    with pytest.raises(MalformedEvent):
        decode_event(line)


def test_lines_may_be_as_long_as_the_bound_and_no_longer() -> None:
    assert LineSplitter(4).feed(b"1234\n\n12\n") == [b"1234", b"12"]
    with pytest.raises(MalformedEvent):
        LineSplitter(4).feed(b"12345\n")
    splitter = LineSplitter(4)
    assert splitter.feed(b"123") == splitter.feed(b"4") == []
    with pytest.raises(MalformedEvent):
        splitter.feed(b"5")
