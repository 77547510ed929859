"""Encoders: how an event is written in each representation a client can ask for.

Each is a value: sessions with equal encoders share their bytes.

Source: k8s.io/apiserver/pkg/endpoints/handlers/response.go
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from proxy.api import representations
from proxy.api.watch_event import INITIAL_EVENTS_END, EventType, frame
from proxy.watch.projection import Shown


def _raw(shown: Shown) -> bytes:
    return shown.version.raw if shown.stamp is None else shown.version.stamped(shown.stamp)


def _bookmark_metadata(rv: str, initial_events_end: bool) -> bytes:
    metadata: dict[str, object] = {"resourceVersion": rv}
    if initial_events_end:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    return msgspec.json.encode(metadata)


def _shown_metadata(shown: Shown) -> bytes:
    return shown.version.metadata_raw() if shown.stamp is None else shown.version.stamped_metadata(shown.stamp)


@dataclass(frozen=True, slots=True)
class ObjectEncoder:
    """Objects as they are. `prefix` is the resource's `type_prefix`: what came from a list lacks it."""

    prefix: bytes

    def encode(self, shown: Shown) -> bytes:
        """One event line."""
        return frame(shown.kind, representations.with_type(_raw(shown), self.prefix))

    def first(self, shown: Shown) -> bytes:
        """One event line."""
        return self.encode(shown)

    def bookmark(self, rv: str, *, initial_events_end: bool) -> bytes:
        """A BOOKMARK of the resource's own kind: a reflector drops one of another kind."""
        return frame(
            EventType.BOOKMARK, b'%b"metadata":%b}' % (self.prefix, _bookmark_metadata(rv, initial_events_end))
        )


@dataclass(frozen=True, slots=True)
class PartialMetadataEncoder:
    """Metadata only. `version` is that of meta.k8s.io."""

    version: str

    def encode(self, shown: Shown) -> bytes:
        """One event line."""
        return frame(shown.kind, representations.partial_object_metadata(_shown_metadata(shown), self.version))

    def first(self, shown: Shown) -> bytes:
        """One event line."""
        return self.encode(shown)

    def bookmark(self, rv: str, *, initial_events_end: bool) -> bytes:
        """A BOOKMARK that is a PartialObjectMetadata."""
        metadata = _bookmark_metadata(rv, initial_events_end)
        return frame(EventType.BOOKMARK, representations.partial_object_metadata(metadata, self.version))


@dataclass(frozen=True, slots=True)
class TableEncoder:
    """A Table of one row an event. `columns` is the JSON of columnDefinitions, named in the first event only.

    `include_object` is `None`, `Metadata` or `Object`, as the query parameter has it.
    """

    version: str
    include_object: str
    columns: bytes

    def encode(self, shown: Shown) -> bytes:
        """One event line without column definitions."""
        return self._encode(shown, b"null")

    def first(self, shown: Shown) -> bytes:
        """One event line with column definitions."""
        return self._encode(shown, self.columns)

    def bookmark(self, rv: str, *, initial_events_end: bool) -> bytes:
        """A BOOKMARK Table; the one that ends the initial events carries its annotation in a row's object."""
        rows = []
        if initial_events_end:
            marker = representations.partial_object_metadata(_bookmark_metadata(rv, True), self.version)
            rows.append(b'{"cells":[],"object":%b}' % marker)
        metadata = representations.list_metadata(rv)
        return frame(EventType.BOOKMARK, representations.table(self.version, metadata, b"null", rows))

    def row(self, shown: Shown) -> bytes:
        """The row of one object, with as much of it as was asked for."""
        match self.include_object:
            case "Object":
                body = _raw(shown)
            case "None":
                body = b"null"
            case _:
                body = representations.partial_object_metadata(_shown_metadata(shown), self.version)
        return representations.table_row(shown.version, body)

    def _encode(self, shown: Shown, columns: bytes) -> bytes:
        metadata = representations.list_metadata(shown.stamp or shown.version.rv)
        return frame(shown.kind, representations.table(self.version, metadata, columns, [self.row(shown)]))
