"""Bodies as a client sends them: protobuf, and reviews in both encodings."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec

from proxy.api.protobuf import ProtobufError, Schema, message, presence, read_envelope, read_message, text
from proxy.api.review_decoding import decode_review
from proxy.api.review_validation import check_access_review, metadata_in, selector_errors
from proxy.api.reviews import ReviewType, SelfAccessSpec
from proxy.api.status import BadRequest, Invalid, UnsupportedMediaType
from tests.support import protobuf_writer as writer

_LEAF: Schema = {1: text("name"), 2: text("tags", repeated=True), 3: presence("flag")}
_SCHEMA: Schema = {1: text("title"), 2: message("leaf", _LEAF), 3: message("leaves", _LEAF, repeated=True)}
_REPEATED: Schema = {number: replace(field, repeated=True) for number, field in _SCHEMA.items()}
_CONTENT_TYPES = {
    b"j": "application/json",
    b"p": "application/vnd.kubernetes.protobuf",
    b"n": "",
    b"y": "application/yaml",
}


def protobuf(data: bytes) -> None:
    """Refused, or a document that is the same when it is written and read again."""
    with suppress(ProtobufError):
        read_envelope(data)
    try:
        document = read_message(data, _SCHEMA)
    except ProtobufError:
        return
    assert read_message(writer.message(_fields(document, _SCHEMA)), _SCHEMA) == document
    assert all(len(values) == 1 for name, values in read_message(data, _REPEATED).items() if name != "leaves")


def _fields(document: dict[str, Any], schema: Schema) -> list[tuple[int, Any]]:
    written = []
    for number, field in schema.items():
        if field.name in document:
            value = document[field.name]
            for each in value if isinstance(value, list) else [value]:
                written.append((number, each if field.message is None else _fields(each, field.message)))
    return written


def review(data: bytes) -> None:
    """Two bytes choose the review and the content type. A review that JSON reads as well, or a 4xx."""
    asked = list(ReviewType)[data[0] % len(ReviewType)] if data else ReviewType.SELF_ACCESS
    content_type, body = _CONTENT_TYPES.get(data[1:2], ""), data[2:]
    try:
        decoded = decode_review(body, content_type, asked, "v1")
        assert content_type != "application/yaml"
        if not isinstance(decoded.spec, SelfAccessSpec):
            return
        written = json.dumps({"metadata": decoded.metadata, "spec": msgspec.to_builtins(decoded.spec)}).encode()
        assert decode_review(written, "application/json", asked, "v1") == decoded
        namespace = "ns" if asked is ReviewType.LOCAL_ACCESS else ""
        check_access_review(asked, metadata_in(namespace, decoded.metadata), decoded.spec)
        if decoded.spec.resourceAttributes is not None:
            selector_errors(decoded.spec.resourceAttributes).encode()
    except (BadRequest, Invalid, UnsupportedMediaType) as error:
        assert error.body()
