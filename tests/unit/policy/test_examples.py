"""The examples in policies/ grant what their comments say, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.authn.user import User, with_authenticated_group
from proxy.authz.decision import Attributes, Permit
from proxy.authz.namespaces import NamespaceLabels
from proxy.authz.rbac import authorize
from proxy.authz.scope import EVERYTHING, Scope
from proxy.authz.state import AuthorizationState
from proxy.policy.compile import compile_policy
from proxy.policy.folder import read_policy_folder
from proxy.policy.load import load_policies

POLICIES = Path(__file__).parents[3] / "policies"
CLUSTER_SCOPED = frozenset({"nodes", "namespaces", "clusterroles"})


@pytest.fixture(scope="module")
def state() -> AuthorizationState:
    loaded = load_policies(read_policy_folder(POLICIES))
    assert loaded.findings == ()
    snapshot = compile_policy(loaded.policy)
    return AuthorizationState(snapshot=snapshot, namespaces=NamespaceLabels({}), effective_at=0.0, activation=1)


def user(name: str, *groups: str) -> User:
    return with_authenticated_group(User(name=name, groups=groups))


def scope_of(state: AuthorizationState, caller: User, attributes: Attributes) -> Scope | None:
    decision = authorize(state, caller, attributes, strict=False)
    return decision.scope if isinstance(decision, Permit) else None


def resource(verb: str, name: str, *, group: str = "", namespace: str = "", sub: str = "") -> Attributes:
    return Attributes(
        verb=verb,
        is_resource_request=True,
        api_group=group,
        api_version="v1",
        resource=name,
        subresource=sub,
        namespace=namespace,
        namespaced=name not in CLUSTER_SCOPED,
    )


def url(path: str) -> Attributes:
    return Attributes(verb="get", is_resource_request=False, path=path)


@pytest.mark.parametrize(
    "folder", sorted(path for path in POLICIES.iterdir() if path.is_dir()), ids=lambda path: path.name
)
def test_each_example_loads_alone(folder: Path) -> None:
    assert load_policies(read_policy_folder(folder)).findings == ()


def test_every_example_is_in_the_readme() -> None:
    readme = (POLICIES / "README.md").read_text()
    assert [path.name for path in POLICIES.iterdir() if path.is_dir() and f"]({path.name})" not in readme] == []


def test_discovery_is_for_everyone_authenticated(state: AuthorizationState) -> None:
    for path in ("/api", "/apis", "/apis/apps/v1", "/openapi/v3", "/version", "/livez", "/readyz"):
        assert scope_of(state, user("anyone"), url(path)) == EVERYTHING
        assert scope_of(state, User(name="system:anonymous", groups=("system:unauthenticated",)), url(path)) is None
    assert scope_of(state, user("anyone"), url("/metrics")) is None
    review = resource("create", "selfsubjectaccessreviews", group="authorization.k8s.io")
    assert scope_of(state, user("anyone"), review) == EVERYTHING


@pytest.mark.parametrize(
    ("caller", "namespaces"),
    [
        (user("alice"), {"team-a", "team-c"}),
        (user("bob"), {"team-b"}),
        (user("carol", "on-call"), {"team-a", "team-b", "team-c", "team-z"}),
        (user("mallory"), set()),
    ],
)
def test_tenants_see_their_own_namespaces(state: AuthorizationState, caller: User, namespaces: set[str]) -> None:
    for verb in ("list", "watch"):
        for namespace in ("team-a", "team-b", "team-c", "team-z", "kube-system"):
            seen = scope_of(state, caller, resource(verb, "pods", namespace=namespace))
            assert (seen == EVERYTHING) is (namespace in namespaces)
        assert (scope_of(state, caller, resource(verb, "pods")) is not None) is bool(namespaces)
    for refused in (
        resource("list", "secrets", namespace="team-a"),
        resource("create", "pods", namespace="team-a"),
        resource("list", "nodes"),
    ):
        assert scope_of(state, caller, refused) is None


def test_a_node_sees_its_own_pods_and_node(state: AuthorizationState) -> None:
    node1 = user("system:node:node1", "system:nodes")
    pods, nodes = (scope_of(state, node1, resource("watch", name)) for name in ("pods", "nodes"))
    assert pods is not None
    assert nodes is not None
    ((pod_grant,), (node_grant,)) = pods.grants, nodes.grants
    assert pod_grant.field_selector is not None
    assert [(term.path, term.value) for term in pod_grant.field_selector.terms] == [("spec.nodeName", "node1")]
    assert (node_grant.names, node_grant.field_selector) == (frozenset({"node1"}), None)
    for refused in (resource("get", "pods", sub="log"), resource("list", "secrets"), resource("update", "pods")):
        assert scope_of(state, user("system:node:node1"), refused) is None
    assert scope_of(state, user("system:node:a:b"), resource("list", "pods")) is None


def test_kube_proxy_sees_services_and_their_endpoints(state: AuthorizationState) -> None:
    caller = user("system:kube-proxy")
    for name, group in (("services", ""), ("endpointslices", "discovery.k8s.io"), ("nodes", "")):
        assert scope_of(state, caller, resource("watch", name, group=group)) == EVERYTHING
    for refused in ("pods", "secrets", "configmaps"):
        assert scope_of(state, caller, resource("list", refused)) is None


def test_an_auditor_reads_all_but_secrets(state: AuthorizationState) -> None:
    caller = user("eve", "watchkeeper:auditors")
    for name, group in (
        ("pods", ""),
        ("nodes", ""),
        ("deployments", "apps"),
        ("clusterroles", "rbac.authorization.k8s.io"),
    ):
        assert scope_of(state, caller, resource("list", name, group=group)) == EVERYTHING
        assert scope_of(state, caller, resource("delete", name, group=group)) is None
    assert scope_of(state, caller, resource("list", "secrets")) is None
    for sub in ("log", "exec", "attach", "portforward", "proxy"):
        assert scope_of(state, caller, resource("get", "pods", namespace="a", sub=sub)) is None
    assert scope_of(state, caller, resource("get", "nodes", sub="proxy")) is None


@pytest.mark.parametrize("group", ["watchkeeper:admins", "system:masters"])
def test_an_admin_may_do_everything(state: AuthorizationState, group: str) -> None:
    caller = user("admin", group)
    assert scope_of(state, caller, resource("delete", "secrets", namespace="kube-system")) == EVERYTHING
    assert scope_of(state, caller, resource("watch", "pods")) == EVERYTHING
    assert scope_of(state, caller, url("/metrics")) == EVERYTHING
