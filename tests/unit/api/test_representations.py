"""The shapes an object is shown in."""

from __future__ import annotations

import json

from proxy.api.objects import ObjectVersion
from proxy.api.representations import (
    list_metadata,
    object_list,
    partial_object_metadata,
    table,
    table_row,
    type_prefix,
    with_type,
    without_type,
)

PREFIX = type_prefix("Pod", "v1")
TYPED = b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"}}'
BARE = b'{"metadata":{"name":"x"}}'
CUSTOM = b'{"apiVersion":"example.io/v1","kind":"Widget","metadata":{"name":"x"}}'


def test_a_builtin_object_gains_its_type_in_an_event_and_loses_it_in_a_list() -> None:
    assert with_type(BARE, PREFIX) == TYPED
    assert without_type(TYPED, PREFIX) == BARE
    assert with_type(TYPED, PREFIX) == TYPED
    assert without_type(BARE, PREFIX) == BARE


def test_a_custom_resource_carries_its_type_everywhere() -> None:
    prefix = type_prefix("Widget", "example.io/v1")
    assert with_type(CUSTOM, prefix) == CUSTOM
    assert without_type(CUSTOM, prefix) == CUSTOM


def test_a_list_says_what_it_is_and_how_to_go_on_and_never_how_much_is_left() -> None:
    metadata = list_metadata("7", 'a"b')
    listed = json.loads(object_list("PodList", "v1", metadata, [BARE, BARE]))
    assert listed == {
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "7", "continue": 'a"b'},
        "items": [json.loads(BARE)] * 2,
    }
    assert json.loads(list_metadata("7")) == {"resourceVersion": "7"}
    assert json.loads(object_list("PodList", "v1", list_metadata("7"), []))["items"] == []


def test_partial_metadata_is_of_the_version_that_was_asked_for() -> None:
    shown = json.loads(partial_object_metadata(b'{"name":"x"}', "v1beta1"))
    assert shown == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1beta1",
        "metadata": {"name": "x"},
    }


def test_a_table_is_put_together_from_rows() -> None:
    version = ObjectVersion(BARE, b'{"cells":["x"],"object":')
    row = table_row(version, b"null")
    assert json.loads(table("v1", list_metadata("7"), b'[{"name":"Name"}]', [row, row])) == {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "7"},
        "columnDefinitions": [{"name": "Name"}],
        "rows": [{"cells": ["x"], "object": None}] * 2,
    }
