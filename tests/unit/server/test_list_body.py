"""The body of a list, in parts that are one JSON text."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from proxy.api.media_types import PLAIN_JSON, Form, IncludeObject, MediaType, Representation
from proxy.api.objects import ObjectVersion
from proxy.server.list_body import PART_BYTES, list_body, unread_list_body
from proxy.upstream.list_reader import UpstreamList
from proxy.upstream.unread_list import UnreadList
from tests.support.versions import POD_PREFIX, version

NOTE_BYTES = 20_000
FULL = -(-PART_BYTES // NOTE_BYTES)
"""About as many objects as fill a part."""

METADATA = Representation(form=Form.PARTIAL_METADATA, media_type=MediaType.JSON, meta_version="v1")


def table(included: IncludeObject) -> Representation:
    return Representation(form=Form.TABLE, media_type=MediaType.JSON, meta_version="v1", include_object=included)


def pods(count: int) -> list[ObjectVersion]:
    return [
        version(
            "a",
            f"x{number}",
            number + 1,
            node="node1",
            note="n" * NOTE_BYTES,
            row_head=b'{"cells":[%d],"object":' % number,
        )
        for number in range(count)
    ]


def body(representation: Representation, versions: list[ObjectVersion], token: str = "") -> dict[str, Any]:
    listed = UpstreamList(
        versions=versions,
        rv="40",
        kind="PodList",
        api_version="v1",
        columns=b'[{"name":"Name"}]',
        continue_token=token,
    )
    parts = list(list_body(listed, POD_PREFIX, representation, indented=False))
    assert b"".join(parts).endswith(b"}\n")
    whole: dict[str, Any] = json.loads(b"".join(parts))
    return whole


def test_metadata_of_an_empty_list_is_null_as_upstream_writes_it() -> None:
    assert body(METADATA, [])["items"] is None
    assert body(PLAIN_JSON, [])["items"] == []


@pytest.mark.parametrize("count", [0, 1, *range(FULL - 2, FULL + 3), *range(2 * FULL - 4, 2 * FULL + 3)])
@pytest.mark.parametrize("representation", [PLAIN_JSON, METADATA, table(IncludeObject.OBJECT)])
def test_every_item_is_there_once_and_in_order(count: int, representation: Representation) -> None:
    listed = body(representation, pods(count))
    items = (listed["items"] or []) if "items" in listed else [row["object"] for row in listed["rows"]]
    assert [item["metadata"]["name"] for item in items] == [f"x{number}" for number in range(count)]


def test_a_list_of_objects_says_what_it_is_and_its_items_do_not() -> None:
    listed = body(PLAIN_JSON, pods(1), token="next")
    assert (listed["kind"], listed["apiVersion"]) == ("PodList", "v1")
    assert listed["metadata"] == {"resourceVersion": "40", "continue": "next"}
    assert list(listed["items"][0]) == ["metadata", "spec"]


def test_the_items_of_a_list_of_custom_resources_say_what_they_are() -> None:
    custom = ObjectVersion(b'{"apiVersion":"example.io/v1","kind":"Widget","metadata":{"name":"x"}}')
    assert body(PLAIN_JSON, [custom])["items"] == [json.loads(custom.raw)]


def test_a_list_of_metadata_is_of_a_kind_of_its_own() -> None:
    listed = body(METADATA, pods(1))
    assert (listed["kind"], listed["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    (item,) = listed["items"]
    assert item["kind"] == "PartialObjectMetadata"
    assert set(item) == {"kind", "apiVersion", "metadata"}


def test_items_of_a_list_of_metadata_can_come_as_protobuf_would_have_decoded_them() -> None:
    listed = body(replace(METADATA, untyped_items=True), pods(2))
    assert listed["kind"] == "PartialObjectMetadataList"
    assert [list(item) for item in listed["items"]] == [["metadata"], ["metadata"]]


@pytest.mark.parametrize(
    ("included", "kind"),
    [(IncludeObject.NONE, None), (IncludeObject.METADATA, "PartialObjectMetadata"), (IncludeObject.OBJECT, "Pod")],
)
def test_rows_carry_as_much_of_their_objects_as_was_asked_for(included: IncludeObject, kind: str | None) -> None:
    listed = body(table(included), pods(1))
    assert (listed["kind"], listed["columnDefinitions"]) == ("Table", [{"name": "Name"}])
    (row,) = listed["rows"]
    assert row["cells"] == [0]
    assert (row["object"] or {}).get("kind") == kind
    assert included is IncludeObject.OBJECT or "node1" not in json.dumps(row)


def test_a_part_of_a_long_list_is_bounded_by_its_last_item() -> None:
    listed = UpstreamList(versions=pods(5 * FULL), rv="1", kind="PodList", api_version="v1")
    for indented in (False, True):
        parts = list_body(listed, POD_PREFIX, PLAIN_JSON, indented=indented)
        assert max(map(len, parts)) < PART_BYTES + 2 * NOTE_BYTES


@pytest.mark.parametrize("count", [0, 1, 2, FULL + 2])
@pytest.mark.parametrize("representation", [PLAIN_JSON, METADATA, table(IncludeObject.OBJECT)])
def test_a_list_for_a_person_is_the_same_list_indented(count: int, representation: Representation) -> None:
    listed = UpstreamList(
        versions=pods(count), rv="40", kind="PodList", api_version="v1", columns=b'[{"name":"10","type":"0"}]'
    )
    compact, indented = (
        b"".join(list_body(listed, POD_PREFIX, representation, indented=indented)) for indented in (False, True)
    )
    assert indented == msgspec.json.format(compact.rstrip(b"\n"), indent=2)


@pytest.mark.parametrize("sizes", [[], [1], [PART_BYTES], [PART_BYTES + 1, 1], [1, 3 * PART_BYTES, 2]])
def test_items_that_are_text_are_written_as_they_are(sizes: list[int]) -> None:
    texts = [b'{"metadata":{"name":"%d"},"note":"%b"}' % (number, b"n" * size) for number, size in enumerate(sizes)]
    listed = UnreadList(rv="40", kind="PodList", api_version="v1", texts=tuple(map(memoryview, texts)))
    parts = list(unread_list_body(listed))
    assert b"".join(parts) == (
        b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"40"},"items":[%b]}\n' % b",".join(texts)
    )
    assert max(map(len, parts)) <= PART_BYTES + len(",")
