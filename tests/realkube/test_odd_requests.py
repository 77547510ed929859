"""Odd requests with the proxy and without: whatever kube-apiserver makes of one, the proxy makes the same, or refuses.

The API server holds the same RBAC objects as the proxy, which serves `--list-mode strict`, and each request is sent
byte by byte to both.
"""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.binaries import Binaries
from tests.support.grants import EVERYTHING, RBAC, Rule, grant, rule
from tests.support.identities import TOKEN_USERS, Identity
from tests.support.manifests import Manifest, config_map, pod
from tests.support.pki import Certificate, Pki
from tests.support.proxy_process import ProxyProcess
from tests.support.raw_client import RawClient, RawResponse, request_bytes
from tests.support.realkube import PROXY_RULES, RealCluster

SPACE = "odd"
CORE = f"/api/v1/namespaces/{SPACE}"
MAPS = f"{CORE}/configmaps"
PODS = f"{CORE}/pods"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

ROOT = Identity(name="root")
PROXY_MAY = [
    *PROXY_RULES,
    {"apiGroups": [""], "resources": ["users", "groups"], "verbs": ["impersonate"]},
    {"apiGroups": ["authentication.k8s.io"], "resources": ["*"], "verbs": ["impersonate"]},
]
IN_SPACE: dict[str, list[Rule]] = {
    "watcher": [rule("pods", verbs=["watch"])],
    "getter": [rule("pods", verbs=["get"])],
    "named": [rule("configmaps", verbs=["get", "list", "watch", "deletecollection"], resourceNames=["seen"])],
    "whole": [rule("pods", verbs=["*"])],
    "deleter": [rule("pods", verbs=["delete"])],
    "starred": [rule("*/log", "*/status", verbs=["get"])],
}
EVERYWHERE: dict[str, list[Rule]] = {
    "root": list(EVERYTHING),
    "paths": [{"nonResourceURLs": ["/metrics", "/debug/*"], "verbs": ["get"]}],
}
OF_ALL: list[Rule] = [
    {"nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/openapi", "/openapi/*"], "verbs": ["get"]},
    rule("selfsubjectaccessreviews", groups=["authorization.k8s.io"], verbs=["create"]),
    rule("selfsubjectreviews", groups=["authentication.k8s.io"], verbs=["create"]),
]
"""What every authenticated user of a cluster may do."""


ROBOT: Manifest = {
    "apiVersion": f"{RBAC}/v1",
    "kind": "RoleBinding",
    "metadata": {"name": "robot", "namespace": SPACE},
    "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "reads"},
    "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": SPACE}],
}


def policies() -> dict[str, list[Manifest]]:
    role, binding = grant("everybody", *OF_ALL)
    everybody = [role, {**binding, "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": "system:authenticated"}]}]
    users = [
        *(grant(name, *rules, namespace=SPACE) for name, rules in IN_SPACE.items()),
        *(grant(name, *rules) for name, rules in EVERYWHERE.items()),
    ]
    reads = grant("reads", rule("pods", verbs=["get"]), namespace=SPACE)[0]
    reads["metadata"]["name"] = "reads"
    return {"odd.yaml": [*everybody, reads, ROBOT, *(each for granted in users for each in granted)]}


@dataclass(frozen=True, slots=True)
class Sides:
    """The API server and the proxy before it."""

    cluster: RealCluster
    proxy: ProxyProcess
    contexts: dict[str | None, ssl.SSLContext] = field(default_factory=dict)

    def context(self, user: str | None) -> ssl.SSLContext:
        if user not in self.contexts:
            certificate = None if user is None else self.cluster.client_certificate(user)
            self.contexts[user] = self.cluster.pki.client_context(certificate)
        return self.contexts[user]

    def ask(self, user: str | None, sent: bytes, *, method: str = "GET") -> tuple[RawResponse, RawResponse]:
        """What the API server answers and what the proxy answers."""
        straight, through = (
            _answer(port, self.context(user), sent, method)
            for port in (urlsplit(self.cluster.url).port or 443, self.proxy.port)
        )
        return straight, through


def _answer(port: int, context: ssl.SSLContext, sent: bytes, method: str) -> RawResponse:
    with RawClient(port, context) as client:
        client.send(sent)
        return client.read_response(method=method)


@pytest.fixture(scope="module")
def sides(real_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    directory = tmp_path_factory.mktemp("odd")
    flags = ["--anonymous-auth=false"]
    with RealCluster(directory, real_binaries, token_users=TOKEN_USERS, extra_flags=flags) as cluster:
        cluster.create_namespace(SPACE)
        for name in ("seen", "unseen"):
            cluster.create(config_map(name, SPACE, data={}))
        cluster.create(pod("web", SPACE))
        cluster.grant(cluster.proxy_identity, PROXY_MAY)
        cluster.create(ROBOT)
        cluster.grant(Identity(name="reads"), [rule("pods", verbs=["get"])], namespace=SPACE)  # and its role
        for name, rules in IN_SPACE.items():
            cluster.grant(Identity(name=name), rules, namespace=SPACE)
        for name, rules in EVERYWHERE.items():
            cluster.grant(Identity(name=name), rules)
        flags = ["--list-mode", "strict"]
        with ProxyProcess(cluster, directory / "proxy", policies(), flags=flags, tokens=TOKEN_USERS) as proxy:
            yield Sides(cluster, proxy)


def said(response: RawResponse) -> tuple[int, str]:
    """Status and, of a refusal, its reason."""
    body = response.json if response.status >= 400 and response.body.startswith(b"{") else {}
    return response.status, body.get("reason", "")


# --- what a path, a parameter or a method asks for ---


@pytest.mark.parametrize(
    ("user", "method", "target", "status"),
    [
        ("watcher", "GET", f"{PODS}/web?watch=1", 403),
        ("watcher", "GET", f"{PODS}?watch=0", 403),
        ("watcher", "GET", f"{PODS}?Watch=1", 403),
        ("getter", "GET", f"{PODS}/web?watch=1", 200),
        ("getter", "GET", f"{PODS}/web?watch", 200),
        ("getter", "GET", f"{PODS}?watch=1", 403),
        ("getter", "GET", f"{PODS}?fieldSelector=metadata.name%3Dweb", 403),
        ("getter", "GET", PODS, 403),
        ("getter", "GET", "/api/v1/pods", 403),
        ("named", "GET", MAPS, 403),
        ("named", "GET", f"{MAPS}/seen", 200),
        ("named", "GET", f"{MAPS}/unseen", 403),
        ("named", "GET", f"{MAPS}?fieldSelector=metadata.name%3Dseen", 200),
        ("named", "GET", f"{MAPS}?fieldSelector=metadata.name%3D%3Dseen", 200),
        ("named", "GET", f"{MAPS}?fieldSelector=metadata.name%3Dseen,metadata.namespace%3D{SPACE}", 200),
        ("named", "GET", f"{MAPS}?fieldSelector=metadata.name%3Dunseen", 403),
        ("named", "GET", f"{MAPS}?fieldSelector=metadata.name!%3Dseen", 403),
        ("named", "GET", f"{MAPS}?fieldSelector=metadata.name!%3Dunseen", 403),
        ("named", "GET", f"{MAPS}?fieldSelector=metadata.namespace%3Dseen", 403),
        ("named", "GET", f"{MAPS}?labelSelector=metadata.name%3Dseen", 403),
        ("named", "GET", f"{MAPS}?fieldSelector=metadata.name%3Dunseen,metadata.name%3Dseen", 200),
        ("named", "GET", f"{MAPS}?fieldSelector=metadata.name%3D%3Dseen,metadata.name%3Dunseen", 200),
        ("named", "GET", f"{MAPS}?fieldSelector=metadata.name%3D%3Dunseen,metadata.name%3Dseen", 403),
        ("named", "GET", f"{MAPS}?watch=1&fieldSelector=metadata.name%3Dunseen", 403),
        ("named", "GET", f"{MAPS}?limit=x&fieldSelector=metadata.name%3Dseen", 403),
        ("named", "GET", "/api/v1/configmaps?fieldSelector=metadata.name%3Dseen", 403),
        ("named", "DELETE", MAPS, 403),
        ("named", "DELETE", f"{MAPS}?fieldSelector=metadata.name%3Dseen", 403),
        ("named", "DELETE", f"{MAPS}/seen", 403),
        ("whole", "GET", f"{PODS}/web/log", 403),
        ("whole", "GET", f"{PODS}/web/log?follow=1", 403),
        ("whole", "GET", f"{PODS}/web/exec?command=sh", 403),
        ("whole", "POST", f"{PODS}/web/exec?command=sh", 403),
        ("whole", "GET", f"{PODS}/web/attach", 403),
        ("whole", "POST", f"{PODS}/web/portforward", 403),
        ("whole", "GET", f"{PODS}/web/proxy", 403),
        ("whole", "GET", f"{PODS}/web/proxy/log", 403),
        ("whole", "GET", f"{PODS}/web/status", 403),
        ("whole", "PUT", f"{PODS}/web/status", 403),
        ("whole", "POST", f"{PODS}/web/eviction", 403),
        ("whole", "POST", f"{PODS}/web/binding", 403),
        ("whole", "GET", f"/api/v1/proxy/namespaces/{SPACE}/pods/web", 404),
        ("whole", "GET", f"{CORE}/podtemplates", 403),
        ("whole", "GET", f"/apis/apps/v1/namespaces/{SPACE}/pods", 403),
        ("starred", "GET", f"{PODS}/web/status", 200),
        ("starred", "GET", f"{PODS}/web", 403),
        ("starred", "GET", f"{PODS}/log", 403),
        ("deleter", "DELETE", PODS, 403),
        ("deleter", "DELETE", f"{PODS}?fieldSelector=metadata.name%3Dabsent", 403),
        ("deleter", "DELETE", f"{PODS}/absent", 404),
        ("paths", "GET", "/metrics/slis", 403),
        ("paths", "GET", "/metricsx", 403),
        ("paths", "GET", "/Metrics", 403),
        ("paths", "POST", "/metrics", 403),
        ("paths", "HEAD", "/metrics", 403),
        ("paths", "OPTIONS", "/metrics", 403),
        ("paths", "GET", "/debug", 403),
        ("paths", "GET", "/logs/", 403),
        ("paths", "GET", "/api/v1", 200),
        ("paths", "GET", "/api/v1/pods", 403),
        ("paths", "GET", "/api/v1/namespaces", 403),
    ],
)
def test_a_request_needs_what_it_really_asks_for(
    sides: Sides, user: str, method: str, target: str, status: int
) -> None:
    straight, through = sides.ask(user, request_bytes(target, method=method), method=method)
    assert straight.status == through.status == status
    if method != "HEAD":
        assert said(straight) == said(through)


@pytest.mark.parametrize("target", ["/api", "/apis", "/api/v1", "/apis/apps/v1", "/openapi/v3", "/openapi/v2"])
def test_discovery_tells_everybody_the_same(sides: Sides, target: str) -> None:
    """Nothing is hidden there, so that nothing of one caller can be kept for another."""
    answers = [sides.ask(user, request_bytes(target))[1] for user in ("root", "paths", "root", "getter")]
    assert answers[0].status == 200
    assert len({each.body for each in answers}) == 1


def test_who_may_see_a_kind_sees_nothing_of_another_that_tells_of_it(sides: Sides) -> None:
    """Events name the objects they are about: they are a kind of their own, with grants of their own."""
    for user in ("getter", "whole"):
        for target in (f"{CORE}/events", f"/apis/events.k8s.io/v1/namespaces/{SPACE}/events"):
            straight, through = sides.ask(user, request_bytes(target))
            assert straight.status == through.status == 403


@pytest.mark.parametrize(
    ("user", "status"),
    [
        (f"system:serviceaccount:{SPACE}:robot", 200),
        ("system:serviceaccount:default:robot", 403),
        (f"system:serviceaccount:{SPACE}:robots", 403),
        (f"system:serviceaccount:{SPACE}:robot:x", 403),
        (f"system:serviceaccount:{SPACE}/robot", 403),
        (f"System:serviceaccount:{SPACE}:robot", 403),
        ("robot", 403),
        (f"{SPACE}:robot", 403),
    ],
)
def test_a_service_account_is_that_of_its_namespace_only(sides: Sides, user: str, status: int) -> None:
    """The binding of `robot` names its namespace; a user or a namesake elsewhere is somebody else."""
    straight, through = sides.ask(user, request_bytes(f"{PODS}/web"))
    assert straight.status == through.status == status


# --- bodies ---

OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}, "data": {"a": "b"}}
PLAIN = json.dumps(OBJECT).encode()
CASES = [
    pytest.param("application/json", "", PLAIN, id="plain"),
    pytest.param("application/json; charset=utf-8", "", PLAIN, id="charset"),
    pytest.param("APPLICATION/JSON", "", PLAIN, id="upper case"),
    pytest.param("text/plain", "", PLAIN, id="text"),
    pytest.param("application/json, application/yaml", "", PLAIN, id="two types"),
    pytest.param("application/xml", "", b"<a/>", id="xml"),
    pytest.param("multipart/form-data; boundary=x", "", b"--x--", id="multipart"),
    pytest.param("", "", PLAIN, id="no type"),
    pytest.param("application/json", "", b"", id="empty"),
    pytest.param("application/json", "", b"null", id="null"),
    pytest.param("application/json", "", b"[]", id="list"),
    pytest.param("application/json", "", b"{}", id="nothing"),
    pytest.param("application/json", "", PLAIN + PLAIN, id="two objects"),
    pytest.param("application/json", "", PLAIN + b"\n\x00", id="NUL behind"),
    pytest.param("application/json", "", PLAIN.replace(b'"b"', b'"\x00"'), id="NUL in text"),
    pytest.param("application/json", "", PLAIN.replace(b'"b"', b'"\\u0000"'), id="escaped NUL"),
    pytest.param("application/json", "", PLAIN.replace(b'"b"', b'"\xff"'), id="not UTF-8"),
    pytest.param("application/json", "", PLAIN.replace(b'"b"', b'"\xc0\xaf"'), id="overlong UTF-8"),
    pytest.param("application/json", "", PLAIN.replace(b'"b"', b'"\\ud800"'), id="half a pair"),
    pytest.param("application/json", "", b"\xef\xbb\xbf" + PLAIN, id="byte order mark"),
    pytest.param("application/json", "", PLAIN.decode().encode("utf-16"), id="UTF-16"),
    pytest.param("application/json", "", PLAIN.decode().encode("utf-32"), id="UTF-32"),
    pytest.param("application/json", "", PLAIN.replace(b'"data"', b'"data":{},"data"'), id="a member twice"),
    pytest.param("application/json", "", PLAIN.replace(b'"made"', b'"made","name":"other"'), id="a name twice"),
    pytest.param("application/json", "", PLAIN.replace(b'"kind"', b'"Kind":"Secret","kind"'), id="a kind in two cases"),
    pytest.param("application/json", "", PLAIN.replace(b'"b"', b"1"), id="number for text"),
    pytest.param("application/json", "", PLAIN.replace(b'"b"', b"1e999"), id="endless number"),
    pytest.param("application/json", "", PLAIN.replace(b'"b"', b"9" * 5000), id="long number"),
    pytest.param("application/json", "", PLAIN.replace(b'"b"', b"NaN"), id="NaN"),
    pytest.param("application/json", "", PLAIN.replace(b'"b"', b"[" * 20_000 + b"]" * 20_000), id="deep"),
    pytest.param("application/json", "", PLAIN.replace(b"ConfigMap", b"Secret"), id="another kind"),
    pytest.param("application/json", "", PLAIN.replace(b'"v1"', b'"v2"'), id="another version"),
    pytest.param("application/json", "", PLAIN.replace(b'"made"', b'"made","namespace":"default"'), id="elsewhere"),
    pytest.param("application/json", "gzip", gzip.compress(PLAIN), id="gzip"),
    pytest.param("application/json", "gzip", gzip.compress(b" " * 50_000_000), id="gzip bomb"),
    pytest.param("application/json", "gzip", PLAIN, id="said to be gzip"),
    pytest.param("application/json", "deflate, gzip", gzip.compress(gzip.compress(PLAIN)), id="gzip twice"),
    pytest.param("application/json", "identity", PLAIN, id="identity"),
    pytest.param("application/cbor", "", b"\xd9\xd9\xf7\xa0", id="CBOR"),
    pytest.param("application/vnd.kubernetes.protobuf", "", PLAIN, id="JSON for protobuf"),
    pytest.param("application/vnd.kubernetes.protobuf", "", b"k8s\x00\xff", id="broken protobuf"),
    pytest.param("application/yaml", "", b"a: &a [1]\nb: *a\n", id="YAML with an alias"),
]
ONLY_JSON = ("application/yaml", "application/cbor")


def post(target: str, content_type: str, coding: str, body: bytes) -> bytes:
    headers = [("Content-Length", str(len(body)))]
    headers += [("Content-Type", content_type)] if content_type else []
    headers += [("Content-Encoding", coding)] if coding else []
    return request_bytes(target, method="POST", headers=headers) + body


@pytest.mark.parametrize(("content_type", "coding", "body"), CASES)
def test_an_odd_body_is_the_same_object_or_refusal(sides: Sides, content_type: str, coding: str, body: bytes) -> None:
    """A write goes on as it came: nobody in between reads it in another way."""
    straight, through = sides.ask("root", post(f"{MAPS}?dryRun=All", content_type, coding, body), method="POST")
    assert said(straight) == said(through)
    if straight.status == 201:
        made = [each.json for each in (straight, through)]
        assert made[0]["metadata"]["name"] == made[1]["metadata"]["name"]
        assert made[0].get("data") == made[1].get("data")


@pytest.mark.parametrize(("content_type", "coding", "body"), CASES)
def test_an_odd_question_is_answered_or_refused_alike(
    sides: Sides, content_type: str, coding: str, body: bytes
) -> None:
    """Reviews are answered here, so the proxy reads these bodies itself, and never unpacks one."""
    question = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
    asked = {**question, "spec": {"resourceAttributes": {"verb": "b", "resource": "pods"}}}
    if body.startswith(PLAIN[:20]) or PLAIN[:20] in body:
        body = body.replace(PLAIN, json.dumps(asked).encode())
    straight, through = sides.ask("getter", post(REVIEWS, content_type, coding, body), method="POST")
    if content_type in ONLY_JSON:
        assert through.status == 415
        return
    assert (straight.status < 300) is (through.status < 300), (straight.body, through.body)
    if straight.status == 201:
        assert straight.json["status"]["allowed"] is through.json["status"]["allowed"]
    else:
        assert 400 <= through.status < 500


@pytest.mark.parametrize("coding", ["gzip", "br, gzip, deflate, zstd", "gzip;q=1, identity;q=0", "*", "compress"])
@pytest.mark.parametrize("target", ["/openapi/v2", MAPS, f"{MAPS}?watch=1&timeoutSeconds=1", "/api/v1/pods?limit=1"])
def test_no_answer_is_compressed_whatever_is_asked_for(sides: Sides, coding: str, target: str) -> None:
    """What is filtered must be read; and secrets beside a caller's own text must not show in a length."""
    with RawClient(sides.proxy.port, sides.context("root")) as client:
        response = client.request(target, headers={"Accept-Encoding": coding})
    assert (response.status, response.header("content-encoding")) == (200, None)
    json.loads(response.body.splitlines()[0])


# --- credentials ---

TOKENS = [
    pytest.param([], id="no token"),
    pytest.param([("Authorization", "Bearer bob-token")], id="a token"),
    pytest.param([("authorization", "bEaReR bob-token")], id="a token in another case"),
    pytest.param([("Authorization", "Bearer bob-token and more")], id="a token and more"),
    pytest.param([("Authorization", " Bearer bob-token ")], id="a token between spaces"),
    pytest.param([("Authorization", "Bearer\tbob-token")], id="a token behind a tab"),
    pytest.param([("Authorization", "Bearer  bob-token")], id="two spaces"),
    pytest.param([("Authorization", "Bearer wrong")], id="a wrong token"),
    pytest.param([("Authorization", "Bearer bob-token,alice-token")], id="two tokens in one"),
    pytest.param([("Authorization", "Bearer wrong"), ("Authorization", "Bearer bob-token")], id="the second right"),
    pytest.param([("Authorization", "Bearer bob-token"), ("Authorization", "Bearer wrong")], id="the first right"),
    pytest.param([("Authorization", "Basic Ym9iOmJvYg==")], id="basic"),
    pytest.param([("Authorization", "bob-token")], id="no scheme"),
    pytest.param([("Authorization", "Bearer")], id="no token in it"),
    pytest.param([("Authorization_", "Bearer bob-token")], id="another header"),
    pytest.param([("X-Remote-User", "bob"), ("X-Remote-Group", "system:masters")], id="front proxy headers"),
    pytest.param([("Cookie", "authorization=Bearer bob-token")], id="a cookie"),
]


def certificates(sides: Sides, directory: Path) -> dict[str, Certificate | None]:
    past = datetime.now(UTC) - timedelta(minutes=1)
    return {
        "none": None,
        "alice": sides.cluster.client_certificate("alice"),
        "untrusted": Pki(directory / "other").client("alice"),
        "expired": sides.cluster.pki.client("alice", not_after=past),
    }


@pytest.mark.parametrize("headers", TOKENS)
@pytest.mark.parametrize("kind", ["none", "alice", "untrusted", "expired"])
def test_mixed_credentials_make_the_same_caller_or_none(
    sides: Sides, tmp_path: Path, kind: str, headers: Sequence[tuple[str, str]]
) -> None:
    """A certificate that does not hold ends the connection here, where kube-apiserver still looks at a token."""
    context = sides.cluster.pki.client_context(certificates(sides, tmp_path)[kind])
    sent = request_bytes(WHOAMI, method="POST", headers=[("Content-Length", "2"), *headers]) + b"{}"
    straight = _answer(urlsplit(sides.cluster.url).port or 443, context, sent, "POST")
    if kind in ("untrusted", "expired"):
        with pytest.raises((EOFError, ssl.SSLError, ConnectionError)):
            _answer(sides.proxy.port, context, sent, "POST")
        return
    through = _answer(sides.proxy.port, context, sent, "POST")
    assert whoami(straight) == whoami(through)


@pytest.mark.parametrize("name", ["access_token", "token", "authorization", "bearer", "base64url.bearer"])
def test_a_token_in_the_query_is_none(sides: Sides, name: str) -> None:
    target = f"/api/v1/pods?{name}=admin-token"
    straight, through = sides.ask(None, request_bytes(target))
    assert straight.status == through.status == 401


def whoami(response: RawResponse) -> Any:
    """The user name, or the status of a refusal."""
    return response.json["status"]["userInfo"]["username"] if response.status == 201 else response.status


@pytest.mark.parametrize(
    "connection",
    ["Impersonate-User", "impersonate-user, impersonate-group", "close, Impersonate-Extra-x, Host", "Authorization"],
)
def test_no_header_of_one_hop_takes_the_callers_name_from_a_write(sides: Sides, connection: str) -> None:
    """The proxy's own identity may do more: a write without the caller's name on it would be done with that."""
    body = json.dumps({**OBJECT, "metadata": {"name": "hop"}}).encode()
    headers = [("Content-Length", str(len(body))), ("Content-Type", "application/json"), ("Connection", connection)]
    before = len(sides.cluster.audit_events())
    with RawClient(sides.proxy.port, sides.context("root")) as client:
        client.send(request_bytes(f"{MAPS}?dryRun=All", method="POST", headers=headers) + body)
        assert client.read_response(method="POST").status == 201
    writes = [each for each in sides.cluster.audit_events()[before:] if each["verb"] == "create"]
    through = [each for each in writes if each["user"]["username"] == "watchkeeper"]
    assert {each["impersonatedUser"]["username"] for each in through} == {"root"}
