"""The protobuf reader: all that Go writes is read, and no bytes do more than be refused."""

import contextlib
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.api.protobuf import ProtobufError, message, presence, read_envelope, read_message, text
from proxy.api.review_decoding import decode_review
from proxy.api.review_validation import check_access_review, metadata_in
from proxy.api.reviews import ReviewType, SelfAccessSpec
from proxy.api.status import BadRequest, Invalid
from tests.support import protobuf_writer as writer

LEAF = {1: text("name"), 2: text("tags", repeated=True), 3: presence("flag")}
SCHEMA = {1: text("title"), 2: message("leaf", LEAF), 3: message("leaves", LEAF, repeated=True)}
PROTOBUF = "application/vnd.kubernetes.protobuf"

leaves = st.fixed_dictionaries({}, optional={"name": st.text(), "tags": st.lists(st.text(), min_size=1)})
documents = st.fixed_dictionaries(
    {}, optional={"title": st.text(), "leaf": leaves, "leaves": st.lists(leaves, min_size=1)}
)


def fields_of(document: dict[str, Any], schema: dict[int, Any]) -> list[tuple[int, Any]]:
    written = []
    for number, field in schema.items():
        if field.name in document:
            value = document[field.name]
            for each in value if field.repeated else [value]:
                written.append((number, each if field.message is None else fields_of(each, field.message)))
    return written


@given(documents, st.data())
def test_what_is_written_is_read_again_in_whatever_order(document: dict[str, Any], data: st.DataObject) -> None:
    fields = fields_of(document, SCHEMA)
    unknown = data.draw(st.lists(st.tuples(st.integers(20, 2**29 - 1), st.integers(0, 2**64 - 1) | st.binary())))
    repeated = [field for field in fields if field[0] == 3]
    mixed = data.draw(st.permutations([*(field for field in fields if field[0] != 3), *unknown]))
    assert read_message(writer.message([*mixed, *repeated]), SCHEMA) == document


@given(documents, st.integers(0, 1000))
def test_a_message_that_is_cut_anywhere_is_refused_or_shorter(document: dict[str, Any], at: int) -> None:
    data = writer.message(fields_of(document, SCHEMA))
    cut = data[: at % (len(data) + 1)]
    try:
        read = read_message(cut, SCHEMA)
    except ProtobufError:
        return
    assert cut == writer.message(fields_of(read, SCHEMA))


@given(st.binary())
@example(b"\x12\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for reading in (lambda: read_message(data, SCHEMA), lambda: read_envelope(b"k8s\x00" + data)):
        with contextlib.suppress(ProtobufError):
            reading()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["spec", "metadata", "kind", "name"]), inner)
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(list(ReviewType)),
    st.binary().map(lambda raw: (writer.envelope("", "", [(1, raw)]), PROTOBUF))
    | st.binary().map(lambda raw: (writer.envelope("", "", [(2, raw)]), PROTOBUF))
    | st.binary().map(lambda raw: (raw, "application/json"))
    | json_values.map(lambda value: (json.dumps(value).encode(), "application/json")),
)
@example(ReviewType.SELF_ACCESS, (b'{"metadata":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}", "application/json"))
@example(ReviewType.SELF_ACCESS, (b'{"metadata":{"a":' + b"[" * 450 + b"1" + b"]" * 450 + b"}}", "application/json"))
@example(ReviewType.SELF_ACCESS, (b'{"spec":{"resourceAttributes":{"verb":"\\ud800"}}}', "application/json"))
def test_any_body_is_a_review_or_a_bad_request(asked: ReviewType, sent: tuple[bytes, str]) -> None:
    try:
        review = decode_review(*sent, asked, "v1")
        if isinstance(review.spec, SelfAccessSpec):
            check_access_review(
                asked, metadata_in("ns" if asked is ReviewType.LOCAL_ACCESS else "", review.metadata), review.spec
            )
    except (BadRequest, Invalid) as error:
        assert error.body()
