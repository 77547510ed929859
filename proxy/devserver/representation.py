"""What goes over the wire: objects, lists, watch events and bookmarks in the form that was negotiated.

Lists of objects carry their items without `kind` and `apiVersion`, as Go prints typed lists; watch events carry them.
Everything is compact JSON without a trailing newline.

Source: k8s.io/apiserver/pkg/endpoints/handlers/response.go
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from proxy.api.watch_event import INITIAL_EVENTS_END
from proxy.devserver.kinds import Body, Kind
from proxy.devserver.media import Form
from proxy.devserver.storage import Version
from proxy.devserver.tables import cells, columns

_META_VERSION = "meta.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class ListMetadata:
    """`metadata` of a list. `continue_token` "" is the last page; `remaining` None is not told."""

    rv: int
    continue_token: str
    remaining: int | None

    def body(self) -> Body:
        """As JSON."""
        body: Body = {"resourceVersion": str(self.rv)}
        if self.continue_token:
            body["continue"] = self.continue_token
        if self.remaining is not None:
            body["remainingItemCount"] = self.remaining
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """How one request wants its objects. `include_object` matters for a Table only."""

    kind: Kind
    form: Form
    include_object: str

    def encode_object(self, version: Version, now: datetime) -> bytes:
        """One object, the answer to a get or a write, or the object of a watch event."""
        match self.form:
            case Form.OBJECT:
                return version.raw
            case Form.METADATA:
                return msgspec.json.encode(_metadata_only(version))
            case Form.TABLE:
                return self._table({"resourceVersion": str(version.rv)}, [self._row(version, now)], with_columns=True)

    def encode_list(self, versions: list[Version], metadata: ListMetadata, now: datetime) -> bytes:
        """A list of objects."""
        match self.form:
            case Form.OBJECT:
                head = _list_head(f"{self.kind.name}List", self.kind.api_version, metadata)
                return head + b",".join(_without_kind(version) for version in versions) + b"]}"
            case Form.METADATA:
                head = _list_head("PartialObjectMetadataList", _META_VERSION, metadata)
                return head + b",".join(msgspec.json.encode(_metadata_only(version)) for version in versions) + b"]}"
            case Form.TABLE:
                return self._table(
                    metadata.body(), [self._row(version, now) for version in versions], with_columns=True
                )

    def encode_event_object(self, version: Version, now: datetime, *, first: bool) -> bytes:
        """The object of a watch event. A Table has its columns in the `first` event only."""
        if self.form is Form.TABLE:
            return self._table({"resourceVersion": str(version.rv)}, [self._row(version, now)], with_columns=first)
        return self.encode_object(version, now)

    def encode_bookmark(self, rv: int, *, ends_initial_events: bool, first: bool) -> bytes:
        """The object of a BOOKMARK: an empty instance of the kind at `rv`."""
        metadata: Body = {"resourceVersion": str(rv)}
        if ends_initial_events:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        empty = {
            "kind": self.kind.name,
            "apiVersion": self.kind.api_version,
            "metadata": metadata,
            **(self.kind.bookmark_extra or {}),
        }
        match self.form:
            case Form.OBJECT:
                return msgspec.json.encode(empty)
            case Form.METADATA:
                return msgspec.json.encode(
                    {"kind": "PartialObjectMetadata", "apiVersion": _META_VERSION, "metadata": metadata}
                )
            case Form.TABLE:
                blank = ["" if column.type == "string" else 0 for column in columns(self.kind)]
                rows = [{"cells": blank, "object": empty}] if ends_initial_events else []
                return self._table({"resourceVersion": str(rv)}, rows, with_columns=first)

    def _row(self, version: Version, now: datetime) -> Body:
        included: object = None
        if self.include_object == "Object":
            included = version.body
        elif self.include_object == "Metadata":
            included = _metadata_only(version)
        return {"cells": cells(self.kind, version.body, now), "object": included}

    def _table(self, metadata: Body, rows: list[Body], *, with_columns: bool) -> bytes:
        definitions = [column.definition() for column in columns(self.kind)] if with_columns else None
        return msgspec.json.encode(
            {
                "kind": "Table",
                "apiVersion": _META_VERSION,
                "metadata": metadata,
                "columnDefinitions": definitions,
                "rows": rows,
            }
        )


def _list_head(kind: str, api_version: str, metadata: ListMetadata) -> bytes:
    head: dict[str, Any] = {"kind": kind, "apiVersion": api_version, "metadata": metadata.body(), "items": []}
    return msgspec.json.encode(head).removesuffix(b"]}")


def _without_kind(version: Version) -> bytes:
    return msgspec.json.encode({key: value for key, value in version.body.items() if key not in ("kind", "apiVersion")})


def _metadata_only(version: Version) -> Body:
    return {"kind": "PartialObjectMetadata", "apiVersion": _META_VERSION, "metadata": version.body["metadata"]}
