"""Credentials end to end: who a certificate or token says somebody is reaches the policy, while it is valid."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.credentials import TokenSigner
from tests.support.grants import RBAC, grant, rule
from tests.support.identities import Identity
from tests.support.kubectl import KubectlStream, kubectl
from tests.support.manifests import Manifest, config_map
from tests.support.pki import Certificate, Pki
from tests.support.polling import poll
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.running_issuer import RunningIssuer
from tests.support.watching import WatchStream

SPACE = "credentials"
PATH = f"/api/v1/namespaces/{SPACE}/configmaps"
AUDIENCE = "watchkeeper"
LIFE_SECONDS = 8  # of a credential that shall expire under a watch: long enough to open one on a busy machine
END_SECONDS = 40.0

TOKENS = [Identity(name="static", groups=("readers", "others"), token="static-token")]


def to_group(name: str, group: str) -> list[Manifest]:
    """Configmaps of the namespace for a group, in Kubernetes' own words."""
    role, binding = grant(name, rule("configmaps"), namespace=SPACE)
    return [role, {**binding, "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": group}]}]


POLICIES = {
    "alice.yaml": grant("alice", rule("configmaps"), namespace=SPACE),
    "jane.yaml": grant("oidc:jane", rule("configmaps"), namespace=SPACE),
    "readers.yaml": to_group("readers", "readers"),
    "devs.yaml": to_group("devs", "oidc-group:devs"),
    "discovery.yaml": grant("oidc:jane", {"nonResourceURLs": ["/api*", "/apis*"], "verbs": ["get"]}),
}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningIssuer]:
    with RunningIssuer(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def signer(issuer: RunningIssuer) -> TokenSigner:
    signer = TokenSigner("key-1")
    issuer.publish(signer)
    return signer


def authentication_configuration(issuer: RunningIssuer, directory: Path) -> Path:
    path = directory / "authentication.yaml"
    entry = {
        "issuer": {
            "url": issuer.url,
            "certificateAuthority": issuer.certificate_authority,
            "audiences": [AUDIENCE, "second"],
            "audienceMatchPolicy": "MatchAny",
        },
        "claimValidationRules": [{"claim": "tenant", "requiredValue": "ours"}],
        "claimMappings": {
            "username": {"claim": "sub", "prefix": "oidc:"},
            "groups": {"claim": "roles", "prefix": "oidc-group:"},
        },
    }
    kind = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    path.write_text(yaml.safe_dump({**kind, "jwt": [entry]}))
    return path


@pytest.fixture(scope="module")
def proxy(
    real_cluster: RealCluster, issuer: RunningIssuer, signer: TokenSigner, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProxyProcess]:
    real_cluster.create_namespace(SPACE)
    real_cluster.create(config_map("settings", SPACE, data={}))
    directory = tmp_path_factory.mktemp("credentials")
    flags = ("--authentication-config", str(authentication_configuration(issuer, directory)))
    with ProxyProcess(real_cluster, directory, POLICIES, flags=flags, tokens=TOKENS) as process:
        yield process
    real_cluster.delete(config_map("settings", SPACE, data={}))
    real_cluster.delete_namespace(SPACE)


def token(issuer: RunningIssuer, signer: TokenSigner, **changes: Any) -> str:
    """A JWT for jane; a change to None removes a claim."""
    claims = {
        "iss": issuer.url,
        "aud": AUDIENCE,
        "sub": "jane",
        "tenant": "ours",
        "exp": int(time.time()) + 600,
        **changes,
    }
    return signer.token({name: value for name, value in claims.items() if value is not None}).decode()


def status_of(proxy: ProxyProcess, bearer: str) -> int:
    with proxy.client(Identity(name="bearer", token=bearer)) as client:
        return client.get(PATH).status_code


def with_certificate(proxy: ProxyProcess, certificate: Certificate) -> httpx.Client:
    return httpx.Client(
        base_url=proxy.url, verify=proxy.cluster.pki.client_context(certificate), trust_env=False, timeout=30
    )


def begins(stream: WatchStream) -> None:
    stream.take_until(lambda event: bool(event["object"]["metadata"]["name"] == "settings"))


def test_a_stream_ends_when_its_certificate_does(proxy: ProxyProcess) -> None:
    """Also what the connection asks for after that is refused, although its handshake was fine."""
    expires = datetime.now(UTC) + timedelta(seconds=LIFE_SECONDS)
    certificate = proxy.cluster.pki.client("alice", not_after=expires)
    with with_certificate(proxy, certificate) as client:
        with WatchStream(client, PATH, {}) as stream:
            begins(stream)
            assert stream.wait_ended(timeout=END_SECONDS) is None
        assert datetime.now(UTC) >= expires.replace(microsecond=0)
        with suppress(httpx.TransportError):  # on a new connection the handshake fails
            assert client.get(PATH).status_code == 401


def test_a_stream_ends_when_its_token_does(proxy: ProxyProcess, issuer: RunningIssuer, signer: TokenSigner) -> None:
    expires = int(time.time()) + LIFE_SECONDS
    bearer = token(issuer, signer, exp=expires)
    with proxy.client(Identity(name="jane", token=bearer)) as client:
        with WatchStream(client, PATH, {}) as stream:
            begins(stream)
            assert stream.wait_ended(timeout=END_SECONDS) is None
        assert time.time() >= expires
        answer = client.get(PATH)
    assert (answer.status_code, answer.json()["message"]) == (401, "Unauthorized")


def test_name_and_groups_of_a_certificate_reach_the_policy(proxy: ProxyProcess) -> None:
    pki = proxy.cluster.pki
    for certificate, expected in (
        (pki.client("alice"), 200),
        (pki.client("somebody", ["nothing", "readers"]), 200),
        (pki.client("readers", ["alice"]), 403),
        (pki.client("Alice"), 403),
        (pki.client("oidc:jane"), 200),  # a CA may say who is who: the prefix keeps issuers from saying it
    ):
        with with_certificate(proxy, certificate) as client:
            assert client.get(PATH).status_code == expected


def test_a_certificate_that_does_not_hold_is_no_credential(proxy: ProxyProcess, tmp_path: Path) -> None:
    """Whether the handshake fails or the request is unauthorized: nothing is served."""
    pki = proxy.cluster.pki
    past = datetime.now(UTC) - timedelta(minutes=1)
    for certificate in (
        Pki(tmp_path / "other").client("alice"),
        pki.client("alice", not_after=past),
        pki.client("alice", not_before=datetime.now(UTC) + timedelta(hours=1)),
        pki.client("alice", usages=[ExtendedKeyUsageOID.SERVER_AUTH]),
    ):
        with with_certificate(proxy, certificate) as client:
            with suppress(httpx.TransportError):
                assert client.get(PATH).status_code == 401


def test_a_static_token_has_its_name_and_groups(proxy: ProxyProcess) -> None:
    assert status_of(proxy, "static-token") == 200
    assert status_of(proxy, "static-token2") == 401
    assert status_of(proxy, "static") == 401


def test_name_and_groups_of_a_token_reach_the_policy_with_their_prefixes(
    proxy: ProxyProcess, issuer: RunningIssuer, signer: TokenSigner
) -> None:
    for changes, expected in (
        ({}, 200),
        ({"sub": "john"}, 403),
        ({"sub": "john", "roles": ["x", "devs"]}, 200),
        ({"sub": "john", "roles": "devs"}, 200),
        ({"sub": "john", "roles": ["readers", "oidc-group:devs"]}, 403),
        ({"sub": "alice"}, 403),
        ({"aud": ["elsewhere", "second"]}, 200),
    ):
        assert status_of(proxy, token(issuer, signer, **changes)) == expected, changes


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "elsewhere"},
        {"aud": None},
        {"aud": []},
        {"iss": "https://127.0.0.1:1"},
        {"iss": None},
        {"exp": 1},
        {"exp": None},
        {"nbf": 99_999_999_999},
        {"tenant": "theirs"},
        {"tenant": None},
        {"sub": ""},
        {"sub": None},
    ],
    ids=str,
)
def test_a_token_that_does_not_hold_is_unauthorized_whatever_the_cause(
    proxy: ProxyProcess, issuer: RunningIssuer, signer: TokenSigner, changes: dict[str, Any]
) -> None:
    with proxy.client(Identity(name="jane", token=token(issuer, signer, **changes))) as client:
        answer = client.get(PATH)
        watch = client.get(PATH, params={"watch": "1"})
    for each in (answer, watch):
        assert (each.status_code, each.json()["message"], each.json()["reason"]) == (
            401,
            "Unauthorized",
            "Unauthorized",
        )


def test_a_token_of_another_key_or_of_none_is_unauthorized(
    proxy: ProxyProcess, issuer: RunningIssuer, signer: TokenSigner
) -> None:
    """A key that the issuer publishes later is looked for when the first token names it."""
    head, payload, signature = token(issuer, signer).split(".")
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    for forged in (f"{unsigned}.{payload}.", f"{head}.{payload}.", f"{head}.{payload}.{signature[:-6]}AAAAAA"):
        assert status_of(proxy, forged) == 401
    impostor = TokenSigner("key-1")
    assert status_of(proxy, token(issuer, impostor)) == 401
    rotated = TokenSigner("key-2")
    issuer.publish(signer, rotated)
    poll(
        lambda: status_of(proxy, token(issuer, rotated)) == 200,
        timeout_seconds=60,
        failure=lambda: "the new key is never found",
    )


def test_a_valid_certificate_wins_over_a_token(proxy: ProxyProcess, issuer: RunningIssuer, signer: TokenSigner) -> None:
    """As in kube-apiserver: the token is not looked at then."""
    with with_certificate(proxy, proxy.cluster.pki.client("nobody")) as client:
        bearer = {"authorization": f"Bearer {token(issuer, signer)}"}
        answer = client.get(PATH, headers=bearer)
        assert answer.status_code == 403
        assert 'User "nobody"' in answer.json()["message"]


def test_kubectl_works_with_a_token_of_the_issuer(
    proxy: ProxyProcess, issuer: RunningIssuer, signer: TokenSigner
) -> None:
    jane = Identity(name="jane", token=token(issuer, signer))
    kubeconfig = proxy.kubeconfig(jane, namespace=SPACE)
    assert kubectl(kubeconfig, "get", "configmaps", "-o", "name").stdout.split() == ["configmap/settings"]
    assert 'User "oidc:jane" cannot list resource "secrets"' in kubectl(kubeconfig, "get", "secrets").stderr
    with KubectlStream(kubeconfig, "get", "configmaps", "--watch", "--no-headers") as stream:
        stream.take_until(lambda line: line.startswith("settings"))


def test_nobody_comes_in_without_a_credential(proxy: ProxyProcess) -> None:
    with proxy.client(None) as client:
        for headers in ({}, {"authorization": "Basic YTpi"}, {"authorization": "Bearer"}, {"x-remote-user": "alice"}):
            for path in (PATH, "/healthz", "/api", "/version"):
                assert client.get(path, headers=headers).status_code == 401
