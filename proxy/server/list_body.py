"""The body of a list, in the representation that was asked for, in parts small enough not to hold up the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from proxy.api.media_types import Form, Representation
from proxy.api.objects import ObjectVersion
from proxy.api.representations import list_metadata, object_list, partial_object_metadata, table, without_type
from proxy.api.watch_event import EventType
from proxy.upstream.list_reader import UpstreamList
from proxy.upstream.unread_list import UnreadList
from proxy.watch.encoding import TableEncoder
from proxy.watch.projection import Shown

PART_BYTES = 128 * 1024
"""A part is complete with the item that takes it past this: one part is kept while its client does not read."""

_ITEM_INDENT = b" " * 4
_MARK = b"\0"  # no JSON text holds a NUL: where the items go in an empty list


def list_body(
    listed: UpstreamList, prefix: bytes, representation: Representation, *, indented: bool
) -> Iterator[bytes]:
    """The parts of the JSON body of `listed`, each made in a few milliseconds at most; `indented` for a person.

    `prefix` is cut from typed objects of a cache (`type_prefix`), since a list shows them without.
    """
    empty, item = _shape(listed, prefix, representation)
    if not listed.versions:
        # Upstream's own list of no metadata is null. Source: handlers/response.go
        none = b"null" if representation.form is Form.PARTIAL_METADATA else b"[]"
        whole = empty.replace(b"[%b]" % _MARK, none)
        yield msgspec.json.format(whole, indent=2) if indented else whole + b"\n"
        return
    frame = _indented_frame(empty) if indented else _compact_frame(empty)
    yield frame.head
    items: list[bytes] = []
    size = 0
    before = b""
    for version in listed.versions:
        items.append(_indented(item(version)) if indented else item(version))
        size += len(items[-1])
        if size >= PART_BYTES:
            yield before + frame.separator.join(items)
            items, size, before = [], 0, frame.separator
    yield (before if items else b"") + frame.separator.join(items) + frame.tail


def unread_list_body(listed: UnreadList) -> Iterator[bytes | memoryview]:
    """The parts of the JSON body of a list whose items are text; of its items nothing is copied."""
    metadata = list_metadata(listed.rv, listed.continue_token)
    head, tail = object_list(listed.kind, listed.api_version, metadata, [_MARK]).split(_MARK)
    yield head
    for index, text in enumerate(listed.texts):
        if index:
            yield b","
        for start in range(0, len(text), PART_BYTES):
            yield text[start : start + PART_BYTES]
    yield tail + b"\n"


class _Frame(NamedTuple):
    """What stands before, between and after the items of a list."""

    head: bytes
    separator: bytes
    tail: bytes


def _compact_frame(empty: bytes) -> _Frame:
    head, tail = empty.split(_MARK)
    return _Frame(head, b",", tail + b"\n")


def _indented_frame(empty: bytes) -> _Frame:
    """Upstream ends only compact JSON with a newline."""
    head, _, end = msgspec.json.format(empty.replace(_MARK, b"0"), indent=2).rpartition(b"0\n")
    return _Frame(head, b",\n" + _ITEM_INDENT, b"\n" + end)


def _indented(item: bytes) -> bytes:
    """An item as it stands in an indented list; no string of JSON holds a newline."""
    return msgspec.json.format(item, indent=2).replace(b"\n", b"\n" + _ITEM_INDENT)


def _shape(
    listed: UpstreamList, prefix: bytes, representation: Representation
) -> tuple[bytes, Callable[[ObjectVersion], bytes]]:
    """The list with a mark for its items, and how an item is written."""
    metadata = list_metadata(listed.rv, listed.continue_token)
    version = representation.meta_version
    match representation.form:
        case Form.OBJECT:
            return (
                object_list(listed.kind, listed.api_version, metadata, [_MARK]),
                lambda each: without_type(each.raw, prefix),
            )
        case Form.PARTIAL_METADATA:
            return (
                object_list("PartialObjectMetadataList", f"meta.k8s.io/{version}", metadata, [_MARK]),
                (lambda each: b'{"metadata":%b}' % each.metadata_raw())
                if representation.untyped_items
                else (lambda each: partial_object_metadata(each.metadata_raw(), version)),
            )
        case Form.TABLE:
            assert representation.include_object is not None
            encoder = TableEncoder(version, representation.include_object.value, listed.columns)
            return (
                table(version, metadata, listed.columns, [_MARK]),
                lambda each: encoder.row(Shown(EventType.ADDED, each, None)),
            )
