"""Watch events on the wire: one compact JSON object `{"type":…,"object":…}` a line.

Frames carry an object's bytes as they are: nothing is decoded that need not be.

Source: k8s.io/apimachinery/pkg/apis/meta/v1 WatchEvent
"""

from __future__ import annotations

from enum import Enum

import msgspec

from proxy.api.objects import UNREADABLE_JSON
from proxy.api.status import Status, StatusError

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
"""The annotation of the bookmark that ends the initial events of a watch-list."""


class EventType(Enum):
    """The five event types."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


_PREFIX = {kind: b'{"type":"' + kind.value.encode() + b'","object":' for kind in EventType}


class MalformedEvent(Exception):
    """A line of a watch that is no watch event: the stream cannot be trusted from here on."""


class WatchEvent(msgspec.Struct, frozen=True):
    """One event as read: `object` holds the object's own bytes."""

    type: EventType
    object: msgspec.Raw


_decode = msgspec.json.Decoder(WatchEvent).decode


def decode_event(line: bytes) -> WatchEvent:
    """Reads one line. Raises MalformedEvent for anything else than a known event type with an object."""
    try:
        return _decode(line)
    except UNREADABLE_JSON as error:
        raise MalformedEvent(str(error)) from error


def frame(kind: EventType, raw: bytes) -> bytes:
    """One event as a line. `raw` is compact JSON without a newline."""
    return b"".join((_PREFIX[kind], raw, b"}\n"))


def error_frame(error: StatusError) -> bytes:
    """The ERROR event that ends a stream whose headers are already sent."""
    status: Status = error.status()
    return frame(EventType.ERROR, msgspec.json.encode(status))


class LineSplitter:
    """Cuts a byte stream into lines, whatever the boundaries of its chunks.

    Raises MalformedEvent when a line passes `max_line_bytes`: a stream of no newline must not fill the memory.
    """

    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The complete lines that `data` finishes, without their newline; empty lines are left out."""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._parts, lines[0]))
            self._parts = []
            self._size = 0
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
        if self._size > self._max_line_bytes or any(len(line) > self._max_line_bytes for line in lines):
            raise MalformedEvent(f"a line is longer than {self._max_line_bytes} bytes")
        return [line for line in lines if line]
