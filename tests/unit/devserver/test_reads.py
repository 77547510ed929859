"""Lists: versions, pages, selectors and the options that are refused."""

import base64
import json
from typing import Any

import pytest

from proxy.devserver.handlers import Api
from tests.unit.devserver.calling import call, new_api, pod

PODS = "/api/v1/pods"


@pytest.fixture
def api() -> Api:
    """Pods a/p0 … a/p4 and b/q, created in this order."""
    api = new_api()
    for number in range(5):
        parity = "even" if number % 2 == 0 else "odd"
        call(
            api,
            "POST",
            "/api/v1/namespaces/a/pods",
            pod(f"p{number}", node=f"n{number % 2}", labels={"parity": parity}),
        )
    call(api, "POST", "/api/v1/namespaces/b/pods", pod("q"))
    return api


def names(body: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


def test_the_items_of_a_list_have_no_kind_and_the_list_has_the_current_version(api: Api) -> None:
    status, body = call(api, "GET", PODS)
    assert status == 200
    assert list(body) == ["kind", "apiVersion", "metadata", "items"]
    assert (body["kind"], body["metadata"]) == ("PodList", {"resourceVersion": str(api.storage.rv)})
    assert names(body) == ["p0", "p1", "p2", "p3", "p4", "q"]
    assert not any("kind" in item or "apiVersion" in item for item in body["items"])


def test_an_empty_list_has_empty_items(api: Api) -> None:
    assert call(api, "GET", "/api/v1/secrets")[1]["items"] == []


def test_pages_show_one_moment_whatever_happens_between_them(api: Api) -> None:
    _, first = call(api, "GET", f"{PODS}?limit=2")
    assert (names(first), first["metadata"]["remainingItemCount"]) == (["p0", "p1"], 4)
    call(api, "DELETE", "/api/v1/namespaces/a/pods/p2")
    call(api, "POST", "/api/v1/namespaces/a/pods", pod("p11"))
    seen = names(first)
    page = first
    while token := page["metadata"].get("continue"):
        _, page = call(api, "GET", f"{PODS}?limit=2&continue={token}")
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        seen += names(page)
    assert seen == ["p0", "p1", "p2", "p3", "p4", "q"]


def test_the_continue_token_is_upstreams(api: Api) -> None:
    """Clients can read it: that is why a proxy must not pass it on."""
    _, body = call(api, "GET", f"{PODS}?limit=2")
    token = body["metadata"]["continue"]
    decoded = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    assert decoded == {"v": "meta.k8s.io/v1", "rv": api.storage.rv, "start": "a/p1\0"}


def test_a_page_of_matching_objects_does_not_count_the_rest(api: Api) -> None:
    _, body = call(api, "GET", f"{PODS}?limit=2&labelSelector=parity%3Deven")
    assert names(body) == ["p0", "p2"]
    assert "remainingItemCount" not in body["metadata"]


def test_a_compacted_continue_is_expired_and_its_fresh_token_goes_on_at_the_current_state(api: Api) -> None:
    token = call(api, "GET", f"{PODS}?limit=2")[1]["metadata"]["continue"]
    call(api, "DELETE", "/api/v1/namespaces/a/pods/p3")
    api.storage.compact(api.storage.rv)
    status, expired = call(api, "GET", f"{PODS}?limit=2&continue={token}")
    assert (status, expired["reason"]) == (410, "Expired")
    status, rest = call(api, "GET", f"{PODS}?limit=9&continue={expired['metadata']['continue']}")
    assert (status, names(rest)) == (200, ["p2", "p4", "q"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("resourceVersionMatch=Exact", "old"),
        ("limit=9", "old"),
        ("resourceVersionMatch=NotOlderThan&limit=9", "new"),
        ("", "new"),
    ],
)
def test_which_reads_at_a_version_are_exact(api: Api, query: str, expected: str) -> None:
    before = api.storage.rv
    call(api, "DELETE", "/api/v1/namespaces/a/pods/p0")
    _, body = call(api, "GET", f"{PODS}?resourceVersion={before}&{query}")
    assert ("p0" in names(body)) is (expected == "old")
    assert body["metadata"]["resourceVersion"] == str(before if expected == "old" else api.storage.rv)


def test_version_0_ignores_the_limit(api: Api) -> None:
    _, body = call(api, "GET", f"{PODS}?resourceVersion=0&limit=1")
    assert len(body["items"]) == 6
    assert "continue" not in body["metadata"]


def test_an_exact_version_that_is_compacted_is_expired(api: Api) -> None:
    call(api, "DELETE", "/api/v1/namespaces/a/pods/p0")
    api.storage.compact(api.storage.rv)
    status, body = call(api, "GET", f"{PODS}?resourceVersion=2&resourceVersionMatch=Exact")
    assert (status, body["message"]) == (410, "The resourceVersion for the provided list is too old.")


@pytest.mark.parametrize("target", [PODS, "/api/v1/namespaces/a/pods/p0"])
def test_a_version_of_the_future_times_out(api: Api, target: str) -> None:
    status, body = call(api, "GET", f"{target}?resourceVersion=999")
    assert (status, body["reason"], body["details"]["retryAfterSeconds"]) == (504, "Timeout", 1)
    assert body["message"] == f"Timeout: Too large resource version: 999, current: {api.storage.rv}"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("labelSelector=parity%3Dodd", ["p1", "p3"]),
        ("labelSelector=parity!%3Dodd", ["p0", "p2", "p4", "q"]),
        ("fieldSelector=spec.nodeName%3Dn1", ["p1", "p3"]),
        ("fieldSelector=spec.host%3Dn1", ["p1", "p3"]),
        ("fieldSelector=spec.nodeName%3D", ["q"]),
        ("fieldSelector=metadata.namespace%3Db", ["q"]),
        (
            "fieldSelector=status.phase%3DPending,metadata.name!%3Dq&labelSelector=parity",
            ["p0", "p1", "p2", "p3", "p4"],
        ),
        ("fieldSelector=spec.hostNetwork%3Dfalse&limit=1", ["p0"]),
    ],
)
def test_selectors_select(api: Api, query: str, expected: list[str]) -> None:
    assert names(call(api, "GET", f"{PODS}?{query}")[1]) == expected


@pytest.mark.parametrize(
    ("target", "status", "message"),
    [
        (f"{PODS}?fieldSelector=spec.nope%3Dx", 400, "field label not supported: spec.nope"),
        (
            "/api/v1/configmaps?fieldSelector=data%3Dx",
            400,
            '"data" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ("/api/v1/nodes?fieldSelector=metadata.namespace%3Dx", 400, "field label not supported: metadata.namespace"),
        (f"{PODS}?resourceVersionMatch=Exact", 422, "forbidden unless resourceVersion is provided"),
        (f"{PODS}?resourceVersionMatch=Exact&resourceVersion=0", 422, '"exact" is forbidden for resourceVersion "0"'),
        (f"{PODS}?resourceVersionMatch=Some&resourceVersion=1", 422, "Unsupported value"),
        (f"{PODS}?resourceVersionMatch=Exact&resourceVersion=1&continue=x", 422, "forbidden when continue is provided"),
        (f"{PODS}?sendInitialEvents=true", 422, "sendInitialEvents is forbidden for list"),
        (f"{PODS}?sendInitialEvents=false", 422, "sendInitialEvents is forbidden for list"),
        (f"{PODS}?resourceVersion=x", 400, "invalid resource version"),
        (f"{PODS}?limit=x", 400, "unable to decode query parameter"),
        (f"{PODS}?continue=x", 400, "continue key is not valid"),
        (f"{PODS}?includeObject=All", 400, "unrecognized includeObject"),
        (f"{PODS}?watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1", 422, "forbidden for watch unless"),
        (f"{PODS}?watch=1&sendInitialEvents=true", 422, "sendInitialEvents requires"),
        (f"{PODS}?watch=1&sendInitialEvents=true&resourceVersionMatch=Exact", 422, "sendInitialEvents requires"),
        ("/api/v1/namespaces/a/pods/nope", 404, 'pods "nope" not found'),
        ("/api/v1/widgets", 404, "could not find the requested resource"),
        ("/api/v1/namespaces/a/nodes", 404, "could not find the requested resource"),
    ],
)
def test_reads_that_cannot_be_served_are_answered_with_upstreams_status(
    api: Api, target: str, status: int, message: str
) -> None:
    answered, body = call(api, "GET", target)
    assert answered == status == body["code"]
    assert body["kind"] == "Status"
    assert message in body["message"]


def test_a_negative_limit_is_none(api: Api) -> None:
    assert len(call(api, "GET", f"{PODS}?limit=-1")[1]["items"]) == 6
