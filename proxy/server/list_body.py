"""The body of a list, in the representation that was asked for, in parts small enough not to hold up the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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

_MARK = b"\0"  # no JSON text holds a NUL: where the items go in an empty list


def list_body(listed: UpstreamList, prefix: bytes, representation: Representation) -> Iterator[bytes]:
    """The parts of the JSON body of `listed`, each made in a few milliseconds at most.

    `prefix` is cut from typed objects of a cache (`type_prefix`), since a list shows them without.
    """
    empty, item = _shape(listed, prefix, representation)
    if not listed.versions and representation.form is Form.PARTIAL_METADATA:
        yield empty.replace(b"[%b]" % _MARK, b"null") + b"\n"  # upstream's own; handlers/response.go
        return
    head, tail = empty.split(_MARK)
    yield head
    items: list[bytes] = []
    size = 0
    separator = b""
    for version in listed.versions:
        items.append(item(version))
        size += len(items[-1])
        if size >= PART_BYTES:
            yield separator + b",".join(items)
            items, size, separator = [], 0, b","
    yield (separator if items else b"") + b",".join(items) + tail + b"\n"


def unread_list_body(listed: UnreadList) -> Iterator[bytes]:
    """The parts of the JSON body of a list whose items are text."""
    metadata = list_metadata(listed.rv, listed.continue_token)
    head, tail = object_list(listed.kind, listed.api_version, metadata, [_MARK]).split(_MARK)
    yield head
    separator = b""
    for text in listed.texts:
        yield separator + text[:PART_BYTES]
        for start in range(PART_BYTES, len(text), PART_BYTES):
            yield bytes(text[start : start + PART_BYTES])
        separator = b","
    yield tail + b"\n"


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
                lambda each: partial_object_metadata(each.metadata_raw(), version),
            )
        case Form.TABLE:
            assert representation.include_object is not None
            encoder = TableEncoder(version, representation.include_object.value, listed.columns)
            return (
                table(version, metadata, listed.columns, [_MARK]),
                lambda each: encoder.row(Shown(EventType.ADDED, each, None)),
            )
