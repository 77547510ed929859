"""How events are written in each representation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.api.objects import ObjectVersion
from proxy.api.watch_event import INITIAL_EVENTS_END, EventType
from proxy.watch.encoding import ObjectEncoder, PartialMetadataEncoder, TableEncoder
from proxy.watch.projection import Shown
from tests.support.versions import POD_PREFIX, ROW_HEAD, version

COLUMNS = b'[{"name":"Name"}]'
OBJECT = ObjectEncoder(POD_PREFIX)
METADATA = PartialMetadataEncoder("v1")
POD = version("a", "x", 7, labels={"resourceVersion": "7"}, node="node1", row_head=ROW_HEAD)


def table(include_object: str) -> TableEncoder:
    return TableEncoder("v1", include_object, COLUMNS)


def read(line: bytes) -> dict[str, Any]:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    event: dict[str, Any] = json.loads(line)
    return event


def test_an_object_is_written_as_upstream_sent_it() -> None:
    assert OBJECT.encode(Shown(EventType.ADDED, POD, None)) == b'{"type":"ADDED","object":%b}\n' % POD.raw


def test_an_object_of_a_list_gets_the_kind_that_lists_leave_out() -> None:
    listed = ObjectVersion(b'{"metadata":{"name":"x","resourceVersion":"7"}}')
    shown = read(OBJECT.encode(Shown(EventType.ADDED, listed, None)))["object"]
    assert (shown["kind"], shown["apiVersion"]) == ("Pod", "v1")


def test_a_departed_object_is_the_old_one_with_the_new_resource_version_only() -> None:
    shown = read(OBJECT.encode(Shown(EventType.DELETED, POD, "9")))["object"]
    expected = json.loads(POD.raw)
    expected["metadata"]["resourceVersion"] = "9"
    assert shown == expected
    assert list(shown) == list(expected)


def test_partial_metadata_is_metadata_only() -> None:
    shown = read(METADATA.encode(Shown(EventType.MODIFIED, POD, None)))["object"]
    assert shown == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": json.loads(POD.raw)["metadata"],
    }


@pytest.mark.parametrize("encoder", [OBJECT, METADATA, table("Metadata"), table("Object")])
def test_every_form_stamps_a_departed_object(encoder: ObjectEncoder | PartialMetadataEncoder | TableEncoder) -> None:
    shown = read(encoder.encode(Shown(EventType.DELETED, POD, "9")))["object"]
    shown = shown if "rows" not in shown else shown["rows"][0]["object"]
    assert shown["metadata"]["resourceVersion"] == "9"
    assert shown["metadata"]["labels"] == {"resourceVersion": "7"}


@pytest.mark.parametrize("encoder", [OBJECT, METADATA])
def test_bookmarks_are_of_the_kind_of_the_events(encoder: ObjectEncoder | PartialMetadataEncoder) -> None:
    event = read(encoder.encode(Shown(EventType.ADDED, POD, None)))["object"]
    bookmark = read(encoder.bookmark("9", initial_events_end=False))
    assert bookmark == {
        "type": "BOOKMARK",
        "object": {
            "kind": event["kind"],
            "apiVersion": event["apiVersion"],
            "metadata": {"resourceVersion": "9"},
        },
    }


@pytest.mark.parametrize("encoder", [OBJECT, METADATA])
def test_the_end_of_the_initial_events_is_annotated(encoder: ObjectEncoder | PartialMetadataEncoder) -> None:
    metadata = read(encoder.bookmark("9", initial_events_end=True))["object"]["metadata"]
    assert metadata == {"resourceVersion": "9", "annotations": {INITIAL_EVENTS_END: "true"}}


def test_columns_are_named_in_the_first_event_only() -> None:
    shown = Shown(EventType.ADDED, POD, None)
    assert read(table("None").first(shown))["object"]["columnDefinitions"] == [{"name": "Name"}]
    assert read(table("None").encode(shown))["object"]["columnDefinitions"] is None


def test_a_row_carries_what_was_asked_for() -> None:
    rows = {
        included: read(table(included).encode(Shown(EventType.ADDED, POD, None)))["object"]["rows"]
        for included in ("None", "Metadata", "Object")
    }
    whole = json.loads(POD.raw)
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": whole["metadata"]}
    assert rows == {
        "None": [{"cells": ["a row"], "object": None}],
        "Metadata": [{"cells": ["a row"], "object": partial}],
        "Object": [{"cells": ["a row"], "object": whole}],
    }


def test_the_end_of_a_tables_initial_events_is_annotated_in_a_row_whatever_was_asked_for() -> None:
    bookmark = read(table("None").bookmark("9", initial_events_end=True))["object"]
    assert bookmark["metadata"] == {"resourceVersion": "9"}
    (row,) = bookmark["rows"]
    assert row["object"]["metadata"]["annotations"] == {INITIAL_EVENTS_END: "true"}
    assert read(table("None").bookmark("9", initial_events_end=False))["object"]["rows"] == []


def test_equal_encoders_are_equal_so_that_their_sessions_share_bytes() -> None:
    assert hash(table("None")) == hash(table("None"))
    assert len({OBJECT, ObjectEncoder(POD_PREFIX), METADATA, table("None"), table("Object"), table("None")}) == 4
