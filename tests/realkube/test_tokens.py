"""Service account tokens, TokenReviews and anonymous requests: who the real server says it is, is who it is here."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support import protobuf_writer
from tests.support.control_plane import SERVICE_ACCOUNT_ISSUER as ISSUER
from tests.support.credentials import TokenSigner, encode
from tests.support.grants import EVERYTHING, RBAC, READ, grant, rule
from tests.support.identities import ADMIN, Identity
from tests.support.kubectl import kubectl
from tests.support.manifests import Manifest, config_map, pod, role, role_binding
from tests.support.polling import poll
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import TOKEN_REVIEW_RULES, RealCluster
from tests.support.watching import WatchEvent, WatchStream

SPACE = "tokens"
PATH = f"/api/v1/namespaces/{SPACE}/configmaps"
SELF_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
PROTOBUF = "application/vnd.kubernetes.protobuf"
LEGACY_ISSUER = "kubernetes/serviceaccount"
END_SECONDS = 60.0  # bounds a hang; the API server itself remembers a token for 10 s
REVIEWER = role_binding("token-reviewer", user="watchkeeper", namespace=None)
STATIC = Identity(name="static", token="static-token")

EXTRAS = [
    f"userextras/authentication.kubernetes.io/{key}"
    for key in ("credential-id", "node-name", "node-uid", "pod-name", "pod-uid")
]
LOCAL, BY_KEY_FILE, BY_REVIEW = "keys of the API server", "keys of a file", "review"


def to_group(name: str, group: str, *rules: Mapping[str, Any], namespace: str | None = None) -> list[Manifest]:
    """Rules for everybody in a group."""
    granted, binding = grant(name, *map(dict, rules), namespace=namespace)
    return [granted, {**binding, "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": group}]}]


POLICIES = {
    "everybody.yaml": to_group(
        "everybody",
        "system:authenticated",
        rule("selfsubjectreviews", groups=["authentication.k8s.io"], verbs=["create"]),
    ),
    "accounts.yaml": to_group(
        "accounts", f"system:serviceaccounts:{SPACE}", rule("configmaps", verbs=[*READ, "create"]), namespace=SPACE
    ),
    "anonymous.yaml": to_group(
        "anonymous", "system:unauthenticated", {"nonResourceURLs": ["/livez", "/version"], "verbs": ["get"]},
        rule("selfsubjectreviews", groups=["authentication.k8s.io"], verbs=["create"]),
    ),
    "admin.yaml": grant("admin", *EVERYTHING),
}  # fmt: skip


def account(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": SPACE}}


@pytest.fixture(scope="module")
def cluster(real_cluster: RealCluster) -> Iterator[RealCluster]:
    """The proxy may review tokens and impersonate accounts; there is what tokens can be bound to."""
    real_cluster.create_namespace(SPACE)
    rules = [
        *TOKEN_REVIEW_RULES,
        {"apiGroups": ["authentication.k8s.io"], "resources": ["uids", *EXTRAS], "verbs": ["impersonate"]},
        {"apiGroups": [""], "resources": ["serviceaccounts", "groups"], "verbs": ["impersonate"]},
    ]
    real_cluster.apply(role("token-reviewer", rules, None))
    real_cluster.apply(REVIEWER)
    real_cluster.create(config_map("settings", SPACE, data={}))
    real_cluster.create(account("builder"))
    real_cluster.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "token-node"}})
    real_cluster.create(with_account(pod("web", SPACE, node="token-node"), "builder"))
    real_cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bound", "namespace": SPACE}})
    yield real_cluster
    real_cluster.delete({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "token-node"}})
    real_cluster.delete(REVIEWER)
    real_cluster.delete_namespace(SPACE)


def with_account(manifest: Manifest, name: str) -> Manifest:
    return {**manifest, "spec": {**manifest["spec"], "serviceAccountName": name}}


@pytest.fixture(scope="module")
def proxies(cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ProxyProcess]]:
    """One proxy for each way to know a service account."""
    issuer = ("--service-account-issuer", "https://newer.example", "--service-account-issuer", ISSUER)
    audiences = ("--api-audiences", ISSUER)
    config = tmp_path_factory.mktemp("anonymous") / "authentication.yaml"
    anonymous = {"enabled": True, "conditions": [{"path": "/livez"}, {"path": SELF_REVIEW}]}
    kind = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    config.write_text(yaml.safe_dump({**kind, "anonymous": anonymous}))
    flags: dict[str, Sequence[str]] = {
        LOCAL: (*issuer, *audiences, "--authentication-config", str(config)),
        BY_KEY_FILE: (*issuer, *audiences, "--service-account-key-file", str(key_file(cluster))),
        BY_REVIEW: (*audiences, "--token-review", "--token-review-cache-ttl", "1"),
    }
    running: dict[str, ProxyProcess] = {}
    try:
        for name, each in flags.items():
            directory = tmp_path_factory.mktemp("tokens")
            more = ("--audit-log-path", str(directory / "audit.log"))
            running[name] = ProxyProcess(cluster, directory, POLICIES, flags=(*each, *more), tokens=[STATIC])
            running[name].start()
        first = create_token(cluster)
        poll(
            lambda: status_of(running[LOCAL], first) == 200,
            timeout_seconds=END_SECONDS,
            failure=lambda: f"no keys from the API server\n{running[LOCAL].log.read_text()}",
        )
        yield running
    finally:
        for process in running.values():
            process.stop()


def key_file(cluster: RealCluster) -> Any:
    return cluster.pki.directory / "service-account.key"


def create_token(cluster: RealCluster, name: str = "builder", *more: str) -> str:
    done = kubectl(cluster.kubeconfig(ADMIN), "create", "token", name, "-n", SPACE, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def bound_to(kind: str, name: str) -> tuple[str, ...]:
    return ("--bound-object-kind", kind, "--bound-object-name", name)


def signer(cluster: RealCluster) -> TokenSigner:
    """The cluster's own."""
    signing = TokenSigner()
    key = serialization.load_pem_private_key(key_file(cluster).read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signing.key = key
    return signing


def legacy_token(cluster: RealCluster, name: str) -> str:
    """A token in a Secret, as the token controller of kube-controller-manager makes it."""
    uid = cluster.get(account(name))["metadata"]["uid"]
    claims = {
        "iss": LEGACY_ISSUER,
        "kubernetes.io/serviceaccount/namespace": SPACE,
        "kubernetes.io/serviceaccount/secret.name": f"{name}-token",
        "kubernetes.io/serviceaccount/service-account.name": name,
        "kubernetes.io/serviceaccount/service-account.uid": uid,
        "sub": f"system:serviceaccount:{SPACE}:{name}",
    }
    token = signer(cluster).token(claims, kid=None).decode()
    annotations = {"kubernetes.io/service-account.name": name, "kubernetes.io/service-account.uid": uid}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/service-account-token",
            "metadata": {"name": f"{name}-token", "namespace": SPACE, "annotations": annotations},
            "stringData": {"token": token},
        }
    )
    return token


def name_of(event: WatchEvent) -> str:
    """Of the object an event is about."""
    return str(event["object"]["metadata"].get("name"))


def bearer(token: str) -> Identity:
    return Identity(name="bearer", token=token)


def status_of(server: ProxyProcess | RealCluster, token: str) -> int:
    """401, or something else for whoever is known."""
    with server.client(bearer(token)) as client:
        if isinstance(server, RealCluster):
            return client.post(SELF_REVIEW, json={}).status_code
        return client.get(PATH).status_code


def whoami(server: ProxyProcess | RealCluster, token: str) -> Any:
    with server.client(bearer(token)) as client:
        answer = client.post(SELF_REVIEW, json={})
    assert answer.status_code == 201, answer.text
    return answer.json()["status"]["userInfo"]


@pytest.mark.parametrize(
    ("binding", "extra"),
    [
        ((), {"credential-id"}),
        (bound_to("Pod", "web"), {"credential-id", "pod-name", "pod-uid", "node-name", "node-uid"}),
        (bound_to("Node", "token-node"), {"credential-id", "node-name", "node-uid"}),
        (bound_to("Secret", "bound"), {"credential-id"}),
    ],
)
def test_a_bound_token_is_whom_the_server_says(
    cluster: RealCluster, proxies: dict[str, ProxyProcess], binding: tuple[str, ...], extra: set[str]
) -> None:
    token = create_token(cluster, "builder", *binding)
    expected = whoami(cluster, token)
    assert expected["username"] == f"system:serviceaccount:{SPACE}:builder"
    assert {key.removeprefix("authentication.kubernetes.io/") for key in expected["extra"]} == extra
    for name, proxy in proxies.items():
        assert whoami(proxy, token) == expected, name
        assert status_of(proxy, token) == 200, name


def test_a_legacy_token_is_whom_the_server_says(cluster: RealCluster, proxies: dict[str, ProxyProcess]) -> None:
    token = legacy_token(cluster, "builder")
    expected = whoami(cluster, token)
    assert "extra" not in expected
    for name, proxy in proxies.items():
        assert whoami(proxy, token) == expected, name


def test_what_an_account_does_is_done_in_its_name(cluster: RealCluster, proxies: dict[str, ProxyProcess]) -> None:
    """With its uid, groups and what its token is bound to."""
    name = f"system:serviceaccount:{SPACE}:builder"
    cluster.grant(Identity(name=name), [rule("configmaps", verbs=["create"])], namespace=SPACE)
    token = create_token(cluster, "builder", *bound_to("Pod", "web"))
    expected = whoami(cluster, token)
    for number, proxy in enumerate(proxies.values()):
        with proxy.client(bearer(token)) as client:
            answer = client.post(PATH, json=config_map(f"made-{number}", SPACE, data={}))
        assert answer.status_code == 201, answer.text
        user = cluster.audit_events()[-1]["impersonatedUser"]
        assert {**user, "groups": sorted(user["groups"])} == {**expected, "groups": sorted(expected["groups"])}


def attacks(cluster: RealCluster) -> dict[str, str]:
    """Tokens that are nobody's, most of them signed by the cluster itself."""
    cluster_key, other, now = signer(cluster), TokenSigner(), int(time.time())
    uid = cluster.get(account("builder"))["metadata"]["uid"]
    private = {"namespace": SPACE, "serviceaccount": {"name": "builder", "uid": uid}}
    good = {
        "iss": ISSUER,
        "sub": f"system:serviceaccount:{SPACE}:builder",
        "aud": [ISSUER],
        "exp": now + 600,
        "nbf": now,
        "iat": now,
        "kubernetes.io": private,
    }
    pem = cluster_key.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = encode(b'{"alg":"HS256"}') + b"." + encode(json.dumps(good).encode())
    real = cluster_key.token(good, kid=None).decode()
    forged = {
        "alg none": encode(b'{"alg":"none"}') + b"." + encode(json.dumps(good).encode()) + b".",
        "alg none, signed": cluster_key.token(good, alg="none", kid=None),
        "HS256 with the public key": signed + b"." + encode(hmac.digest(pem, signed, "sha256")),
        "another audience": cluster_key.token(good | {"aud": ["vault"]}, kid=None),
        "another issuer": cluster_key.token(good | {"iss": "https://other.example"}, kid=None),
        "a kid nobody has": cluster_key.token(good, kid="nobody"),
        "another cluster": other.token(good, kid=None),
        "expired": cluster_key.token(good | {"exp": now - 120}, kid=None),
        "of the future": cluster_key.token(good | {"nbf": now + 300, "iat": now + 300}, kid=None),
        "huge": cluster_key.token(good | {"x": "x" * 20_000}, kid=None),
        "no account": cluster_key.token({key: good[key] for key in good if key != "kubernetes.io"}, kid=None),
        "opaque": b"opaque",
        "bootstrap token": b"abcdef.0123456789abcdef",
    }
    assert status_of(cluster, real) == 201, "the good one is not: the attacks would fail for another reason"
    return {name: token.decode() for name, token in forged.items()}


def test_what_is_no_token_for_the_server_is_none_for_the_proxy(
    cluster: RealCluster, proxies: dict[str, ProxyProcess]
) -> None:
    for attack, token in attacks(cluster).items():
        if attack != "huge":  # upstream has no bound of its own
            assert status_of(cluster, token) == 401, attack
        for name, proxy in proxies.items():
            assert status_of(proxy, token) == 401, (attack, name)


def test_a_subject_other_than_the_account_is_refused_where_it_is_read(
    cluster: RealCluster, proxies: dict[str, ProxyProcess]
) -> None:
    """The server takes the account from `kubernetes.io` alone."""
    now = int(time.time())
    uid = cluster.get(account("builder"))["metadata"]["uid"]
    private = {"namespace": SPACE, "serviceaccount": {"name": "builder", "uid": uid}}
    claims = {"iss": ISSUER, "sub": "system:serviceaccount:kube-system:x", "aud": [ISSUER], "exp": now + 600}
    token = signer(cluster).token({**claims, "kubernetes.io": private}, kid=None).decode()
    assert {name: status_of(proxy, token) for name, proxy in proxies.items()} == {
        LOCAL: 401,
        BY_KEY_FILE: 401,
        BY_REVIEW: 200,
    }


def test_a_token_ends_with_what_it_depends_on_where_tokens_are_reviewed(
    cluster: RealCluster, proxies: dict[str, ProxyProcess]
) -> None:
    """With its account, pod or Secret, and what it had opened. Where it is only read, it is served until it expires."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "brief", "namespace": SPACE}}
    brief_pod = with_account(pod("brief", SPACE, node="token-node"), "builder")
    for manifest in (account("brief"), account("old"), brief_pod, secret):
        cluster.create(manifest)
    tokens = {
        "account": create_token(cluster, "brief"),
        "pod": create_token(cluster, "builder", *bound_to("Pod", "brief")),
        "secret": create_token(cluster, "builder", *bound_to("Secret", "brief")),
        "legacy": legacy_token(cluster, "old"),
    }
    legacy_secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "old-token", "namespace": SPACE}}
    with ExitStack() as stack:
        streams = {
            (kind, way): stack.enter_context(WatchStream(client, PATH, {}))
            for way in (BY_REVIEW, LOCAL)
            for kind, token in tokens.items()
            for client in (stack.enter_context(proxies[way].client(bearer(token))),)
        }
        for stream in streams.values():
            stream.take_until(lambda event: name_of(event) == "settings")
        for manifest in (account("brief"), brief_pod, secret, legacy_secret):
            cluster.delete(manifest)
        for kind, token in tokens.items():
            streams[kind, BY_REVIEW].wait_ended(timeout=END_SECONDS)
            assert status_of(proxies[BY_REVIEW], token) == 401, kind
            assert status_of(cluster, token) == 401, kind
        cluster.create(config_map("afterwards", SPACE, data={}))
        for kind, token in tokens.items():
            streams[kind, LOCAL].take_until(lambda event: name_of(event) == "afterwards")
            assert status_of(proxies[LOCAL], token) == 200, kind
            assert "afterwards" not in map(name_of, streams[kind, BY_REVIEW].events), kind


def test_a_watch_outlives_the_answers_that_keep_it(cluster: RealCluster, proxies: dict[str, ProxyProcess]) -> None:
    token = create_token(cluster)
    with proxies[BY_REVIEW].client(bearer(token)) as client, WatchStream(client, PATH, {}) as stream:
        stream.take_until(lambda event: name_of(event) == "settings")

        def reviews() -> int:
            return sum(event["requestURI"].startswith(TOKEN_REVIEWS) for event in cluster.audit_events())

        before = reviews()
        poll(lambda: reviews() >= before + 3, timeout_seconds=END_SECONDS, failure=lambda: "not reviewed again")
        cluster.create(config_map("later", SPACE, data={}))
        stream.take_until(lambda event: name_of(event) == "later")


# ---- POST tokenreviews


def review(server: ProxyProcess | RealCluster, spec: Mapping[str, Any], **more: Any) -> Any:
    with server.client(ADMIN) as client:
        answer = client.post(TOKEN_REVIEWS, json={"spec": dict(spec), **more})
    return answer.status_code, answer.json()


def questions(cluster: RealCluster) -> dict[str, dict[str, Any]]:
    token, for_vault = create_token(cluster), create_token(cluster, "builder", "--audience", "vault")
    legacy = legacy_token(cluster, "builder")
    return {
        "a token for the API": {"token": token},
        "its audience": {"token": token, "audiences": [ISSUER, "x"]},
        "another audience": {"token": token, "audiences": ["vault"]},
        "a token for others": {"token": for_vault},
        "a token for those who ask": {"token": for_vault, "audiences": ["vault"]},
        "a token bound to a pod": {"token": create_token(cluster, "builder", *bound_to("Pod", "web"))},
        "a legacy token": {"token": legacy},
        "a legacy token for others": {"token": legacy, "audiences": ["vault"]},
        "nobody's": {"token": "nobody"},
        "words": {"token": f"{token} and more"},
        "nothing": {"token": ""},
        "nothing at all": {},
    }


def test_a_token_review_is_answered_as_by_the_server(cluster: RealCluster, proxies: dict[str, ProxyProcess]) -> None:
    """But for why a token is refused, which is not told here."""
    for question, spec in questions(cluster).items():
        code, expected = review(cluster, spec)
        expected.get("metadata", {}).pop("managedFields", None)
        for name, proxy in proxies.items():
            ours_code, ours = review(proxy, spec)
            assert ours_code == code, (question, name)
            if "error" in expected.get("status", {}):
                assert ours["status"].pop("error", "") == "invalid bearer token", (question, name, expected, ours)
                expected_status = {key: value for key, value in expected["status"].items() if key != "error"}
                assert ours == {**expected, "status": expected_status}, (question, name)
            else:
                assert ours == expected, (question, name)


def test_a_static_token_is_reviewed_too_and_expired_ones_are_not_authenticated(
    cluster: RealCluster, proxies: dict[str, ProxyProcess]
) -> None:
    _, answer = review(proxies[LOCAL], {"token": STATIC.token})
    assert answer["status"] == {
        "authenticated": True,
        "user": {"username": "static", "groups": ["system:authenticated"]},
        "audiences": [ISSUER],
    }
    for attack, token in attacks(cluster).items():
        for name, proxy in proxies.items():
            status = review(proxy, {"token": token})[1]["status"]
            assert status == {"user": {}, "error": "invalid bearer token"}, (attack, name)


def test_token_reviews_come_in_protobuf_and_need_leave(cluster: RealCluster, proxies: dict[str, ProxyProcess]) -> None:
    token = create_token(cluster)
    body = protobuf_writer.envelope("authentication.k8s.io/v1", "TokenReview", [(2, [(1, token), (2, ISSUER)])])
    headers = {"content-type": PROTOBUF, "accept": f"{PROTOBUF}, */*"}
    for name, proxy in proxies.items():
        with proxy.client(ADMIN) as client:
            answer = client.post(TOKEN_REVIEWS, content=body, headers=headers)
            assert (answer.status_code, answer.json()["status"]["authenticated"]) == (201, True), name
        with proxy.client(bearer(token)) as client:
            answer = client.post(TOKEN_REVIEWS, json={"spec": {"token": token}})
            assert answer.status_code == 403, name
            assert 'cannot create resource "tokenreviews"' in answer.json()["message"]


def test_no_token_is_in_a_log(cluster: RealCluster, proxies: dict[str, ProxyProcess]) -> None:
    tokens = {"shown": create_token(cluster), "reviewed": create_token(cluster), "wrong": "wrong-token-0123456789"}
    for proxy in proxies.values():
        for token in (tokens["shown"], tokens["wrong"]):
            status_of(proxy, token)
        for token in (tokens["reviewed"], tokens["wrong"]):
            assert review(proxy, {"token": token})[0] == 201
    for name, proxy in proxies.items():
        written = proxy.log.read_text() + (proxy.log.parent / "audit.log").read_text()
        assert TOKEN_REVIEWS in written
        for kind, token in tokens.items():
            assert token.rpartition(".")[2] not in written, (name, kind)


# ---- anonymous requests


def test_anonymous_requests_are_answered_where_the_configuration_says(proxies: dict[str, ProxyProcess]) -> None:
    with proxies[LOCAL].client(None) as client:
        assert client.get("/livez").text == "ok"
        assert client.get("/version").status_code == 401  # the policy would allow it
        assert client.get("/livez/ping").status_code == 401
        assert client.get("/livez", headers={"authorization": "Bearer wrong"}).status_code == 401
        assert client.get("/livez", headers={"authorization": "Basic YTpi"}).status_code == 200
        answer = client.post(SELF_REVIEW, json={}).json()
    assert answer["status"]["userInfo"] == {"username": "system:anonymous", "groups": ["system:unauthenticated"]}
    with proxies[BY_REVIEW].client(None) as client:
        assert client.get("/livez").status_code == 401


def test_an_anonymous_caller_gets_what_the_policy_gives_it(
    cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("open")
    config = directory / "authentication.yaml"
    kind = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    config.write_text(yaml.safe_dump({**kind, "anonymous": {"enabled": True}}))
    policies = {"open.yaml": to_group("open", "system:unauthenticated", rule("configmaps"), namespace=SPACE)}
    with ProxyProcess(cluster, directory, policies, flags=("--authentication-config", str(config))) as proxy:
        with proxy.client(None) as client:
            assert [each["metadata"]["name"] for each in client.get("/api/v1/configmaps").json()["items"]]
            refused = client.get("/api/v1/secrets")
            assert refused.status_code == 403
            assert refused.json()["message"].startswith('secrets is forbidden: User "system:anonymous" cannot list')
            assert client.get("/apis").status_code == 403
            with WatchStream(client, PATH, {}) as stream:
                stream.take_until(lambda event: name_of(event) == "settings")
