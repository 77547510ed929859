"""Writes: metadata, conflicts, the status apart, namespaces that take their objects with them."""

from typing import Any

import pytest

from proxy.devserver.handlers import Api
from proxy.devserver.kinds import CONFIGMAPS
from tests.unit.devserver.calling import MERGE, call, new_api, pod

PODS = "/api/v1/namespaces/a/pods"
CONFIG_MAPS = "/api/v1/namespaces/a/configmaps"


@pytest.fixture
def api() -> Api:
    return new_api()


def create(api: Api, path: str, body: dict[str, Any]) -> dict[str, Any]:
    status, created = call(api, "POST", path, body)
    assert status == 201
    assert isinstance(created, dict)
    return created


def test_a_created_object_has_the_metadata_and_the_field_order_of_a_server(api: Api) -> None:
    created = create(api, PODS, {"spec": pod("p")["spec"], "metadata": {"labels": {"k": "v"}, "name": "p"}})
    assert list(created) == ["kind", "apiVersion", "metadata", "spec", "status"]
    assert list(created["metadata"]) == [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "labels",
    ]
    assert created["metadata"]["creationTimestamp"] == "2026-11-01T12:00:00Z"
    assert created["status"] == {"phase": "Pending"}


def test_a_taken_name_is_refused_and_a_name_of_the_past_comes_back_with_another_uid(api: Api) -> None:
    first = create(api, PODS, pod("p"))
    status, refused = call(api, "POST", PODS, pod("p"))
    assert (status, refused["reason"], refused["message"]) == (409, "AlreadyExists", 'pods "p" already exists')
    assert call(api, "DELETE", f"{PODS}/p")[0] == 200
    assert create(api, PODS, pod("p"))["metadata"]["uid"] != first["metadata"]["uid"]


def test_an_update_of_an_older_version_conflicts_and_changes_nothing(api: Api) -> None:
    created = create(api, CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"k": "1"}})
    newer = {**created, "data": {"k": "2"}}
    assert call(api, "PUT", f"{CONFIG_MAPS}/c", newer)[0] == 200
    status, refused = call(api, "PUT", f"{CONFIG_MAPS}/c", {**created, "data": {"k": "3"}})
    assert (status, refused["reason"]) == (409, "Conflict")
    assert refused["details"] == {"name": "c", "kind": "configmaps"}
    assert call(api, "GET", f"{CONFIG_MAPS}/c")[1]["data"] == {"k": "2"}


def test_an_update_that_changes_nothing_is_no_change(api: Api) -> None:
    created = create(api, CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"k": "1"}})
    assert call(api, "PUT", f"{CONFIG_MAPS}/c", created) == (200, created)
    assert call(api, "PATCH", f"{CONFIG_MAPS}/c", {"data": {"k": "1"}}, content_type=MERGE) == (200, created)


def test_the_status_is_written_by_its_subresource_alone(api: Api) -> None:
    created = create(api, PODS, {**pod("p"), "status": {"phase": "Running"}})
    assert created["status"]["phase"] == "Pending"
    call(
        api,
        "PATCH",
        f"{PODS}/p",
        {"status": {"phase": "Failed"}, "metadata": {"labels": {"k": "v"}}},
        content_type=MERGE,
    )
    both = {"status": {"phase": "Running"}, "spec": {"nodeName": "n"}, "metadata": {"labels": {"k": "other"}}}
    _, after = call(api, "PATCH", f"{PODS}/p/status", both, content_type=MERGE)
    assert after["status"]["phase"] == "Running"
    assert after["metadata"]["labels"] == {"k": "v"}
    assert "nodeName" not in after["spec"]


def test_a_dry_run_answers_and_stores_nothing(api: Api) -> None:
    before = api.storage.rv
    assert call(api, "POST", f"{PODS}?dryRun=All", pod("p"))[0] == 201
    assert api.storage.rv == before
    create(api, PODS, pod("p"))
    assert call(api, "DELETE", f"{PODS}/p?dryRun=All")[0] == 200
    assert call(api, "GET", f"{PODS}/p")[0] == 200


def test_an_absent_namespace_takes_no_objects(api: Api) -> None:
    status, refused = call(api, "POST", "/api/v1/namespaces/nope/pods", pod("p"))
    assert (status, refused["message"]) == (404, 'namespaces "nope" not found')


def test_a_deleted_namespace_takes_its_objects_with_it_and_no_others(api: Api) -> None:
    create(api, PODS, pod("p"))
    create(api, "/api/v1/namespaces/b/pods", pod("p"))
    assert call(api, "DELETE", "/api/v1/namespaces/a")[0] == 200
    left = call(api, "GET", "/api/v1/pods")[1]["items"]
    assert [item["metadata"]["namespace"] for item in left] == ["b"]


def test_a_delete_with_the_wrong_uid_or_version_is_refused(api: Api) -> None:
    created = create(api, PODS, pod("p"))
    for precondition in ({"uid": "other"}, {"resourceVersion": "1"}):
        status, refused = call(api, "DELETE", f"{PODS}/p", {"preconditions": precondition})
        assert (status, refused["reason"]) == (409, "Conflict")
    status, answer = call(api, "DELETE", f"{PODS}/p", {"preconditions": {"uid": created["metadata"]["uid"]}})
    assert (status, answer["status"], answer["details"]["uid"]) == (200, "Success", created["metadata"]["uid"])


def test_deletecollection_deletes_what_its_selectors_match(api: Api) -> None:
    create(api, PODS, pod("p", labels={"k": "v"}))
    create(api, PODS, pod("q"))
    _, deleted = call(api, "DELETE", f"{PODS}?labelSelector=k%3Dv")
    assert [item["metadata"]["name"] for item in deleted["items"]] == ["p"]
    assert [item["metadata"]["name"] for item in call(api, "GET", PODS)[1]["items"]] == ["q"]


def test_generated_names_are_distinct(api: Api) -> None:
    names = {create(api, PODS, {**pod(""), "metadata": {"generateName": "p-"}})["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("p-") and len(name) == 7 for name in names)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ({"metadata": {"name": "p"}, "kind": "Secret"}, "application/json", 400),
        ({"metadata": {"name": "p", "namespace": "b"}, "spec": pod("p")["spec"]}, "application/json", 400),
        ({"metadata": {}, "spec": pod("p")["spec"]}, "application/json", 400),
        ({"spec": pod("p")["spec"]}, "application/json", 400),
        ({"metadata": {"name": "p", "resourceVersion": "1"}, "spec": pod("p")["spec"]}, "application/json", 400),
        ({"metadata": {"name": "p"}}, "application/json", 422),
        (b"[]", "application/json", 400),
        (b"{", "application/json", 400),
        (b"k8s\x00", "application/vnd.kubernetes.protobuf", 415),
    ],
)
def test_a_body_that_is_no_such_object_is_refused(api: Api, body: object, content_type: str, status: int) -> None:
    before = api.storage.rv
    assert call(api, "POST", PODS, body, content_type=content_type)[0] == status
    assert api.storage.rv == before


def test_a_stored_version_never_changes_afterwards(api: Api) -> None:
    create(api, CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"k": "1"}})
    stored = api.storage.get(CONFIGMAPS.gvr, ("a", "c"))
    assert stored is not None
    raw = stored.raw
    patch = [{"op": "add", "path": "/data/k", "value": "2"}]
    call(api, "PATCH", f"{CONFIG_MAPS}/c", patch, content_type="application/json-patch+json")
    assert stored.body["data"] == {"k": "1"}
    assert stored.raw == raw
