"""What a client may select built-in resources by, and the value each field has, gaps and defaults included."""

import json
from typing import Any

import pytest

from proxy.api.groups import GroupVersionResource
from proxy.api.objects import ObjectVersion
from proxy.api.selectable_fields import SelectableFields, selectable_fields
from proxy.api.selectors import parse_field_selector
from proxy.api.status import BadRequest

PODS = GroupVersionResource("", "v1", "pods")
NODES = GroupVersionResource("", "v1", "nodes")
EVENTS = GroupVersionResource("", "v1", "events")
NEW_EVENTS = GroupVersionResource("events.k8s.io", "v1", "events")
JOBS = GroupVersionResource("batch", "v1", "jobs")
SLICES = GroupVersionResource("resource.k8s.io", "v1beta2", "resourceslices")


def fields_of(gvr: GroupVersionResource) -> SelectableFields:
    found = selectable_fields(gvr)
    assert found is not None
    return found


def matches(gvr: GroupVersionResource, selector: str, namespace: str = "a", **rest: Any) -> bool:
    version = ObjectVersion(json.dumps({"metadata": {"name": "x", "namespace": namespace}, **rest}).encode())
    fields = fields_of(gvr)
    return fields.matches(fields.convert(parse_field_selector(selector)), version)


@pytest.mark.parametrize(
    ("selector", "pod"),
    [
        ("metadata.name=x,metadata.namespace=a", {}),
        ("spec.nodeName=n", {"spec": {"nodeName": "n"}}),
        ("spec.host=n", {"spec": {"nodeName": "n"}}),
        ("spec.nodeName=", {}),
        ("spec.nodeName!=n", {}),
        ("spec.hostNetwork=false", {}),
        ("spec.hostNetwork=true", {"spec": {"hostNetwork": True}}),
        ("status.phase=Running", {"status": {"phase": "Running"}}),
        ("status.podIP=10.0.0.1", {"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd::1"}]}}),
        ("status.podIP=fd::1", {"status": {"podIPs": [{"ip": "fd::1"}, {"ip": "10.0.0.1"}]}}),
        ("status.podIP=10.0.0.1", {"status": {"podIP": "10.0.0.1"}}),
        ("status.podIP=10.0.0.2", {"status": {"podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.1"}]}}),
        ("status.podIP=", {"status": {"podIPs": []}}),
        ("status.podIP=", {}),
        ("status.podIPs=", {"status": {"podIPs": [{"ip": "10.0.0.1"}]}}),
        ("status.nominatedNodeName=n", {"status": {"nominatedNodeName": "n"}}),
        ("spec.serviceAccountName=s,spec.schedulerName=d", {"spec": {"serviceAccountName": "s", "schedulerName": "d"}}),
    ],
)
def test_a_pod_is_selected_by_what_upstream_fills_in(selector: str, pod: dict[str, Any]) -> None:
    assert matches(PODS, selector, **pod)


@pytest.mark.parametrize(
    ("selector", "pod"),
    [
        ("spec.host=m", {"spec": {"nodeName": "n", "host": "m"}}),
        ("spec.hostNetwork=TRUE", {"spec": {"hostNetwork": True}}),
        ("status.podIPs=10.0.0.1", {"status": {"podIPs": [{"ip": "10.0.0.1"}]}}),
        ("status.podIP=fd::1", {"status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd::1"}]}}),
        ("spec.nodeName=n,spec.nodeName=m", {"spec": {"nodeName": "n"}}),
    ],
)
def test_a_pod_is_not_selected_by_anything_else(selector: str, pod: dict[str, Any]) -> None:
    assert not matches(PODS, selector, **pod)


def test_an_alias_is_converted_before_anything_is_checked_on_the_selector() -> None:
    converted = fields_of(PODS).convert(parse_field_selector("spec.host=n"))
    assert converted.required_value("spec.nodeName") == "n"


@pytest.mark.parametrize(("spec", "value"), [({}, "false"), ({"unschedulable": True}, "true")])
def test_a_node_is_schedulable_unless_it_says_otherwise(spec: dict[str, Any], value: str) -> None:
    assert matches(NODES, f"spec.unschedulable={value}", namespace="", spec=spec)
    assert not matches(NODES, "spec.unschedulable=", namespace="", spec=spec)


@pytest.mark.parametrize(
    ("event", "source"),
    [
        ({"source": {"component": "kubelet"}, "reportingComponent": "other"}, "kubelet"),
        ({"source": {}, "reportingComponent": "other"}, "other"),
        ({}, ""),
    ],
)
def test_the_source_of_an_event_is_its_component_else_its_reporter(event: dict[str, Any], source: str) -> None:
    assert matches(EVENTS, f"source={source}", **event)


def test_the_two_groups_of_events_have_their_own_labels() -> None:
    assert matches(EVENTS, "involvedObject.kind=Pod,reason=R", involvedObject={"kind": "Pod"}, reason="R")
    assert matches(NEW_EVENTS, "regarding.kind=Pod,type=Normal", regarding={"kind": "Pod"}, type="Normal")
    for gvr, label in ((EVENTS, "regarding.kind"), (NEW_EVENTS, "involvedObject.kind"), (NEW_EVENTS, "source")):
        with pytest.raises(BadRequest, match=f"^field label not supported: {label}$"):
            matches(gvr, f"{label}=x")


@pytest.mark.parametrize(("status", "count"), [({}, 0), ({"succeeded": 3}, 3)])
def test_a_job_counts_its_successes_from_zero(status: dict[str, int], count: int) -> None:
    assert matches(JOBS, f"status.successful={count}", status=status)


def test_a_cluster_scoped_object_has_an_empty_namespace() -> None:
    volumes = GroupVersionResource("", "v1", "persistentvolumes")
    assert matches(volumes, "metadata.namespace=", namespace="")
    assert not matches(volumes, "metadata.namespace=a", namespace="")


@pytest.mark.parametrize(
    ("gvr", "selector", "message"),
    [
        (PODS, "spec.foo=1", "field label not supported: spec.foo"),
        (PODS, "z=1,b=2", "field label not supported: b"),
        (NODES, "metadata.namespace=a", "field label not supported: metadata.namespace"),
        (JOBS, "x=1", 'field label "x" not supported for Job'),
        (SLICES, "{}=1", "field label not supported for resource.k8s.io/v1beta2, Kind=ResourceSlice: {}"),
        (
            GroupVersionResource("apps", "v1", "replicasets"),
            "status.replicas=1",
            '"status.replicas" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
    ],
)
def test_another_label_is_refused_in_upstreams_words(gvr: GroupVersionResource, selector: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        fields_of(gvr).convert(parse_field_selector(selector))
    assert caught.value.message == message


@pytest.mark.parametrize(
    "gvr",
    [
        GroupVersionResource("example.com", "v1", "pods"),
        GroupVersionResource("apps", "v1", "pods"),
        GroupVersionResource("metrics.k8s.io", "v1beta1", "nodes"),
        GroupVersionResource("snapshot.storage.k8s.io", "v1", "volumesnapshots"),
    ],
)
def test_only_upstream_knows_the_fields_of_other_resources(gvr: GroupVersionResource) -> None:
    assert selectable_fields(gvr) is None
