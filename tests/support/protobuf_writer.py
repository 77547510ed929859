"""Writes protobuf as Go does, from plain values: what the proxy's reader is to understand."""

from collections.abc import Iterable

Fields = Iterable[tuple[int, "int | str | bytes | Fields"]]
"""(number, value): a number is a varint, text and bytes and nested fields have a length."""


def envelope(api_version: str, kind: str, fields: Fields) -> bytes:
    """An object in Kubernetes' envelope."""
    raw = message(fields)
    return b"k8s\x00" + message([(1, [(1, api_version), (2, kind)]), (2, raw), (3, ""), (4, "")])


def message(fields: Fields) -> bytes:
    """The fields of a message, in their order."""
    return b"".join(_field(number, value) for number, value in fields)


def varint(value: int) -> bytes:
    """A number, the low bits first."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def _field(number: int, value: int | str | bytes | Fields) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    elif not isinstance(value, bytes):
        value = message(value)
    return varint(number << 3 | 2) + varint(len(value)) + value
