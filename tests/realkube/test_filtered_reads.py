"""Filtered reads: for any scope and options, what a caller gets is what an independent filter leaves of admin's answer.

The filter here knows nothing of the proxy: it is a predicate over objects for each caller, written down beside the
policy that is to have that meaning.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.grants import grant, rule, scoped_grant
from tests.support.identities import Identity
from tests.support.manifests import Manifest, config_map, pod
from tests.support.polling import poll
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.samples import CRD_GROUP, PLANETS, WIDGETS, event, install, planet, secret, uninstall, widget
from tests.support.watching import WatchStream

RED, BLUE, GREEN = SPACES = ("reads-red", "reads-blue", "reads-green")
WIDE = rule("pods", "configmaps", "secrets", "events", "widgets", groups=("", CRD_GROUP))
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

See = Callable[[Manifest], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A user, the policy it has, and the same in other words: which objects it sees of which resources."""

    name: str
    policy: list[Manifest]
    sees: Mapping[str, See]

    def __str__(self) -> str:
        return self.name


def in_spaces(*spaces: str) -> See:
    return lambda item: item["metadata"].get("namespace") in spaces


def labelled(**labels: str) -> See:
    return lambda item: labels.items() <= item["metadata"].get("labels", {}).items()


def both(*predicates: See) -> See:
    return lambda item: all(predicate(item) for predicate in predicates)


def either(*predicates: See) -> See:
    return lambda item: any(predicate(item) for predicate in predicates)


def on_node(node: str) -> See:
    return lambda item: item["spec"].get("nodeName") == node


def named(*names: str) -> See:
    return lambda item: item["metadata"]["name"] in names


ALL_WIDE = ("pods", "configmaps", "secrets", "events", "widgets")

CALLERS = [
    Caller(
        name="alice",
        policy=[*grant("alice", WIDE, namespace=RED), *grant("alice", WIDE, rule("namespaces"), namespace=BLUE)],
        sees={**dict.fromkeys(ALL_WIDE, in_spaces(RED, BLUE)), "namespaces": named(BLUE)},
    ),
    Caller(
        name="lena",
        policy=scoped_grant(
            "lena",
            rule(
                "pods",
                "configmaps",
                "widgets",
                "planets",
                "namespaces",
                groups=("", CRD_GROUP),
                labelSelector={"matchLabels": {"tier": "front"}},
            ),
        ),
        sees=dict.fromkeys(("pods", "configmaps", "widgets", "planets", "namespaces"), labelled(tier="front")),
    ),
    Caller(
        name="node1",
        policy=scoped_grant("node1", rule("pods", fieldSelector="spec.nodeName=node1")),
        sees={"pods": on_node("node1")},
    ),
    Caller(
        name="gloria",
        policy=scoped_grant("gloria", WIDE, namespaces=["reads-*e*", "no-such"]),
        sees=dict.fromkeys(ALL_WIDE, in_spaces(RED, BLUE, GREEN)),
    ),
    Caller(
        name="selma",
        policy=scoped_grant("selma", WIDE, namespaceSelector={"matchLabels": {"shade": "cold"}}),
        sees=dict.fromkeys(ALL_WIDE, in_spaces(BLUE, GREEN)),
    ),
    Caller(
        name="nora",
        policy=grant(
            "nora", rule("pods", "configmaps", "planets", groups=("", CRD_GROUP), resourceNames=["front", "p1"])
        ),
        sees=dict.fromkeys(("pods", "configmaps", "planets"), named("front", "p1")),
    ),
    Caller(
        name="union",
        policy=[
            *grant("union", rule("pods", "widgets", groups=("", CRD_GROUP)), namespace=GREEN),
            *scoped_grant(
                "union",
                rule("pods", fieldSelector="spec.nodeName=node1,status.phase!=Failed"),
                rule(
                    "pods",
                    labelSelector={"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}]},
                ),
                rule("widgets", groups=(CRD_GROUP,), fieldSelector="spec.color=red"),
            ),
        ],
        sees={
            "pods": either(
                in_spaces(GREEN),
                on_node("node1"),
                lambda item: item["metadata"].get("labels", {}).get("tier") != "front",
            ),
            "widgets": either(in_spaces(GREEN), lambda item: item["spec"]["color"] == "red"),
        },
    ),
]

ROOTS = {
    "pods": "/api/v1",
    "configmaps": "/api/v1",
    "secrets": "/api/v1",
    "events": "/api/v1",
    "namespaces": "/api/v1",
    "widgets": f"/apis/{CRD_GROUP}/v1",
    "planets": f"/apis/{CRD_GROUP}/v1",
}
CLUSTER_SCOPED = ("namespaces", "planets")


def contents(space: str) -> Iterator[Manifest]:
    for tier, node in (("front", "node1"), ("back", "node2")):
        yield pod(tier, space, labels={"tier": tier}, node=node)
        yield pod(f"{tier}-other", space, labels={"tier": tier}, node="node1" if node == "node2" else "node2")
        yield config_map(tier, space, labels={"tier": tier}, data={"space": space})
        yield widget(tier, space, color="red" if tier == "front" else "blue", size=len(space), labels={"tier": tier})
    yield pod("bare", space)
    yield secret("password", space)
    yield event("event.1", space)
    yield event("event.2", space, reason="Killed")


@pytest.fixture(scope="module")
def proxy(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    for definition in (WIDGETS, PLANETS):
        install(real_cluster, definition)
    shades = {RED: "warm", BLUE: "cold", GREEN: "cold"}
    for space in SPACES:
        real_cluster.create_namespace(
            space, labels={"shade": shades[space], "tier": "front" if space == RED else "back"}
        )
        for manifest in contents(space):
            real_cluster.create(manifest)
    for name, labels in (("p1", {"tier": "front"}), ("p2", {})):
        whole = planet(name)
        real_cluster.create({**whole, "metadata": {"name": name, "labels": labels}})
    policies = {f"{caller.name}.yaml": caller.policy for caller in CALLERS}
    with ProxyProcess(real_cluster, tmp_path_factory.mktemp("reads"), policies) as process:
        yield process
    for definition in (WIDGETS, PLANETS):
        uninstall(real_cluster, definition)
    for space in SPACES:
        for tier in ("front", "back", "front-other", "back-other", "bare"):
            real_cluster.delete(pod(tier, space))
        real_cluster.delete_namespace(space)


@pytest.fixture(params=CALLERS, ids=str)
def caller(request: pytest.FixtureRequest) -> Caller:
    found: Caller = request.param
    return found


@pytest.fixture
def client(proxy: ProxyProcess, caller: Caller) -> Iterator[httpx.Client]:
    with proxy.client(Identity(name=caller.name)) as client:
        yield client


QUESTIONS: list[dict[str, str]] = [
    {},
    {"resourceVersion": "0"},
    {"labelSelector": "tier=front"},
    {"labelSelector": "tier!=front"},
    {"labelSelector": "tier in (back, front),tier notin (back)"},
    {"labelSelector": "!tier"},
    {"fieldSelector": "metadata.name=front"},
    {"fieldSelector": "metadata.name!=front"},
    {"fieldSelector": f"metadata.namespace={BLUE}"},
    {"fieldSelector": f"metadata.namespace={BLUE},metadata.name=back", "labelSelector": "tier"},
    {"fieldSelector": "metadata.name=no-such"},
]
OWN_QUESTIONS: dict[str, list[dict[str, str]]] = {
    "pods": [
        {"fieldSelector": "spec.nodeName=node2"},
        {"fieldSelector": "spec.host=node1"},
        {"fieldSelector": "spec.host!=node1,status.phase=Pending"},
        {"fieldSelector": "spec.nodeName="},
        {"fieldSelector": "status.podIP=,spec.restartPolicy=Always"},
        {"fieldSelector": "spec.hostNetwork=false"},
        {"fieldSelector": "spec.color=red"},
    ],
    "events": [{"fieldSelector": "reason=Killed"}, {"fieldSelector": "involvedObject.name=web,source=kubelet"}],
    "secrets": [{"fieldSelector": "type=Opaque"}, {"fieldSelector": "type!=Opaque"}],
    "namespaces": [{"fieldSelector": "status.phase=Active"}, {"fieldSelector": "spec.x=1"}],
    "widgets": [
        {"fieldSelector": "spec.color=red"},
        {"fieldSelector": "spec.size=10,spec.color!=red"},
        {"fieldSelector": "spec.unknown=1"},
    ],
    "planets": [{"fieldSelector": "spec.moons=1"}],
}


def paths(resource: str) -> list[str]:
    root = ROOTS[resource]
    if resource in CLUSTER_SCOPED:
        return [f"{root}/{resource}"]
    return [f"{root}/{resource}", *(f"{root}/namespaces/{space}/{resource}" for space in (RED, GREEN, "default"))]


def questions(resource: str, path: str) -> list[dict[str, str]]:
    """Of a namespace each once, of everything also from the cache."""
    asked = QUESTIONS + OWN_QUESTIONS.get(resource, [])
    return asked if "/namespaces/" in path else [*asked, *({**each, "resourceVersion": "0"} for each in asked if each)]


def whole(admin: httpx.Client, path: str) -> list[Manifest]:
    answer: list[Manifest] = admin.get(path).json()["items"]
    return answer


def test_a_list_is_what_the_filter_leaves_of_admins(
    client: httpx.Client, caller: Caller, real_cluster: RealCluster
) -> None:
    """Over all resources, places and selectors; errors of bad selectors are upstream's own."""
    compared, admin = 0, real_cluster.admin
    for resource, sees in caller.sees.items():
        for path, asked in [(place, asked) for place in paths(resource) for asked in questions(resource, place)]:
            expected = admin.get(path, params=asked)
            answer = client.get(path, params=asked)
            if answer.status_code == 403:
                # A name in the selector is the request's name, and then only what grants that name counts.
                full = expected.json().get("items", []) if "metadata.name=" in str(asked) else whole(admin, path)
                assert not any(sees(item) for item in full), (path, asked)
                continue
            assert answer.status_code == expected.status_code, (path, asked, answer.text)
            if answer.is_error:
                assert answer.json()["reason"] == expected.json()["reason"] == "BadRequest"
                assert answer.json()["message"] == expected.json()["message"]
                continue
            listed, full = answer.json(), expected.json()
            assert listed["items"] == [item for item in full["items"] if sees(item)], (path, asked)
            assert {**listed, "items": [], "metadata": {}} == {**full, "items": [], "metadata": {}}
            compared += 1
    assert compared > 20


def test_a_table_and_metadata_hold_the_same_objects(
    client: httpx.Client, caller: Caller, real_cluster: RealCluster
) -> None:
    metadata_list = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    for resource, sees in caller.sees.items():
        path = paths(resource)[0]
        visible = [item["metadata"] for item in whole(real_cluster.admin, path) if sees(item)]
        for include in ("None", "Metadata", "Object"):
            table = client.get(path, params={"includeObject": include}, headers={"accept": TABLE}).json()
            of_admin = real_cluster.admin.get(
                path, params={"includeObject": "Object"}, headers={"accept": TABLE}
            ).json()
            assert table["columnDefinitions"] == of_admin["columnDefinitions"]
            if resource != "events":  # their first column is an age
                assert [row["cells"][0] for row in table["rows"]] == [each["name"] for each in visible]
            shown = [row["object"] for row in table["rows"]]
            match include:
                case "None":
                    assert shown == [None] * len(visible)
                case "Metadata":
                    assert [each["metadata"] for each in shown] == visible
                    assert {tuple(each) for each in shown} == {("kind", "apiVersion", "metadata")}
                case "Object":
                    assert shown == [row["object"] for row in of_admin["rows"] if sees(row["object"])]
        listed = client.get(path, headers={"accept": metadata_list}).json()
        assert [each["metadata"] for each in listed["items"]] == visible


@pytest.mark.parametrize("selector", ["", "tier=front", "tier=none"])
@pytest.mark.parametrize("resource", ["pods", "configmaps"])
def test_a_list_that_a_person_reads_is_indented_as_upstream_does_it(
    proxy: ProxyProcess, real_cluster: RealCluster, resource: str, selector: str
) -> None:
    path = f"{ROOTS[resource]}/namespaces/{RED}/{resource}"
    asked = {"pretty": "true", "labelSelector": selector}
    with proxy.client(Identity(name="gloria")) as client:
        answers = [each.get(path, params=asked).content for each in (client, real_cluster.admin)]
    shown, expected = (re.sub(rb'"resourceVersion": "[0-9]+"', b'"resourceVersion": "N"', each) for each in answers)
    assert shown == expected
    assert shown.startswith(b"{\n  ")


def test_a_get_gives_the_object_or_hides_whether_there_is_one(
    client: httpx.Client, caller: Caller, real_cluster: RealCluster
) -> None:
    hidden = seen = 0
    for resource, sees in caller.sees.items():
        for item in whole(real_cluster.admin, paths(resource)[0]):
            metadata = item["metadata"]
            namespace, name = metadata.get("namespace"), metadata["name"]
            place = f"/namespaces/{namespace}" if namespace else ""
            path = f"{ROOTS[resource]}{place}/{resource}/{name}"
            answer = client.get(path)
            if sees(item):
                assert (answer.status_code, answer.content) == (200, real_cluster.admin.get(path).content), path
                seen += 1
            elif answer.status_code == 404:
                pytest.fail(f"{path}: a 404 for a name that is there")
            else:
                absent = client.get(f"{path}-absent")
                assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden"), path
                assert answer.text.replace(f'"{name}', '"N').replace(f'\\"{name}', '\\"N') == absent.text.replace(
                    f'"{name}-absent', '"N'
                ).replace(f'\\"{name}-absent', '\\"N')
                hidden += 1
    assert seen
    assert hidden


def test_a_watch_begins_with_what_a_list_shows(client: httpx.Client, caller: Caller, real_cluster: RealCluster) -> None:
    """And upstream's own watch with the same selectors, filtered, is the same one."""
    for resource, sees in caller.sees.items():
        for asked in [QUESTIONS[0], QUESTIONS[2], QUESTIONS[7], *OWN_QUESTIONS.get(resource, [])]:
            path = paths(resource)[0]
            expected = real_cluster.admin.get(path, params=asked)
            if expected.is_error:
                answer = client.get(path, params={**asked, "watch": "1"})
                assert (answer.status_code, answer.json()["message"]) == (400, expected.json()["message"])
                continue
            typed = {"kind": expected.json()["kind"].removesuffix("List"), "apiVersion": expected.json()["apiVersion"]}
            visible = [{**typed, **item} for item in expected.json()["items"] if sees(item)]
            with WatchStream(client, path, {**asked, "allowWatchBookmarks": "1"}) as stream:
                *initial, _end = stream.take_until(lambda each: each["type"] == "BOOKMARK")
            assert [each["type"] for each in initial] == ["ADDED"] * len(visible)
            assert [each["object"] for each in initial] == visible, (path, asked)


def test_a_namespace_that_changes_its_labels_moves_in_and_out_of_sight(
    proxy: ProxyProcess, real_cluster: RealCluster
) -> None:
    selma = Identity(name="selma")
    path = "/api/v1/configmaps"

    def places(client: httpx.Client) -> set[str]:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        return {item["metadata"]["namespace"] for item in answer.json()["items"]}

    with proxy.client(selma) as client:
        with WatchStream(client, path, {}) as stream:
            stream.take_until(lambda each: each["object"]["metadata"]["namespace"] == GREEN)
            real_cluster.patch({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RED}}, shade("cold"))
            assert stream.wait_ended() is None
            rv = stream.events[-1]["object"]["metadata"]["resourceVersion"]
        try:
            assert places(client) == set(SPACES)
            answer = client.get(path, params={"watch": "1", "resourceVersion": rv})
            assert [json.loads(line)["object"]["code"] for line in answer.text.splitlines()] == [410]
        finally:
            real_cluster.patch({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RED}}, shade("warm"))
        poll(lambda: places(client) == {BLUE, GREEN}, timeout_seconds=20, failure=lambda: str(places(client)))


def shade(value: str) -> Any:
    return {"metadata": {"labels": {"shade": value}}}
