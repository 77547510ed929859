"""Protobuf as Kubernetes sends it: a strict, bounded reader of the wire format, driven by a schema.

The reader never looks past its input, never calls itself deeper than the schema goes, and takes time linear in the
input, whose length its caller bounds. Stricter than Go's decoder, so that no two readers see two things in one body: a
field that is not repeated comes at most once, groups are refused, text is UTF-8, and nothing follows the last field.
Fields that the schema does not name are checked in their framing and skipped, as newer clients send them.

Source: https://protobuf.dev/programming-guides/encoding/; k8s.io/apimachinery/pkg/runtime/serializer/protobuf
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, NamedTuple, TypeAlias

_MAGIC = b"k8s\x00"
_MAX_VARINT_BYTES = 10
_MAX_FIELD_NUMBER = 2**29 - 1


class ProtobufError(ValueError):
    """The bytes are not what they should be. Says what is wrong, never what stands there."""


class FieldKind(Enum):
    """What a field holds. PRESENCE: only whether it is set to anything but its zero value, of whatever type it is."""

    TEXT = "text"
    BYTES = "bytes"
    MESSAGE = "message"
    PRESENCE = "presence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field by its JSON name. `message` is the schema of a MESSAGE. A repeated field is read as a list."""

    name: str
    kind: FieldKind
    repeated: bool = False
    message: Schema | None = None


Schema: TypeAlias = Mapping[int, Field]
"""The fields of a message by number."""


class Envelope(NamedTuple):
    """What stands around an object; `raw` is the object's own message."""

    api_version: str
    kind: str
    raw: bytes


class _Wire(IntEnum):
    VARINT = 0
    FIXED64 = 1
    LENGTH = 2
    FIXED32 = 5


_FIXED_BYTES = {_Wire.FIXED64: 8, _Wire.FIXED32: 4}


def text(name: str, *, repeated: bool = False) -> Field:
    """A string field."""
    return Field(name=name, kind=FieldKind.TEXT, repeated=repeated)


def message(name: str, schema: Schema, *, repeated: bool = False) -> Field:
    """A field that holds a message."""
    return Field(name=name, kind=FieldKind.MESSAGE, repeated=repeated, message=schema)


def presence(name: str) -> Field:
    """A field of which only matters that it is there."""
    return Field(name=name, kind=FieldKind.PRESENCE, repeated=True)


def read_message(data: bytes, schema: Schema) -> dict[str, Any]:
    """The fields that are set, by name: text is `str`, a message is such a dictionary. Raises ProtobufError."""
    document: dict[str, Any] = {}
    for number, wire, value in _fields(data):
        field = schema.get(number)
        if field is None:
            continue
        if field.kind is FieldKind.PRESENCE:
            if value:
                document[field.name] = True
            continue
        if wire is not _Wire.LENGTH or isinstance(value, int):
            raise ProtobufError(f"field `{field.name}` has the wrong wire type")
        if field.repeated:
            document.setdefault(field.name, []).append(_value(field, value))
        elif field.name in document:
            raise ProtobufError(f"field `{field.name}` comes twice")
        else:
            document[field.name] = _value(field, value)
    return document


_ENVELOPE: Schema = {
    1: message("typeMeta", {1: text("apiVersion"), 2: text("kind")}),
    2: Field(name="raw", kind=FieldKind.BYTES),
    3: text("contentEncoding"),
    4: text("contentType"),
}


def read_envelope(body: bytes) -> Envelope:
    """Takes an object out of Kubernetes' envelope. Raises ProtobufError."""
    if not body.startswith(_MAGIC):
        raise ProtobufError("the body does not begin with the mark of Kubernetes' protobuf")
    document = read_message(body[len(_MAGIC) :], _ENVELOPE)
    if document.get("contentEncoding") or document.get("contentType"):
        raise ProtobufError("an object in another encoding inside protobuf")
    type_meta = document.get("typeMeta", {})
    return Envelope(type_meta.get("apiVersion", ""), type_meta.get("kind", ""), document.get("raw", b""))


def _value(field: Field, data: bytes) -> Any:
    if field.message is not None:
        return read_message(data, field.message)
    if field.kind is FieldKind.BYTES:
        return data
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ProtobufError(f"field `{field.name}` is not UTF-8") from error


def _fields(data: bytes) -> Iterator[tuple[int, _Wire, bytes | int]]:
    """Every field: its number, wire type and value, a number for VARINT."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, _wire(tag & 7)
        if not 0 < number <= _MAX_FIELD_NUMBER:
            raise ProtobufError("a field number is out of range")
        if wire is _Wire.VARINT:
            varint, position = _varint(data, position)
            yield number, wire, varint
            continue
        if wire is _Wire.LENGTH:
            size, position = _varint(data, position)
        else:
            size = _FIXED_BYTES[wire]
        end = position + size
        if end > len(data):
            raise ProtobufError("the message is cut off")
        value = data[position:end]
        yield number, wire, value if wire is _Wire.LENGTH else int.from_bytes(value, "little")
        position = end


def _wire(code: int) -> _Wire:
    try:
        return _Wire(code)
    except ValueError as error:
        raise ProtobufError("a field has an unknown wire type") from error


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number that begins at `position`, and where it ends."""
    value = 0
    for index, byte in enumerate(data[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >= 2**64:
                raise ProtobufError("a number is larger than 64 bits")
            return value, position + index + 1
    raise ProtobufError("a number is cut off or too long")
