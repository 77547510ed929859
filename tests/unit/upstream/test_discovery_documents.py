"""Both forms of discovery, parsed, and what an API server may leave out of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.groups import ApiResource, GroupVersionResource
from proxy.upstream.discovery_documents import (
    is_aggregated,
    parse_aggregated,
    parse_core_versions,
    parse_groups,
    parse_resources,
)
from proxy.upstream.resource_catalog import ResourceCatalog, merge_catalogs

PODS = GroupVersionResource("", "v1", "pods")
NODES = GroupVersionResource("", "v1", "nodes")
DEPLOYMENTS = GroupVersionResource("apps", "v1", "deployments")
METRICS = GroupVersionResource("metrics.k8s.io", "v1beta1", "pods")
V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def aggregated(group: str, version: str, *resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    versions = [{"version": version, "freshness": "Current", "resources": list(resources), **more}]
    return {"metadata": {"name": group, "creationTimestamp": None}, "versions": versions}


def entry(name: str, kind: str, scope: str, *verbs: str, **more: Any) -> dict[str, Any]:
    response_kind = {"group": "", "version": "", "kind": kind}
    return {"resource": name, "responseKind": response_kind, "scope": scope, "verbs": list(verbs), **more}


def document(*groups: dict[str, Any]) -> bytes:
    body = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}}
    return json.dumps({**body, "items": list(groups)}).encode()


def served(gvr: GroupVersionResource, kind: str = "K", *, namespaced: bool = True) -> ResourceCatalog:
    resource = ApiResource(gvr=gvr, kind=kind, namespaced=namespaced, verbs=frozenset({"get"}))
    return ResourceCatalog(resources={gvr: resource}, subresources={(gvr, "status"): resource})


def test_an_aggregated_document_tells_scope_kind_verbs_and_subresources() -> None:
    eviction = {"subresource": "eviction", "responseKind": {"kind": "Eviction"}, "verbs": ["create"]}
    catalog = parse_aggregated(
        document(
            aggregated(
                "",
                "v1",
                entry("pods", "Pod", "Namespaced", "get", "watch", singularResource="pod", subresources=[eviction]),
                entry("nodes", "Node", "Cluster", "get"),
            ),
            aggregated("apps", "v1", entry("deployments", "Deployment", "Namespaced", "list")),
        )
    )
    assert catalog.resource(PODS) == ApiResource(
        gvr=PODS, kind="Pod", namespaced=True, verbs=frozenset({"get", "watch"})
    )
    assert catalog.resource(NODES) == ApiResource(gvr=NODES, kind="Node", namespaced=False, verbs=frozenset({"get"}))
    assert catalog.subresource(PODS, "eviction") == ApiResource(
        gvr=PODS, kind="Eviction", namespaced=True, verbs=frozenset({"create"})
    )
    assert catalog.resource(DEPLOYMENTS) is not None
    assert catalog.resource(GroupVersionResource("apps", "v1beta1", "deployments")) is None
    assert catalog.resource(GroupVersionResource("", "v1", "pods/eviction")) is None
    assert catalog.subresource(PODS, "exec") is None


def test_a_resource_without_a_kind_only_holds_its_subresources() -> None:
    tokens = {"subresource": "token", "responseKind": {"kind": "TokenRequest"}, "verbs": ["create"]}
    parent = {"resource": "pods", "scope": "Namespaced", "subresources": [tokens]}
    catalog = parse_aggregated(document(aggregated("", "v1", parent)))
    assert catalog.resource(PODS) is None
    assert catalog.subresource(PODS, "token") is not None


def test_a_version_whose_server_does_not_answer_is_stale() -> None:
    catalog = parse_aggregated(document(aggregated("metrics.k8s.io", "v1beta1", freshness="Stale", resources=None)))
    assert catalog.stale == {"metrics.k8s.io/v1beta1"}


def test_the_legacy_documents_tell_the_same() -> None:
    assert parse_core_versions(b'{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[]}') == [
        ("", "v1")
    ]
    groups = {"groups": [{"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]}]}
    assert parse_groups(json.dumps(groups).encode()) == [("apps", "v1")]
    resources = [
        {"name": "pods", "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get"], "shortNames": ["po"]},
        {"name": "pods/eviction", "namespaced": True, "kind": "Eviction", "group": "policy", "verbs": ["create"]},
        {"name": "nodes", "namespaced": False, "kind": "Node", "verbs": ["get"]},
    ]
    catalog = parse_resources(json.dumps({"resources": resources}).encode(), "", "v1")
    assert catalog.resource(PODS) == ApiResource(gvr=PODS, kind="Pod", namespaced=True, verbs=frozenset({"get"}))
    assert catalog.resource(NODES) == ApiResource(gvr=NODES, kind="Node", namespaced=False, verbs=frozenset({"get"}))
    assert catalog.subresource(PODS, "eviction") == ApiResource(
        gvr=PODS, kind="Eviction", namespaced=True, verbs=frozenset({"create"})
    )
    assert catalog.resource(GroupVersionResource("", "v1", "pods/eviction")) is None


def test_lists_that_are_null_are_empty() -> None:
    """Go writes an empty list as null."""
    assert parse_aggregated(b'{"items":null}') == ResourceCatalog()
    assert parse_core_versions(b'{"versions":null}') == []
    assert parse_groups(b'{"groups":null}') == []
    assert parse_resources(b'{"resources":null}', "apps", "v1") == ResourceCatalog()


@pytest.mark.parametrize(
    "body",
    [b"", b"404 page not found", b"{}", b"[]", b"null", b'{"items":{}}', b'{"items":' + b"[" * 100_000, b'["x"]',
     b'{"items":[1]}', b'{"groups":"x","versions":1,"resources":0}'],
)  # fmt: skip
def test_what_is_no_discovery_is_a_value_error(body: bytes) -> None:
    for parse in (parse_aggregated, parse_core_versions, parse_groups, lambda body: parse_resources(body, "", "v1")):
        with pytest.raises(ValueError):
            parse(body)


def test_a_scope_that_is_not_known_is_not_guessed() -> None:
    """Guessing `Cluster` or `Namespaced` would decide which bindings apply."""
    with pytest.raises(ValueError, match="unknown scope"):
        parse_aggregated(document(aggregated("", "v1", entry("pods", "Pod", "namespaced", "get"))))
    with pytest.raises(ValueError):
        parse_resources(b'{"resources":[{"name":"pods","kind":"Pod"}]}', "", "v1")


@given(st.binary(max_size=80))
def test_any_bytes_parse_or_are_a_value_error(body: bytes) -> None:
    try:
        catalog = parse_aggregated(body)
    except ValueError:
        return
    assert catalog == ResourceCatalog()


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (V2, True),
        ("application/json; g=apidiscovery.k8s.io; v=v2beta1; as=APIGroupDiscoveryList", True),
        ("application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList", False),
        ("application/json;g=other.k8s.io;v=v2;as=APIGroupDiscoveryList", False),
        ("application/cbor;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_the_content_type_tells_which_form_it_is(content_type: str, expected: bool) -> None:
    assert is_aggregated(content_type) is expected


def test_what_was_known_of_a_stale_version_is_kept_and_of_a_removed_one_is_not() -> None:
    before = merge_catalogs([served(PODS), served(METRICS), served(DEPLOYMENTS)])
    now = merge_catalogs([served(PODS), ResourceCatalog(stale=frozenset({"metrics.k8s.io/v1beta1"}))])
    kept = now.keeping_stale_of(before)
    assert set(kept.resources) == {PODS, METRICS}
    assert set(kept.subresources) == {(PODS, "status"), (METRICS, "status")}
    assert kept.stale == {"metrics.k8s.io/v1beta1"}
    assert before.without(kept) == {DEPLOYMENTS}


def test_what_a_stale_version_still_tells_wins_over_what_was_known() -> None:
    before = served(METRICS, "Old")
    now = merge_catalogs([served(METRICS, "New"), ResourceCatalog(stale=frozenset({"metrics.k8s.io/v1beta1"}))])
    found = now.keeping_stale_of(before).resource(METRICS)
    assert found is not None
    assert found.kind == "New"


def test_a_resource_that_came_back_as_another_kind_is_gone_as_what_it_was() -> None:
    before = merge_catalogs([served(PODS), served(METRICS, "Old")])
    assert before.without(merge_catalogs([served(PODS), served(METRICS, "New")])) == {METRICS}
