"""Discovery in both forms, and the routes it promises."""

import pytest

from proxy.devserver.handlers import Answer, Api, Request
from proxy.devserver.kinds import KINDS, Kind
from tests.unit.devserver.calling import call, new_api, pod

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.fixture
def api() -> Api:
    return new_api()


def test_plain_discovery_leads_to_every_kind(api: Api) -> None:
    versions = [("/api/v1", "v1")]
    for group in call(api, "GET", "/apis")[1]["groups"]:
        versions += [(f"/apis/{each['groupVersion']}", each["groupVersion"]) for each in group["versions"]]
    found = {
        (resources["groupVersion"], each["name"], each["namespaced"], each["kind"])
        for path, _ in versions
        for resources in [call(api, "GET", path)[1]]
        for each in resources["resources"]
        if "/" not in each["name"]
    }
    assert found == {(kind.api_version, kind.gvr.resource, kind.namespaced, kind.name) for kind in KINDS}


def test_both_forms_tell_the_same(api: Api) -> None:
    aggregated = {
        (group["metadata"].get("name", ""), each["resource"], each["scope"] == "Namespaced", tuple(each["verbs"]))
        for path in ("/api", "/apis")
        for group in call(api, "GET", path, accept=f"{AGGREGATED},application/json")[1]["items"]
        for version in group["versions"]
        for each in version["resources"]
    }
    plain = {
        (kind.gvr.group, each["name"], each["namespaced"], tuple(each["verbs"]))
        for kind in KINDS
        for each in call(api, "GET", kind.gvr.root)[1]["resources"]
        if "/" not in each["name"]
    }
    assert aggregated == plain


def test_aggregated_discovery_says_so_in_its_content_type(api: Api) -> None:
    for accept, expected in ((f"{AGGREGATED},application/json", AGGREGATED), ("application/json", "application/json")):
        answer = api.answer(Request(method="GET", path="/api", query=b"", headers={"accept": accept}, body=b""))
        assert isinstance(answer, Answer)
        assert answer.content_type == expected


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.gvr.resource)
def test_every_kind_is_served_where_discovery_says(api: Api, kind: Kind) -> None:
    assert call(api, "GET", kind.gvr.collection_path())[1]["kind"] == f"{kind.name}List"
    document = call(api, "GET", f"/openapi/v3{kind.gvr.root}")[1]
    described = [path["patch"]["x-kubernetes-group-version-kind"]["kind"] for path in document["paths"].values()]
    assert kind.name in described


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_health_is_text(api: Api, path: str) -> None:
    answer = api.answer(Request(method="GET", path=path, query=b"", headers={}, body=b""))
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (200, b"ok")


def test_the_version_is_one_a_client_accepts(api: Api) -> None:
    assert call(api, "GET", "/version")[1]["gitVersion"].startswith("v1.36.")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("HEAD", "/api/v1/pods"),
        ("POST", "/api/v1/pods"),
        ("DELETE", "/api/v1/pods"),
        ("POST", "/api/v1/namespaces/a/pods/p"),
        ("DELETE", "/api/v1/namespaces/a/pods/p/status"),
        ("PUT", "/api/v1/namespaces/a/pods/p/log"),
    ],
)
def test_a_method_that_is_not_served_is_405(api: Api, method: str, target: str) -> None:
    status, body = call(api, method, target, pod("p"))
    assert (status, body["reason"]) == (405, "MethodNotAllowed")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/nope",
        "/api/v2/pods",
        "/api/v1/namespaces/a/pods/p/exec",
        "/api/v1/pods/p",
        "/apis/apps/v1/pods",
        "/openapi/v2",
    ],
)
def test_a_path_that_is_not_served_is_404(api: Api, target: str) -> None:
    status, body = call(api, "GET", target)
    assert (status, body["reason"], body["details"]) == (404, "NotFound", {})


def test_a_namespace_is_an_object_and_a_place(api: Api) -> None:
    assert call(api, "GET", "/api/v1/namespaces/a")[1]["kind"] == "Namespace"
    assert call(api, "GET", "/api/v1/namespaces/a/status")[1]["kind"] == "Namespace"
    assert call(api, "GET", "/api/v1/namespaces/a/pods/")[1]["kind"] == "PodList"
