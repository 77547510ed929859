"""The options of a watch, row by row, for a caller who sees part of what there is.

What a filtered watch does is compared with what the API server's own does, filtered by namespace.
"""

import json
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.support.grants import grant, rule
from tests.support.identities import Identity
from tests.support.manifests import config_map
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.watching import WatchEvent, WatchStream

SEEN, HIDDEN = "options-seen", "options-hidden"
PATH = "/api/v1/configmaps"
ALICE = Identity(name="alice")
FUTURE = "999999999"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PROTOBUF = "application/vnd.kubernetes.protobuf"
END = "k8s.io/initial-events-end"

_changes = iter(range(10_000))


@pytest.fixture(scope="module")
def proxy(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    for space in (SEEN, HIDDEN):
        real_cluster.create_namespace(space)
        for name in ("a", "b"):
            real_cluster.create(config_map(name, space, data={}))
    policies = {"alice.yaml": grant("alice", rule("configmaps"), namespace=SEEN)}
    flags = ("--watch-bookmark-interval", "0.2")
    with ProxyProcess(real_cluster, tmp_path_factory.mktemp("options"), policies, flags=flags) as process:
        yield process
    for space in (SEEN, HIDDEN):
        for name in ("a", "b"):
            real_cluster.delete(config_map(name, space, data={}))
        real_cluster.delete_namespace(space)


@pytest.fixture
def alice(proxy: ProxyProcess) -> Iterator[httpx.Client]:
    with proxy.client(ALICE) as client:
        yield client


def rv_now(cluster: RealCluster) -> str:
    rv: str = cluster.admin.get(PATH, params={"limit": "1"}).json()["metadata"]["resourceVersion"]
    return rv


def change(cluster: RealCluster, name: str = "a", space: str = SEEN) -> str:
    """Changes an object; returns the value by which the change is known."""
    value = str(next(_changes))
    cluster.patch(config_map(name, space, data={}), {"data": {"change": value}})
    return value


def is_change(value: str) -> Any:
    return lambda event: event["object"].get("data", {}).get("change") == value


def is_bookmark(event: WatchEvent) -> bool:
    return bool(event["type"] == "BOOKMARK")


def ends_initial(event: WatchEvent) -> bool:
    return is_bookmark(event) and END in event["object"]["metadata"].get("annotations", {})


def events_of(answer: httpx.Response) -> list[WatchEvent]:
    return [json.loads(line) for line in answer.text.splitlines()]


WITH_STATE: list[dict[str, str]] = [
    {},
    {"resourceVersion": "0"},
    {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"},
    {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "0"},
    {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "N"},
]
WITHOUT_STATE: list[dict[str, str]] = [
    {"resourceVersion": "N"},
    {"sendInitialEvents": "false", "resourceVersionMatch": "NotOlderThan"},
    {"sendInitialEvents": "false", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "0"},
    {"sendInitialEvents": "false", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "N"},
]


def at(options: Mapping[str, str], rv: str) -> dict[str, str]:
    return {name: rv if value == "N" else value for name, value in options.items()}


@pytest.mark.parametrize("options", WITH_STATE, ids=str)
@pytest.mark.parametrize("asks_bookmarks", [True, False])
def test_a_watch_that_begins_with_the_state_shows_it_once_and_goes_on(
    alice: httpx.Client, real_cluster: RealCluster, options: dict[str, str], asks_bookmarks: bool
) -> None:
    """ADDED for each object in the order of storage, then the end bookmark if bookmarks are wanted, then what comes."""
    parameters = at(options, rv_now(real_cluster)) | ({"allowWatchBookmarks": "true"} if asks_bookmarks else {})
    with WatchStream(alice, PATH, parameters) as stream:
        if asks_bookmarks:
            stream.take_until(ends_initial)
        else:
            stream.take_until(lambda event: event["object"]["metadata"]["name"] == "b")
        *initial, last = list(stream.events) if asks_bookmarks else [*stream.events, None]
        change(real_cluster, space=HIDDEN)
        value = change(real_cluster)
        stream.take_until(is_change(value))
        if asks_bookmarks:
            stream.take_until(is_bookmark)
    assert [(each["type"], each["object"]["metadata"]["name"]) for each in initial] == [("ADDED", "a"), ("ADDED", "b")]
    assert [ends_initial(each) for each in stream.events].count(True) == (1 if asks_bookmarks else 0)
    assert any(map(is_bookmark, stream.events)) is asks_bookmarks
    assert {each["object"]["metadata"].get("namespace", SEEN) for each in stream.events} == {SEEN}
    if last:
        assert int(last["object"]["metadata"]["resourceVersion"]) >= int(parameters.get("resourceVersion", "0"))


@pytest.mark.parametrize("options", WITHOUT_STATE, ids=str)
@pytest.mark.parametrize("asks_bookmarks", [True, False])
def test_a_watch_that_begins_without_the_state_shows_what_comes(
    alice: httpx.Client, real_cluster: RealCluster, options: dict[str, str], asks_bookmarks: bool
) -> None:
    parameters = at(options, rv_now(real_cluster)) | ({"allowWatchBookmarks": "true"} if asks_bookmarks else {})
    with WatchStream(alice, PATH, parameters) as stream:
        change(real_cluster, space=HIDDEN)
        value = change(real_cluster)
        shown = [each for each in stream.take_until(is_change(value)) if not is_bookmark(each)]
    # At "0" the cache decides what now is, and what came a moment ago may be shown.
    assert len(shown) == 1 or options.get("resourceVersion") == "0"
    assert {each["type"] for each in shown} == {"MODIFIED"}
    assert not any(map(ends_initial, stream.events))
    assert asks_bookmarks or not any(map(is_bookmark, stream.events))


def test_a_watch_resumes_after_exactly_what_its_resource_version_has(
    alice: httpx.Client, real_cluster: RealCluster
) -> None:
    """Wherever a client was cut off, the rest of the events follows: none twice, none left out."""
    listed = alice.get(PATH).json()["metadata"]["resourceVersion"]
    values = [(change(real_cluster), change(real_cluster, space=HIDDEN))[0] for _ in range(5)]
    with WatchStream(alice, PATH, {"resourceVersion": listed}) as stream:
        events = stream.take_until(is_change(values[-1]))
    assert [each["object"]["data"]["change"] for each in events] == values
    for index, event in enumerate(events[:-1]):
        seen = event["object"]["metadata"]["resourceVersion"]
        with WatchStream(alice, PATH, {"resourceVersion": seen}) as stream:
            rest = stream.take_until(is_change(values[-1]))
        assert rest == events[index + 1 :]


def test_no_bookmark_is_ahead_of_an_event(alice: httpx.Client, real_cluster: RealCluster) -> None:
    """Who holds everything up to a bookmark gets the rest from its resourceVersion."""
    with WatchStream(alice, PATH, {"allowWatchBookmarks": "true"}) as stream:
        stream.take_until(ends_initial)
        for _ in range(4):
            for _ in range(5):
                change(real_cluster, space=HIDDEN)
                value = change(real_cluster)
            stream.take_until(is_change(value))
            stream.take_until(is_bookmark)
    highest = 0
    for event in stream.events[2:]:
        number = int(event["object"]["metadata"]["resourceVersion"])
        assert number > highest if not is_bookmark(event) else number >= highest
        highest = number


def test_a_bookmark_is_of_the_kind_that_is_watched_and_holds_a_resource_version_only(
    alice: httpx.Client, real_cluster: RealCluster
) -> None:
    for accept, kind in (("application/json", "ConfigMap"), (METADATA, "PartialObjectMetadata"), (TABLE, "Table")):
        with WatchStream(
            alice, PATH, {"allowWatchBookmarks": "true", "resourceVersion": rv_now(real_cluster)}, accept=accept
        ) as stream:
            bookmark = stream.take_until(is_bookmark)[-1]["object"]
        assert bookmark["kind"] == kind
        assert bookmark["metadata"].keys() == {"resourceVersion"}
        assert bookmark.keys() - {"kind", "apiVersion", "metadata"} <= {"columnDefinitions", "rows"}


def test_a_watch_ends_cleanly_at_its_timeout_with_a_last_bookmark(proxy: ProxyProcess, alice: httpx.Client) -> None:
    """Seen on the wire: the last chunk is there, so that no client takes the end for a broken connection."""
    answer = alice.get(PATH, params={"watch": "1", "timeoutSeconds": "1", "allowWatchBookmarks": "1"})
    assert is_bookmark(events_of(answer)[-1])
    context = proxy.cluster.pki.client_context(proxy.cluster.client_certificate(ALICE.name))
    plain = socket.create_connection(("127.0.0.1", proxy.port))
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        connection.settimeout(20)
        request = f"GET {PATH}?watch=1&timeoutSeconds=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.sendall(request.encode())
        received = b""
        while not received.endswith(b"\r\n0\r\n\r\n"):
            data = connection.recv(65536)
            assert data, received
            received += data
        head = received.split(b"\r\n\r\n", 1)[0].lower()
        assert head.startswith(b"http/1.1 200 ok\r\n")
        assert b"transfer-encoding: chunked" in head
        assert b"content-length" not in head
        connection.sendall(request.encode())  # and the connection is good for another request
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_head_of_a_quiet_watch_comes_at_once(alice: httpx.Client, real_cluster: RealCluster) -> None:
    with WatchStream(alice, PATH, {"resourceVersion": rv_now(real_cluster)}) as stream:
        assert stream.response.status_code == 200
        assert stream.response.headers["content-type"] == "application/json"
        assert stream.response.headers["cache-control"] == "no-cache, private"
        assert stream.events == []


def test_too_old_a_resource_version_is_one_error_event(alice: httpx.Client) -> None:
    """Upstream's own words; its cache is older than the proxy's here and has it all."""
    alice.get(PATH, params={"watch": "1", "timeoutSeconds": "1"})
    answer = alice.get(PATH, params={"watch": "1", "resourceVersion": "1"})
    assert answer.status_code == 200
    (event,) = events_of(answer)
    message = event["object"].pop("message")
    assert re.fullmatch(r"too old resource version: 1 \(\d+\)", message)
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    assert event == {"type": "ERROR", "object": status | {"reason": "Expired", "code": 410}}


def test_a_resource_version_of_the_future_has_expired(alice: httpx.Client, real_cluster: RealCluster) -> None:
    """Upstream is silent until it is reached: of a client that saw it before etcd was restored, for ever."""
    for rv in (FUTURE, str(int(rv_now(real_cluster)) + 1000)):
        (event,) = events_of(alice.get(PATH, params={"watch": "1", "resourceVersion": rv}))
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    change(real_cluster)


def test_initial_events_of_the_future_are_an_error_as_upstreams(alice: httpx.Client, real_cluster: RealCluster) -> None:
    asked = {"watch": "1", "sendInitialEvents": "1", "resourceVersionMatch": "NotOlderThan", "resourceVersion": FUTURE}
    ours, straight = (events_of(client.get(PATH, params=asked)) for client in (alice, real_cluster.admin))
    for event in (*ours, *straight):
        event["object"]["message"] = re.sub(r"current: \d+", "current: N", event["object"]["message"])
    assert ours == straight


@pytest.mark.parametrize(
    "options",
    [
        {"resourceVersionMatch": "NotOlderThan"},
        {"resourceVersionMatch": "Exact", "resourceVersion": "5"},
        {"resourceVersionMatch": "Exact", "sendInitialEvents": "true"},
        {"resourceVersionMatch": "Other", "sendInitialEvents": "true"},
        {"sendInitialEvents": "true"},
        {"sendInitialEvents": "false"},
        {"resourceVersionMatch": "NotOlderThan", "sendInitialEvents": "true", "continue": "x"},
        {"timeoutSeconds": "soon"},
        {"limit": "many"},
        {"labelSelector": "a in"},
        {"labelSelector": "=,"},
        {"fieldSelector": "spec.unknown=1"},
        {"fieldSelector": "metadata.name"},
        {"fieldSelector": "metadata.name=a,metadata.name=b"},
        {"fieldSelector": "metadata.name=\\x"},
        {"resourceVersion": "x", "labelSelector": "a in"},
    ],
    ids=str,
)
def test_what_is_wrong_with_the_options_is_said_as_upstream_does(
    proxy: ProxyProcess, alice: httpx.Client, real_cluster: RealCluster, options: dict[str, str]
) -> None:
    """In a namespace of the caller's own, so that no name in a selector makes it a 403."""
    path = f"/api/v1/namespaces/{SEEN}/configmaps"
    for verb in ({"watch": "1", "timeoutSeconds": "1"}, {}):
        ours, straight = (client.get(path, params=verb | options) for client in (alice, real_cluster.admin))
        assert ours.status_code == straight.status_code, verb
        if straight.is_error:
            assert ours.json() == straight.json(), verb


def test_a_resource_version_that_is_no_number_is_a_bad_request(alice: httpx.Client, real_cluster: RealCluster) -> None:
    """Upstream answers a watch with 500 here, which says nothing about whose fault it is."""
    for value in ("x", "-1", "18446744073709551616", "1.5"):
        ours = alice.get(PATH, params={"watch": "1", "resourceVersion": value})
        assert (ours.status_code, ours.json()["reason"]) == (400, "BadRequest")


def test_a_table_watch_names_its_columns_in_the_first_event_only(
    alice: httpx.Client, real_cluster: RealCluster
) -> None:
    for start in ({}, {"resourceVersion": rv_now(real_cluster)}):
        for include in ("None", "Metadata", "Object"):
            with WatchStream(alice, PATH, {**start, "includeObject": include}, accept=TABLE) as stream:
                if start:
                    change(real_cluster)
                    change(real_cluster, name="b")
                stream.take_until(lambda event: event["object"]["rows"][0]["cells"][0] == "b")
            events = [each["object"] for each in stream.events]
            assert [each["name"] for each in events[0]["columnDefinitions"]] == ["Name", "Data", "Age"]
            assert [each["columnDefinitions"] for each in events[1:]] == [None] * (len(events) - 1)
            for each in events:
                (row,) = each["rows"]
                match include:
                    case "None":
                        assert row["object"] is None
                    case "Metadata":
                        assert row["object"]["kind"] == "PartialObjectMetadata"
                        assert "data" not in row["object"]
                    case "Object":
                        assert row["object"]["kind"] == "ConfigMap"


def test_a_metadata_watch_shows_metadata_only(alice: httpx.Client, real_cluster: RealCluster) -> None:
    for version in ("v1", "v1beta1"):
        accept = METADATA.removesuffix("v1") + version
        with WatchStream(alice, PATH, {}, accept=accept) as stream:
            stream.take_until(lambda event: event["object"]["metadata"]["name"] == "b")
            change(real_cluster)
            rv = real_cluster.get(config_map("a", SEEN, data={}))["metadata"]["resourceVersion"]
            stream.take_until(lambda event, rv=rv: bool(event["object"]["metadata"]["resourceVersion"] == rv))
        assert {tuple(each["object"]) for each in stream.events} == {("kind", "apiVersion", "metadata")}
        assert {each["object"]["apiVersion"] for each in stream.events} == {f"meta.k8s.io/{version}"}


@pytest.mark.parametrize("verb", [{}, {"watch": "1", "timeoutSeconds": "1"}], ids=["list", "watch"])
def test_a_filtered_read_is_json_or_not_acceptable(alice: httpx.Client, verb: dict[str, str]) -> None:
    for accept in (f"{PROTOBUF},application/json", f"{PROTOBUF}, */*", f"{PROTOBUF};stream=watch,application/json"):
        answer = alice.get(PATH, params=verb, headers={"accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    for accept in (
        PROTOBUF,
        "application/yaml",
        "application/cbor",
        f"{METADATA.replace('application/json', PROTOBUF)}",
    ):
        answer = alice.get(PATH, params=verb, headers={"accept": accept})
        assert (answer.status_code, answer.json()["reason"]) == (406, "NotAcceptable")
        assert "application/json" in answer.json()["message"]
