"""Attempts to see what is hidden, through the proxy on a real API server; none may work.

alice reads configmaps in namespace `open`, carol those labelled `visible=yes` wherever they are. Hidden objects carry
the word SECRET, so that an answer which shows any part of one is found whatever its form.
"""

import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import pytest
import yaml

from tests.support.grants import EVERYTHING, grant, rule, scoped_grant
from tests.support.identities import Identity
from tests.support.manifests import Manifest, config_map
from tests.support.polling import poll
from tests.support.proxy_process import ProxyProcess
from tests.support.raw_client import RawClient, RawResponse, request_bytes
from tests.support.realkube import RealCluster

ROOT = Identity(name="root")
ALICE = Identity(name="alice")
CAROL = Identity(name="carol")
NOBODY = Identity(name="nobody")
OPEN, CLOSED = "bypass-open", "bypass-closed"
VISIBLE = {"visible": "yes"}
SECRET = b"SECRET"
ALL = "/api/v1/configmaps"
REFUSED_SECONDS = 2.0  # a timer may fire a moment before the clock is there
UNIQUE = {"date", "audit-id"}

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PROTOBUF = "application/vnd.kubernetes.protobuf"


def policies(*more: Manifest) -> dict[str, list[Manifest]]:
    """Who may do what, by file."""
    readers = [
        *grant("root", *EVERYTHING),
        *grant("alice", rule("configmaps"), namespace=OPEN),
        *scoped_grant("carol", rule("configmaps", labelSelector={"matchLabels": VISIBLE})),
    ]
    return {"readers.yaml": readers, "more.yaml": list(more) or grant("nobody", rule("nodes"))}


@dataclass(frozen=True, slots=True)
class Attack:
    """The proxy, and raw connections to it."""

    cluster: RealCluster
    proxy: ProxyProcess
    contexts: dict[Identity | None, ssl.SSLContext] = field(default_factory=dict)

    def connect(self, identity: Identity, *, receive_buffer_bytes: int | None = None) -> RawClient:
        if identity not in self.contexts:
            certificate = self.cluster.client_certificate(identity.name)
            self.contexts[identity] = self.cluster.pki.client_context(certificate)
        return RawClient(self.proxy.port, self.contexts[identity], receive_buffer_bytes=receive_buffer_bytes)

    def ask(self, identity: Identity, target: str, *, accept: str = "", **headers: str) -> RawResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if accept:
            sent["Accept"] = accept
        with self.connect(identity) as client:
            return client.request(target, headers=sent)


def secret_map(name: str, namespace: str, *, visible: bool) -> Manifest:
    """A configmap that shows in its name, labels, annotations and data whether somebody saw it."""
    word = "plain" if visible else SECRET.decode()
    made = config_map(name, namespace, labels=VISIBLE if visible else {"visible": "no", "word": word}, data={"w": word})
    made["metadata"]["annotations"] = {"word": word}
    return made


@pytest.fixture(scope="module")
def attack(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attack]:
    """In each namespace 12 configmaps, of which carol may see every third, and alice those in `open`."""
    for namespace in (OPEN, CLOSED):
        real_cluster.create_namespace(namespace)
        for number in range(12):
            visible = number % 3 == 0 or namespace == OPEN
            made = secret_map(f"map-{number:02}", namespace, visible=visible)
            if number % 3:
                made["metadata"]["labels"]["visible"] = "no"
            real_cluster.create(made)
    directory = tmp_path_factory.mktemp("bypasses")
    with ProxyProcess(real_cluster, directory, policies(), flags=["--watch-bookmark-interval", "0.2"]) as proxy:
        yield Attack(real_cluster, proxy)
    for namespace in (OPEN, CLOSED):
        real_cluster.delete_namespace(namespace)


def names(listed: dict[str, Any]) -> list[str]:
    """namespace/name of the items or rows of a list."""
    objects = listed.get("items") or [row["object"] for row in listed.get("rows") or [] if row["object"]]
    return [f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in objects]


def may_see(identity: Identity) -> list[str]:
    """What each may see of all, in order."""
    if identity is ALICE:
        return [f"{OPEN}/map-{number:02}" for number in range(12)]
    return [f"{namespace}/map-{number:02}" for namespace in (CLOSED, OPEN) for number in range(0, 12, 3)]


def walk(attack: Attack, identity: Identity, query: str, limit: int) -> list[list[str]]:
    """The pages of a list."""
    pages, token = [], ""
    while True:
        page = attack.ask(identity, f"{ALL}?limit={limit}{query}{token}")
        assert page.status == 200, page.body
        assert SECRET not in page.body
        assert "remainingItemCount" not in page.json["metadata"]
        pages.append(names(page.json))
        if not page.json["metadata"].get("continue"):
            return pages
        token = f"&continue={page.json['metadata']['continue']}"


READERS = pytest.mark.parametrize("identity", [ALICE, CAROL], ids=lambda each: each.name)


@READERS
@pytest.mark.parametrize(
    "query",
    [
        "",
        "resourceVersion=0",
        "resourceVersion=1&resourceVersionMatch=NotOlderThan",
        "labelSelector=",
        "labelSelector=visible",
        "labelSelector=visible%20in%20(yes,no)",
        "fieldSelector=",
        "fieldSelector=metadata.name!%3Dx",
        "limit=500",
        "limit=-1",
        "limit=9223372036854775807",
        "limit=0&resourceVersion=0&resourceVersionMatch=NotOlderThan",
        "limit=3&resourceVersion=0",
        "pretty=1",
        "timeout=1s",
        "unknown=1",
        "Limit=1&LabelSelector=x",
        "includeUninitialized=true&export=true&exact=true",
        "shardSelector=x",
        "sendInitialEvents",
        "allowWatchBookmarks=1",
    ],
)
@pytest.mark.parametrize("accept", [TABLE, METADATA_LIST, f"{PROTOBUF},application/json;q=0.1,text/html"])
def test_no_option_of_a_list_shows_what_is_hidden(attack: Attack, identity: Identity, query: str, accept: str) -> None:
    response = attack.ask(identity, f"{ALL}?{query}", accept=accept)
    assert SECRET not in response.body
    if response.status == 200:
        assert set(names(response.json)) <= set(may_see(identity))
        assert "remainingItemCount" not in response.json["metadata"]
    else:
        assert (query, response.status) == ("sendInitialEvents", 422)


@READERS
@pytest.mark.parametrize(
    "query",
    [
        f"fieldSelector=metadata.namespace%3D{CLOSED}",
        "fieldSelector=metadata.name%3Dmap-01",
        f"fieldSelector=metadata.name%3Dmap-01,metadata.namespace%3D{CLOSED}",
        "fieldSelector=metadata.name%3Dmap-01,metadata.name%3Dmap-00",
        "labelSelector=word",
        "labelSelector=word%3DSECRET",
        "labelSelector=visible%3Dno",
    ],
)
@pytest.mark.parametrize("watch", ["", "&watch=1&timeoutSeconds=1", "&limit=1"])
def test_selectors_only_ever_narrow(attack: Attack, identity: Identity, query: str, watch: str) -> None:
    """A namespace in a selector is no namespace in authorization, and a hidden name matches nothing."""
    response = attack.ask(identity, f"{ALL}?{query}{watch}")
    assert response.status == 200
    assert SECRET not in response.body
    if not watch:
        assert set(names(response.json)) <= set(may_see(identity))


@pytest.mark.parametrize("include_object", ["None", "Metadata", "Object", ""])
def test_a_table_has_rows_for_what_is_visible_only(attack: Attack, include_object: str) -> None:
    """Also where rows carry no object to look at."""
    response = attack.ask(CAROL, f"{ALL}?includeObject={include_object}", accept=TABLE)
    rows = response.json["rows"]
    assert [row["cells"][0] for row in rows] == [name.split("/")[1] for name in may_see(CAROL)]
    assert SECRET not in response.body


@READERS
@pytest.mark.parametrize("limit", [1, 2, 5, 12])
def test_pages_hold_exactly_what_is_visible(attack: Attack, identity: Identity, limit: int) -> None:
    """And they are full: their sizes do not tell how many hidden objects lie between."""
    pages = walk(attack, identity, "", limit)
    assert list(chain(*pages)) == may_see(identity)
    assert all(len(page) == limit for page in pages[:-1])


@READERS
@pytest.mark.parametrize("resource_version_match", ["", "&resourceVersionMatch=Exact"])
def test_lists_at_an_exact_resource_version_are_filtered(
    attack: Attack, identity: Identity, resource_version_match: str
) -> None:
    rv = attack.ask(ROOT, ALL).json["metadata"]["resourceVersion"]
    pages = walk(attack, identity, f"&resourceVersion={rv}{resource_version_match}", 500)
    assert list(chain(*pages)) == may_see(identity)


def test_a_continue_token_is_good_for_its_caller_and_its_request_only(attack: Attack) -> None:
    carols = attack.ask(CAROL, f"{ALL}?limit=1").json["metadata"]["continue"]
    alices = attack.ask(ALICE, f"{ALL}?limit=1").json["metadata"]["continue"]
    roots = attack.ask(ROOT, f"{ALL}?limit=1").json["metadata"]["continue"]
    upstream = base64.urlsafe_b64encode(
        json.dumps({"v": "meta.k8s.io/v1", "rv": 1, "start": f"{CLOSED}/map-00\0"}).encode()
    ).decode()
    flipped = carols[:-2] + ("A" if carols[-2] != "A" else "B") + carols[-1]
    attempts = [
        (ALICE, ALL, carols),
        (CAROL, ALL, alices),
        (ALICE, ALL, roots),
        (CAROL, ALL, upstream.rstrip("=")),
        (CAROL, ALL, flipped),
        (CAROL, ALL, carols[:-8]),
        (CAROL, ALL, carols * 2),
        (CAROL, ALL, "x" * 4096),
        (CAROL, f"/api/v1/namespaces/{OPEN}/configmaps", carols),
        (CAROL, f"{ALL}?labelSelector=visible", carols),
        (CAROL, f"{ALL}?fieldSelector=metadata.name!%3Dx", carols),
        (ALICE, f"/api/v1/namespaces/{CLOSED}/configmaps", alices),
    ]
    for identity, path, token in attempts:
        separator = "&" if "?" in path else "?"
        response = attack.ask(identity, f"{path}{separator}limit=1&continue={token}")
        assert response.status in (400, 403, 410), (identity.name, path, response.body)  # 410: list again
        assert SECRET not in response.body


def test_a_token_tells_nothing_to_who_reads_it(attack: Attack) -> None:
    token = attack.ask(CAROL, f"{ALL}?limit=1").json["metadata"]["continue"]
    opened = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for word in (b"map-", b"bypass", b"meta.k8s.io", b"rv"):
        assert word not in opened


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "?resourceVersion=0",
        "?resourceVersion=1",
        "?pretty=1",
        "?watch=1",
        "?timeout=nonsense",
        "?includeObject=Object",
    ],
)
@pytest.mark.parametrize("accept", ["", TABLE, METADATA, PROTOBUF])
def test_a_hidden_object_and_an_absent_one_cannot_be_told_apart(attack: Attack, parameters: str, accept: str) -> None:
    """Status, headers, their order, the body: all the same but for the name that was asked for."""

    def facts(name: str) -> tuple[int, list[tuple[str, str]], bytes]:
        target = f"/api/v1/namespaces/{CLOSED}/configmaps/{name}{parameters}"
        response = attack.ask(CAROL, target, accept=accept)
        headers = [(key, value) for key, value in response.headers if key not in UNIQUE]
        return response.status, headers, response.body.replace(name.encode(), b"NAME")

    assert facts("map-01") == facts("map-99")
    assert facts("map-01")[0] in (400, 403, 406)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "POST"])
def test_other_methods_tell_as_little(attack: Attack, method: str) -> None:
    def facts(name: str) -> tuple[int, list[tuple[str, str]], bytes]:
        with attack.connect(CAROL) as client:
            response = client.request(f"/api/v1/namespaces/{CLOSED}/configmaps/{name}", method=method)
        headers = [(key, value) for key, value in response.headers if key not in UNIQUE]
        return response.status, headers, response.body.replace(name.encode(), b"NAME")

    assert facts("map-01") == facts("map-99")
    assert facts("map-01")[0] in (403, 405)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (PROTOBUF, 406),
        ("application/yaml", 406),
        ("application/cbor", 406),
        ("application/json;as=Table;v=v2;g=meta.k8s.io", 406),
        ("*/*;q=0", 200),
        ("application/json;q=0", 200),
        (f"{PROTOBUF};q=1,application/json;q=0.1", 200),
        ("," * 2000, 406),
        (", ".join(f"application/x{number}" for number in range(1000)), 406),
        ("application/json;" * 500, 200),
    ],
)
@pytest.mark.parametrize("watch", ["", "?watch=1&timeoutSeconds=1"])
def test_no_media_type_passes_by_the_filter(attack: Attack, accept: str, status: int, watch: str) -> None:
    response = attack.ask(CAROL, ALL + watch, accept=accept)
    assert response.status == status
    assert SECRET not in response.body


@READERS
@pytest.mark.parametrize(
    "query",
    [
        "",
        "resourceVersion=0",
        "resourceVersionMatch=NotOlderThan&sendInitialEvents=true&allowWatchBookmarks=true",
        "resourceVersion=0&resourceVersionMatch=NotOlderThan&sendInitialEvents=1",
        "resourceVersion=0&resourceVersionMatch=NotOlderThan&sendInitialEvents=false",
        "resourceVersion=1",
        "limit=1",
        "timeout=nonsense",
    ],
)
@pytest.mark.parametrize("accept", ["", TABLE, METADATA])
def test_no_option_of_a_watch_shows_what_is_hidden(attack: Attack, identity: Identity, query: str, accept: str) -> None:
    response = attack.ask(identity, f"{ALL}?watch=1&timeoutSeconds=1&{query}", accept=accept)
    assert response.status == 200, response.body
    assert SECRET not in response.body
    for line in response.body.splitlines():
        event = json.loads(line)
        if event["type"] == "ADDED" and not accept:
            assert names({"items": [event["object"]]})[0] in may_see(identity)


@pytest.mark.parametrize("seconds", ["9223372036854775807", "-1", "0", "99999999999999"])
def test_a_watch_may_not_be_asked_to_break_the_clock(attack: Attack, seconds: str) -> None:
    with attack.connect(CAROL) as client:
        client.send(request_bytes(f"{ALL}?watch=1&timeoutSeconds={seconds}"))
        status, _ = client.read_head()
        assert status == 200
        assert b'"ADDED"' in client.read_chunk()


def test_an_object_that_becomes_hidden_leaves_without_its_new_content(attack: Attack) -> None:
    made = attack.cluster.create(secret_map("leaving", CLOSED, visible=True))
    with attack.connect(CAROL) as client:
        rv = attack.ask(CAROL, ALL).json["metadata"]["resourceVersion"]
        client.send(request_bytes(f"{ALL}?watch=1&resourceVersion={rv}&timeoutSeconds=20"))
        client.read_head()
        hidden = attack.cluster.patch(
            made,
            {"metadata": {"labels": {"visible": "no"}, "annotations": {"word": "SECRET"}}, "data": {"w": "SECRET"}},
        )
        attack.cluster.patch(made, {"data": {"w": "SECRET again"}})
        event = json.loads(client.read_chunk())
        assert event["type"] == "DELETED"
        assert event["object"]["data"] == {"w": "plain"}
        assert event["object"]["metadata"]["resourceVersion"] == hidden["metadata"]["resourceVersion"]
        attack.cluster.delete(made)
        attack.cluster.create(secret_map("marker", CLOSED, visible=True))
        following = json.loads(client.read_chunk())
        assert (following["type"], following["object"]["metadata"]["name"]) == ("ADDED", "marker")
    attack.cluster.delete(secret_map("marker", CLOSED, visible=True))


def test_an_object_that_comes_back_under_its_name_is_another(attack: Attack) -> None:
    """Deleted and made again, first hidden and then visible: what is between is not seen, and nothing is a change."""
    first = attack.cluster.create(secret_map("again", CLOSED, visible=True))
    with attack.connect(CAROL) as client:
        rv = attack.ask(CAROL, ALL).json["metadata"]["resourceVersion"]
        client.send(request_bytes(f"{ALL}?watch=1&resourceVersion={rv}&timeoutSeconds=20"))
        client.read_head()
        attack.cluster.delete(first)
        attack.cluster.delete(attack.cluster.create(secret_map("again", CLOSED, visible=False)))
        last = attack.cluster.create(secret_map("again", CLOSED, visible=True))
        events = [json.loads(client.read_chunk()) for _ in range(2)]
    attack.cluster.delete(last)
    uids = [(event["type"], event["object"]["metadata"]["uid"]) for event in events]
    assert uids == [("DELETED", first["metadata"]["uid"]), ("ADDED", last["metadata"]["uid"])]


def test_upstream_only_ever_sees_the_proxy_reading(attack: Attack) -> None:
    """Whatever headers about identity a caller sends, no read is done in another name, or in a name at all."""
    before = len(attack.cluster.audit_events())
    tricks = {
        "X-Remote-User": "admin",
        "X_Remote_User": "admin",
        "X-Remote-Group": "system:masters",
        "X-Remote-Extra-Scopes": "all",
        "Connection": "X-Remote-User, Authorization, Host, User-Agent",
        "Authorization": "Bearer admin-token",
        "Forwarded": "for=127.0.0.1",
        "User-Agent": "bypass-attempt",
    }
    targets = (ALL, f"{ALL}?limit=1", f"{ALL}?watch=1&timeoutSeconds=1", f"/api/v1/namespaces/{OPEN}/configmaps/map-00")
    for identity in (ROOT, ALICE, CAROL):
        for target in (*targets, "/version", "/api"):
            attack.ask(identity, target, **tricks)
            attack.ask(identity, target, accept=PROTOBUF, **tricks)
    events = [each for each in attack.cluster.audit_events()[before:] if each["user"]["username"] != "system:apiserver"]
    through_proxy = [each for each in events if each.get("userAgent", "").startswith(("watchkeeper", "bypass"))]
    assert through_proxy
    for event in through_proxy:
        assert event["user"]["username"] == "watchkeeper"
        assert "impersonatedUser" not in event


# --- revocation ---


@pytest.fixture
def granted(attack: Attack) -> Iterator[Attack]:
    """`nobody` may see all configmaps, until the test takes that away again."""
    attack.proxy.write_policies(policies(*grant("nobody", rule("configmaps"))))
    yield attack
    if list(yaml.safe_load_all((attack.proxy.policies / "more.yaml").read_text())) != policies()["more.yaml"]:
        revoke(attack)


def revoke(attack: Attack) -> None:
    """Returns when `nobody` may see nothing any more."""
    attack.proxy.write_policies(policies())


@pytest.mark.parametrize("accept", ["application/json", TABLE, METADATA, PROTOBUF])
def test_a_stream_ends_with_the_permission(granted: Attack, accept: str) -> None:
    """In every form, also those that are relayed; and nothing that happens afterwards is on it."""
    with granted.connect(NOBODY) as client:
        client.send(request_bytes(f"{ALL}?watch=1", headers={"Accept": accept}))
        status, _ = client.read_head()
        assert status == 200
        client.read_chunk()
        revoke(granted)
        granted.cluster.create(config_map("after-the-revocation", OPEN, data={}))
        rest = b"".join(iter(client.read_chunk, b""))
        granted.cluster.delete(config_map("after-the-revocation", OPEN, data={}))
        assert b"after-the-revocation" not in rest
        assert granted.ask(NOBODY, ALL).status == 403


@pytest.fixture
def bulk(attack: Attack) -> Iterator[int]:
    """More in `open` than the sockets between a server and a client hold; its size in bytes."""
    objects = [config_map(f"bulk-{number:02}", OPEN, data={"x": "y" * 900_000}) for number in range(24)]
    for each in objects:
        attack.cluster.create(each)
    yield 24 * 900_000
    for each in objects:
        attack.cluster.delete(each)


@pytest.mark.parametrize("query", ["", "?watch=1", "?limit=500"])
@pytest.mark.parametrize("accept", ["application/json", TABLE + ",application/json", PROTOBUF])
def test_an_answer_that_is_read_slowly_stops_with_the_permission(
    granted: Attack, bulk: int, query: str, accept: str
) -> None:
    """What the sockets held already cannot be called back; the rest is never written, and the end is no clean one."""
    separator = "&" if query else "?"
    target = ALL + query + (f"{separator}includeObject=Object" if "Table" in accept else "")
    with granted.connect(NOBODY, receive_buffer_bytes=4096) as client:
        client.send(request_bytes(target, headers={"Accept": accept}))
        client.read_head()
        revoke(granted)
        rest = client.read_until_closed()
        assert len(rest) < bulk * 0.75
        assert not rest.endswith(b"\r\n0\r\n\r\n")


def test_a_watch_may_not_resume_over_a_revocation(granted: Attack) -> None:
    """What was seen under another scope would stay as a ghost: the client is told to list again."""
    rv = granted.ask(NOBODY, ALL).json["metadata"]["resourceVersion"]
    granted.proxy.write_policies(policies(*grant("nobody", rule("configmaps"), namespace=OPEN)))
    response = granted.ask(NOBODY, f"{ALL}?watch=1&timeoutSeconds=1&resourceVersion={rv}")
    assert json.loads(response.body)["object"]["code"] == 410


def test_a_watch_at_the_resource_version_of_another_is_filtered(attack: Attack) -> None:
    """A resourceVersion is no secret and no permission."""
    rv = attack.ask(ROOT, ALL).json["metadata"]["resourceVersion"]
    made = attack.cluster.create(secret_map("hidden-later", CLOSED, visible=False))
    response = attack.ask(CAROL, f"{ALL}?watch=1&timeoutSeconds=1&resourceVersion={rv}")
    attack.cluster.delete(made)
    assert SECRET not in response.body
    assert b"hidden-later" not in response.body


def test_a_stream_ends_with_the_certificate_it_was_opened_with(attack: Attack) -> None:
    """The stream would go on for half an hour: its clean end is the certificate's. Connections outlive it in vain."""
    ends_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5)
    certificate = attack.cluster.pki.client("alice", not_after=ends_at)
    context = attack.cluster.pki.client_context(certificate)
    with RawClient(attack.proxy.port, context) as client, RawClient(attack.proxy.port, context) as second:
        client.send(request_bytes(f"{ALL}?watch=1"))
        assert client.read_head()[0] == 200
        while client.read_chunk():
            pass
        poll(
            lambda: second.request(ALL).status == 401,
            timeout_seconds=REFUSED_SECONDS,
            failure=lambda: "the expired certificate still opens doors",
        )


def test_streams_of_many_end_together(granted: Attack) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(granted.connect(NOBODY)) for _ in range(30)]
        for client in clients:
            client.send(request_bytes(f"/api/v1/namespaces/{OPEN}/configmaps?watch=1"))
            client.read_head()
        revoke(granted)
        for client in clients:
            while client.read_chunk():
                pass
