"""ObjectVersion: one version of one API object, kept as the bytes upstream sent and decoded only as far as asked.

Invariants: `raw` is never changed; `namespace`, `name`, `rv` and `labels` come from `raw`'s own metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

NO_LABELS: Mapping[str, str] = {}

UNREADABLE_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""All that decoding the JSON of others can raise: what is not UTF-8 and endless nesting have errors of their own."""


class _Metadata(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    resourceVersion: str = ""  # noqa: N815
    uid: str = ""
    labels: dict[str, str] | None = None


class _Object(msgspec.Struct):
    metadata: _Metadata


_decode_object = msgspec.json.Decoder(_Object).decode
_OVERHEAD_BYTES = 800
"""Of a version with two labels, beside its JSON (tracemalloc, Python 3.11)."""

_decode_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class ObjectVersion:
    """One version of an object.

    `raw` is the object's JSON, on one line. `row_head` is the beginning of its printed table row up to the object
    (`{"cells":[…],"object":`), empty where the object did not come from a Table.
    Raises one of UNREADABLE_JSON when `raw` is no object with metadata.
    """

    __slots__ = ("_fields", "_stamped", "labels", "name", "namespace", "raw", "row_head", "rv", "uid")

    def __init__(self, raw: bytes, row_head: bytes = b"") -> None:
        if not raw.isascii():
            raw.decode()  # the decoder does not look at text that it skips, and clients would get what they cannot read
        metadata = _decode_object(raw).metadata
        self.raw = one_line(raw)
        self.row_head = row_head
        self.namespace = metadata.namespace
        self.name = metadata.name
        self.uid = metadata.uid
        self.rv = metadata.resourceVersion
        self.labels: Mapping[str, str] = metadata.labels or NO_LABELS
        self._fields: dict[str, str | None] = {}
        self._stamped: tuple[str, bytes] = ("", b"")

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        return len(self.raw) + len(self.row_head) + _OVERHEAD_BYTES

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name): upstream's order of a list is the bytewise order of these."""
        return (self.namespace, self.name)

    def field(self, path: str) -> str | None:
        """The scalar at a dotted path as Kubernetes prints it in a selector; None when absent or not a scalar."""
        if path not in self._fields:
            self._fields[path] = _read_field(self, path)
        return self._fields[path]

    def metadata_raw(self) -> bytes:
        """The JSON of `metadata`, for a PartialObjectMetadata."""
        return bytes(_decode_raw_fields(self.raw)["metadata"])

    def stamped(self, rv: str) -> bytes:
        """`raw` with another resourceVersion: the form in which a departed object is shown."""
        if self._stamped[0] != rv:
            fields = _decode_raw_fields(self.raw)
            fields["metadata"] = msgspec.Raw(self.stamped_metadata(rv))
            self._stamped = (rv, msgspec.json.encode(fields))
        return self._stamped[1]

    def stamped_metadata(self, rv: str) -> bytes:
        """The JSON of `metadata` with another resourceVersion."""
        # By structure, not by search: a label may be called resourceVersion too.
        metadata = _decode_raw_fields(self.metadata_raw())
        metadata["resourceVersion"] = msgspec.Raw(msgspec.json.encode(rv))
        return msgspec.json.encode(metadata)


def _read_field(version: ObjectVersion, path: str) -> str | None:
    if path == "metadata.name":
        return version.name
    if path == "metadata.namespace":
        return version.namespace
    try:
        value = _path_reader(path)(version.raw)
    except msgspec.ValidationError:  # something on the way is not an object
        return None
    while isinstance(value, msgspec.Struct):
        value = value.value  # type: ignore[attr-defined]
    return format_scalar(value)


def one_line(raw: bytes) -> bytes:
    """The same JSON without newlines, of which a watch event must have none."""
    return raw if b"\n" not in raw else msgspec.json.format(raw, indent=-1)


def format_scalar(value: object) -> str | None:
    """A JSON scalar as a selector compares it, only equal ones alike; None for null, lists, objects."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case float():
            return repr(value).removesuffix(".0")
        case _:
            return None


@lru_cache(maxsize=1024)
def _path_reader(path: str) -> Callable[[bytes], Any]:
    """A decoder that reads nothing but one dotted path: several times cheaper than decoding the whole object."""
    kind: Any = Any
    for part in reversed(path.split(".")):
        kind = msgspec.defstruct("_Step", [("value", kind | None, None)], rename={"value": part})
    return msgspec.json.Decoder(kind).decode
