"""The protobuf reader takes what Go writes and refuses what two readers could see two things in."""

import pytest

from proxy.api.protobuf import Envelope, ProtobufError, message, presence, read_envelope, read_message, text
from tests.support import protobuf_writer as writer

INNER = {1: text("name"), 2: text("tags", repeated=True)}
SCHEMA = {1: text("title"), 2: message("inner", INNER), 3: message("list", INNER, repeated=True), 4: presence("flag")}


def test_a_message_becomes_a_document_of_the_fields_that_are_set() -> None:
    data = writer.message([(1, "t"), (2, [(1, "n"), (2, "a"), (2, "b")]), (3, [(1, "x")]), (3, []), (4, 7)])
    assert read_message(data, SCHEMA) == {
        "title": "t",
        "inner": {"name": "n", "tags": ["a", "b"]},
        "list": [{"name": "x"}, {}],
        "flag": True,
    }


def test_a_field_with_its_zero_value_is_not_present() -> None:
    assert read_message(writer.message([(4, 0), (4, b"")]), SCHEMA) == {}


def test_what_the_schema_does_not_name_is_skipped_in_every_wire_type() -> None:
    unknown = b"\x78\x01" + b"\x79" + bytes(8) + b"\x7a\x01z" + b"\x7d" + bytes(4)
    assert read_message(unknown + writer.message([(1, "t")]), SCHEMA) == {"title": "t"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x0a", "cut off"),
        (b"\x0a\x05abc", "cut off"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "cut off"),
        (b"\x0a\x80", "cut off"),
        (b"\x79\x00", "cut off"),
        (b"\x80" * 11, "too long"),
        (b"\x78" + b"\xff" * 9 + b"\x02", "64 bits"),
        (b"\x00\x00", "out of range"),
        (b"\x02\x00", "out of range"),
        (writer.varint(2**32 << 3) + b"\x00", "out of range"),
        (b"\x0b\x0c", "unknown wire type"),
        (b"\x0e", "unknown wire type"),
        (b"\x08\x01", "wrong wire type"),
        (b"\x09" + bytes(8), "wrong wire type"),
        (b"\x0a\x01\xff", "not UTF-8"),
        (b"\x0a\x01a\x0a\x01b", "comes twice"),
        (b"\x12\x00\x12\x00", "comes twice"),
        (b"\x12\x02\x0a\x05", "cut off"),
    ],
)
def test_what_is_not_well_formed_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ProtobufError, match=problem):
        read_message(data, SCHEMA)


def test_a_length_of_the_message_inside_does_not_reach_outside() -> None:
    """The inner length says 3, the field around it ends after 2: what follows is not the inner one's."""
    with pytest.raises(ProtobufError, match="cut off"):
        read_message(b"\x12\x02\x0a\x03abc", SCHEMA)


def test_an_envelope_holds_type_and_object() -> None:
    assert read_envelope(writer.envelope("g/v1", "Kind", [(1, "x")])) == Envelope("g/v1", "Kind", b"\x0a\x01x")


@pytest.mark.parametrize("body", [b"", b"k8s", b"{}", b"K8s\x00", b"\x00k8s\x00"])
def test_a_body_without_the_mark_is_refused(body: bytes) -> None:
    with pytest.raises(ProtobufError, match="mark"):
        read_envelope(body)


@pytest.mark.parametrize("number", [3, 4])
def test_an_object_in_another_encoding_is_refused(number: int) -> None:
    with pytest.raises(ProtobufError, match="encoding"):
        read_envelope(b"k8s\x00" + writer.message([(2, b""), (number, "gzip")]))
