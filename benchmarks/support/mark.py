"""The mark a busy object carries, by which its watchers tell what they got: object, number of the update, and when.

It is the value of a ConfigMap's key or of a pod's annotation named `benchmark`. Updates of an object count from 1.
"""

from __future__ import annotations

from typing import NamedTuple

KEY = "benchmark"

_BEGIN = b'"%b":"' % KEY.encode()


class Mark(NamedTuple):
    """`sent_ns` is the wall clock as the update was sent, in nanoseconds."""

    object: bytes
    number: int
    sent_ns: int


def write_mark(mark: Mark) -> bytes:
    """The value, without quotes; JSON needs no escape in it."""
    return b"%b %d %d" % mark


def read_mark(event: bytes) -> Mark | None:
    """The mark in the JSON of an event; None where there is none. It may be an object without updates yet."""
    start = event.find(_BEGIN)
    if start < 0:
        return None
    start += len(_BEGIN)
    name, number, sent_ns = event[start : event.index(b'"', start)].split(b" ")
    return Mark(name, int(number), int(sent_ns))


def mark_of(name: bytes) -> bytes:
    """How the mark of this object begins in JSON."""
    return b"%b%b " % (_BEGIN, name)
