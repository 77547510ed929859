"""The shapes an object is shown in, put together from raw bytes: typed object, PartialObjectMetadata, Table row.

Built-in types print `kind` and `apiVersion` first, and leave them out of list items; custom resources (maps, printed
with sorted keys) carry them everywhere. `with_type` and `without_type` are the two directions.

Source: k8s.io/apiserver/pkg/endpoints/handlers/response.go
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from proxy.api.objects import ObjectVersion

_TYPED = (b'{"kind":', b'{"apiVersion":')


def type_prefix(kind: str, api_version: str) -> bytes:
    """`{"kind":"Pod","apiVersion":"v1",`: how a built-in object begins."""
    return b'{"kind":%b,"apiVersion":%b,' % (msgspec.json.encode(kind), msgspec.json.encode(api_version))


def with_type(raw: bytes, prefix: bytes) -> bytes:
    """A list item as a watch event shows it. `raw` must have at least one member (every object has metadata)."""
    return raw if raw.startswith(_TYPED) else prefix + raw[1:]


def without_type(raw: bytes, prefix: bytes) -> bytes:
    """A watched object as a list shows it; a custom resource stays as it is."""
    return b"{" + raw[len(prefix) :] if raw.startswith(prefix) else raw


def partial_object_metadata(metadata: bytes, version: str) -> bytes:
    """A PartialObjectMetadata around the JSON of `metadata`; `version` of meta.k8s.io is `v1` or `v1beta1`."""
    return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/%b","metadata":%b}' % (
        version.encode(),
        metadata,
    )


def table_row(version: ObjectVersion, shown: bytes) -> bytes:
    """One row, its object replaced by `shown`."""
    return b"".join((version.row_head, shown, b"}"))


def list_metadata(rv: str, continue_token: str = "") -> bytes:
    """The metadata of a list. There is no remainingItemCount: it would count hidden objects."""
    if not continue_token:
        return b'{"resourceVersion":%b}' % msgspec.json.encode(rv)
    return b'{"resourceVersion":%b,"continue":%b}' % (msgspec.json.encode(rv), msgspec.json.encode(continue_token))


def table(version: str, metadata: bytes, columns: bytes, rows: Iterable[bytes]) -> bytes:
    """A Table. `columns` is the JSON of columnDefinitions (`null` after a stream's first event)."""
    return b'{"kind":"Table","apiVersion":"meta.k8s.io/%b","metadata":%b,"columnDefinitions":%b,"rows":[%b]}' % (
        version.encode(),
        metadata,
        columns,
        b",".join(rows),
    )


def object_list(kind: str, api_version: str, metadata: bytes, items: Sequence[bytes]) -> bytes:
    """A list of `kind` (`PodList`)."""
    return b'%b"metadata":%b,"items":[%b]}' % (type_prefix(kind, api_version), metadata, b",".join(items))
