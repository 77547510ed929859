"""Representations: Tables, metadata only, negotiation, and the AGE column."""

from typing import Any

import pytest

from proxy.devserver.durations import human_duration
from proxy.devserver.handlers import Api
from proxy.devserver.kinds import KINDS, Kind
from proxy.devserver.media import Form, negotiate
from proxy.devserver.tables import cells, columns
from tests.unit.devserver.calling import NOW, TABLE, call, new_api, pod

PODS = "/api/v1/namespaces/a/pods"
META = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
META_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@pytest.fixture
def api() -> Api:
    api = new_api()
    call(api, "POST", PODS, pod("p", node="n"))
    return api


def test_a_table_row_has_a_cell_for_each_column_and_metadata_by_default(api: Api) -> None:
    _, table = call(api, "GET", PODS, accept=TABLE)
    assert (table["kind"], table["metadata"]["resourceVersion"]) == ("Table", str(api.storage.rv))
    assert [column["name"] for column in table["columnDefinitions"]][:5] == [
        "Name",
        "Ready",
        "Status",
        "Restarts",
        "Age",
    ]
    [row] = table["rows"]
    assert row["cells"] == ["p", "0/1", "Pending", "0", "0s", "<none>", "n", "<none>", "<none>"]
    assert set(row["object"]) == {"kind", "apiVersion", "metadata"}
    assert row["object"]["kind"] == "PartialObjectMetadata"


@pytest.mark.parametrize(("included", "kind"), [("Object", "Pod"), ("Metadata", "PartialObjectMetadata")])
def test_the_included_object_is_the_one_asked_for(api: Api, included: str, kind: str) -> None:
    for target in (PODS, f"{PODS}/p"):
        _, table = call(api, "GET", f"{target}?includeObject={included}", accept=TABLE)
        assert table["rows"][0]["object"]["kind"] == kind


def test_no_included_object_is_null(api: Api) -> None:
    assert call(api, "GET", f"{PODS}?includeObject=None", accept=TABLE)[1]["rows"][0]["object"] is None


def test_metadata_only_has_nothing_else(api: Api) -> None:
    _, one = call(api, "GET", f"{PODS}/p", accept=META)
    _, many = call(api, "GET", PODS, accept=META_LIST)
    assert many["kind"] == "PartialObjectMetadataList"
    assert many["items"] == [one]
    assert set(one) == {"kind", "apiVersion", "metadata"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.gvr.resource)
def test_every_kind_prints_an_object_that_has_nothing_but_a_name(kind: Kind) -> None:
    row = cells(kind, {"metadata": {"name": "x"}}, NOW)
    assert len(row) == len(columns(kind))
    assert row[[column.name for column in columns(kind)].index("Name")] == "x"
    types: dict[str, type] = {"string": str, "integer": int}
    assert all(isinstance(cell, types[column.type]) for cell, column in zip(row, columns(kind), strict=True))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-0.5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (12000, "3h20m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (51 * 3600, "2d3h"),
        (30 * 86400, "30d"),
        (731 * 86400, "2y1d"),
        (4000 * 86400, "10y"),
    ],
)
def test_durations_print_as_kubectl_prints_them(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("accept", "is_list", "form"),
    [
        ("", True, Form.OBJECT),
        ("*/*", True, Form.OBJECT),
        ("application/vnd.kubernetes.protobuf,application/json", True, Form.OBJECT),
        (f"{TABLE},{TABLE.replace('v1', 'v1beta1')},application/json", True, Form.TABLE),
        (f"application/json;q=0.5,{TABLE}", True, Form.TABLE),
        ("application/json;as=Table;g=other.k8s.io;v=v1,application/json", True, Form.OBJECT),
        ("application/json;as=Chart;g=meta.k8s.io;v=v1,application/json", True, Form.OBJECT),
        (META_LIST, True, Form.METADATA),
        (f"{META_LIST},application/json", False, Form.OBJECT),
        (f"{META},application/json", True, Form.OBJECT),
    ],
)
def test_the_first_clause_that_can_be_met_decides(accept: str, is_list: bool, form: Form) -> None:
    assert negotiate(accept, is_list=is_list) is form


@pytest.mark.parametrize("accept", ["application/vnd.kubernetes.protobuf", "text/html", META_LIST.replace("v1", "v2")])
def test_nothing_acceptable_is_406(api: Api, accept: str) -> None:
    status, body = call(api, "GET", PODS, accept=accept)
    assert (status, body["reason"]) == (406, "NotAcceptable")


def test_a_service_an_endpointslice_and_a_node_print_their_columns() -> None:
    bodies: dict[str, dict[str, Any]] = {
        "services": {"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": [{"port": 80}]}},
        "endpointslices": {
            "addressType": "IPv4",
            "ports": [{"port": 80}],
            "endpoints": [{"addresses": [f"10.0.0.{i}"]} for i in range(5)],
        },
        "nodes": {
            "spec": {"unschedulable": True},
            "status": {"conditions": [{"type": "Ready", "status": "False"}], "nodeInfo": {"kubeletVersion": "v1"}},
        },
    }
    printed = {
        kind.gvr.resource: cells(kind, {"metadata": {"name": "x"}, **bodies[kind.gvr.resource]}, NOW)[1:5]
        for kind in KINDS
        if kind.gvr.resource in bodies
    }
    assert printed == {
        "services": ["ClusterIP", "10.0.0.1", "<none>", "80/TCP"],
        "endpointslices": ["IPv4", "80", "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more...", "<unknown>"],
        "nodes": ["NotReady,SchedulingDisabled", "<none>", "<unknown>", "v1"],
    }
