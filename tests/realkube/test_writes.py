"""Writes and subresources: authorized here, done upstream in the caller's name, seen there as the caller's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.binaries import Binaries
from tests.support.identities import Identity
from tests.support.kubectl import kubectl
from tests.support.manifests import config_map, pod
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import PROXY_RULES, RealCluster

NAMESPACE = "writes"
ALICE = Identity(name="alice", groups=("makers",))
CAROL = Identity(name="carol")

_WRITER_RULES = [
    {"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["*"]},
    {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["*"]},
]


def _shipped_rules() -> list[dict[str, Any]]:
    """Those that operators are told to give the proxy."""
    text = (Path(__file__).parents[2] / "deploy" / "rbac.yaml").read_text()
    (rules,) = (each["rules"] for each in yaml.safe_load_all(text) if each["kind"] == "ClusterRole")
    return list(rules)


def _policies() -> dict[str, list[dict[str, object]]]:
    """alice and carol may do everything in the namespace, and discover."""
    group = "rbac.authorization.k8s.io"
    return {
        "writers.yaml": [
            {
                "apiVersion": f"{group}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": "writer"},
                "rules": _WRITER_RULES,
            },
            {
                "apiVersion": f"{group}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": "writers", "namespace": NAMESPACE},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "writer"},
                "subjects": [{"apiGroup": group, "kind": "User", "name": name} for name in ("alice", "carol")],
            },
            {
                "apiVersion": f"{group}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": "discovery"},
                "rules": [{"nonResourceURLs": ["*"], "verbs": ["get"]}],
            },
            {
                "apiVersion": f"{group}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "discovery"},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "discovery"},
                "subjects": [{"apiGroup": group, "kind": "Group", "name": "system:authenticated"}],
            },
        ]
    }


@pytest.fixture(scope="module")
def cluster(real_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """One of its own: the proxy may do what deploy/rbac.yaml says, alice (not carol) may write upstream as well."""
    with RealCluster(tmp_path_factory.mktemp("writes"), real_binaries) as cluster:
        cluster.create_namespace(NAMESPACE)
        cluster.grant(cluster.proxy_identity, _shipped_rules())
        cluster.grant(Identity(name="alice"), _WRITER_RULES[:1], namespace=NAMESPACE)
        yield cluster


@pytest.fixture(scope="module")
def proxy(cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """The proxy in front of it."""
    with ProxyProcess(cluster, tmp_path_factory.mktemp("proxy"), _policies()) as process:
        yield process


def test_kubectl_creates_changes_and_deletes_through_the_proxy(proxy: ProxyProcess, cluster: RealCluster) -> None:
    kubeconfig = proxy.kubeconfig(ALICE, namespace=NAMESPACE)
    for arguments in (
        ("create", "configmap", "settings", "--from-literal=a=1"),
        ("label", "configmap", "settings", "tier=web"),
        ("patch", "configmap", "settings", "--type=json", '-p=[{"op":"add","path":"/data/b","value":"2"}]'),
        ("annotate", "configmap", "settings", "note=x"),
    ):
        done = kubectl(kubeconfig, *arguments)
        assert done.returncode == 0, done.stderr
    stored = cluster.get(config_map("settings", NAMESPACE, data={}))
    assert (stored["data"], stored["metadata"]["labels"]) == ({"a": "1", "b": "2"}, {"tier": "web"})
    assert kubectl(kubeconfig, "delete", "configmap", "settings").returncode == 0


def test_server_side_apply_and_scale_work(proxy: ProxyProcess, cluster: RealCluster) -> None:
    kubeconfig = proxy.kubeconfig(ALICE, namespace=NAMESPACE)
    done = kubectl(kubeconfig, "create", "deployment", "web", "--image=registry.example/app:1")
    assert done.returncode == 0, done.stderr
    assert kubectl(kubeconfig, "scale", "deployment", "web", "--replicas=3").returncode == 0
    with proxy.client(ALICE) as client:
        applied = client.patch(
            f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/web?fieldManager=test&force=true",
            headers={"content-type": "application/apply-patch+yaml"},
            content=b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {applied: yes-it-is}}\n",
        )
    assert applied.status_code == 200
    assert applied.json()["spec"]["replicas"] == 3
    assert applied.json()["metadata"]["labels"]["applied"] == "yes-it-is"


def test_the_api_server_sees_and_audits_the_caller(proxy: ProxyProcess, cluster: RealCluster) -> None:
    """Its own checks, admission and audit log hold for who it really was."""
    with proxy.client(ALICE) as client:
        created = client.post(f"/api/v1/namespaces/{NAMESPACE}/pods", json=pod("mine", NAMESPACE))
    assert created.status_code == 201
    events = [
        event
        for event in cluster.audit_events()
        if event["verb"] == "create" and event.get("objectRef", {}).get("name") == "mine"
    ]
    assert {event["user"]["username"] for event in events} == {"watchkeeper"}
    impersonated = events[-1]["impersonatedUser"]
    assert impersonated["username"] == "alice"
    assert set(impersonated["groups"]) == {"makers", "system:authenticated"}


def test_what_the_api_server_refuses_the_caller_is_refused(proxy: ProxyProcess) -> None:
    """carol may write by the proxy's policy but not by the API server's own: its 403 is hers."""
    with proxy.client(CAROL) as client:
        answer = client.post(f"/api/v1/namespaces/{NAMESPACE}/configmaps", json=config_map("c", NAMESPACE, data={}))
    assert answer.status_code == 403
    assert 'User "carol" cannot create resource "configmaps"' in answer.json()["message"]


def test_nobody_escalates_through_the_proxy(proxy: ProxyProcess) -> None:
    """The proxy's policy allows alice to write Roles, the API server's escalation check does not."""
    with proxy.client(ALICE) as client:
        answer = client.post(
            f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/roles",
            json={
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": {"name": "more"},
                "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
            },
        )
    assert answer.status_code == 403


def test_a_write_that_the_policy_does_not_allow_never_reaches_the_api_server(
    proxy: ProxyProcess, cluster: RealCluster
) -> None:
    with proxy.client(Identity(name="nobody")) as client:
        answer = client.post(f"/api/v1/namespaces/{NAMESPACE}/configmaps", json=config_map("n", NAMESPACE, data={}))
    assert answer.status_code == 403
    assert answer.json()["message"] == (
        'configmaps is forbidden: User "nobody" cannot create resource "configmaps" in API group "" '
        f'in the namespace "{NAMESPACE}"'
    )
    assert not any(event.get("impersonatedUser", {}).get("username") == "nobody" for event in cluster.audit_events())


def test_a_body_over_three_mebibytes_is_refused(proxy: ProxyProcess) -> None:
    body = config_map("big", NAMESPACE, data={"x": "y" * (3 * 1024 * 1024)})
    with proxy.client(ALICE) as client:
        answer = client.post(f"/api/v1/namespaces/{NAMESPACE}/configmaps", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (413, "RequestEntityTooLarge")


def test_upstreams_warnings_and_validation_errors_reach_the_client(proxy: ProxyProcess) -> None:
    broken = pod("broken", NAMESPACE)
    broken["spec"]["containers"][0]["imagePullPolicy"] = "Sometimes"
    with proxy.client(ALICE) as client:
        refused = client.post(f"/api/v1/namespaces/{NAMESPACE}/pods", json=broken)
        warned = client.post(
            f"/api/v1/namespaces/{NAMESPACE}/pods?fieldValidation=Warn",
            json={**pod("warned", NAMESPACE), "nonsense": 1},
        )
    assert refused.status_code == 422
    assert "imagePullPolicy" in refused.json()["message"]
    assert warned.status_code == 201
    assert "unknown field" in warned.headers["warning"]


def test_a_dry_run_changes_nothing(proxy: ProxyProcess, cluster: RealCluster) -> None:
    with proxy.client(ALICE) as client:
        answer = client.post(f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", json=pod("dry", NAMESPACE))
    assert answer.status_code == 201
    with cluster.client(ALICE) as direct:
        assert direct.get(f"/api/v1/namespaces/{NAMESPACE}/pods/dry").status_code == 404


def test_deletecollection_needs_an_unrestricted_scope(proxy: ProxyProcess) -> None:
    with proxy.client(ALICE) as client:
        everywhere = client.delete("/api/v1/configmaps")
        here = client.delete(f"/api/v1/namespaces/{NAMESPACE}/configmaps?labelSelector=no%3Dsuch")
    assert everywhere.status_code == 403
    assert here.status_code == 200


def test_a_proxy_that_may_not_impersonate_says_so(
    cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """503, not a 403 that would read as the caller's."""
    with ProxyProcess(cluster, tmp_path_factory.mktemp("refused"), _policies()) as process:
        cluster.grant(cluster.proxy_identity, PROXY_RULES)
        try:
            with process.client(ALICE) as client:
                answer = client.post(f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", json=pod("p", NAMESPACE))
        finally:
            cluster.grant(cluster.proxy_identity, _shipped_rules())
    assert answer.status_code == 503
    assert "refuses the proxy's own identity" in answer.json()["message"]


def test_upstream_identity_proxy_writes_as_the_proxy(
    cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cluster.grant(cluster.proxy_identity, [*_shipped_rules(), _WRITER_RULES[0]])
    flags = ["--upstream-identity", "proxy"]
    with ProxyProcess(cluster, tmp_path_factory.mktemp("own"), _policies(), flags=flags) as process:
        with process.client(CAROL) as client:
            answer = client.post(f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", json=pod("own", NAMESPACE))
    assert answer.status_code == 201
