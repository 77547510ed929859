"""Decisions, case by case: what a reader of the policy language would ask first."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from proxy.authn.user import User
from proxy.authz.decision import Attributes, Decision, Denied, Permit, Undecided
from proxy.authz.namespaces import NamespaceLabels
from proxy.authz.rbac import authorize
from proxy.authz.scope import Grant, Scope
from proxy.authz.state import AuthorizationState
from proxy.policy.compile import compile_policy
from proxy.policy.model import Binding, Dialect, Role
from proxy.policy.namespace_set import NamespaceSet
from tests.support.policies import (
    asking,
    asking_path,
    binding,
    fields,
    group_subject,
    labels,
    policy,
    role,
    rule,
    service_account,
    user_subject,
)

ALICE = User(name="alice", groups=("dev", "system:authenticated"))
NODE = User(name="system:node:n1", groups=("system:nodes",))
WATCHKEEPER = Dialect.WATCHKEEPER
VIEW = role("view", rule("get list watch", "pods namespaces nodes"))


def decide(
    user: User,
    asked: Attributes,
    *objects: Role | Binding,
    namespaces: Mapping[str, Mapping[str, str]] | None = None,
    strict: bool = False,
    now: float = 1000.0,
) -> Decision:
    state = AuthorizationState(
        snapshot=compile_policy(policy(*objects)),
        namespaces=None if namespaces is None else NamespaceLabels(namespaces),
        effective_at=now,
        activation=7,
    )
    return authorize(state, user, asked, strict=strict)


def scope_of(decision: Decision) -> Scope:
    assert isinstance(decision, Permit), decision
    return decision.scope


def reason_of(decision: Decision) -> str:
    assert isinstance(decision, Permit | Denied), decision
    return decision.reason


def in_namespaces(*names: str) -> Grant:
    return Grant(namespaces=NamespaceSet(frozenset(names)), names=None, field_selector=None, label_selector=None)


def only(*grants: Grant) -> Scope:
    return Scope(everything=False, grants=frozenset(grants))


def test_a_list_across_namespaces_shows_those_of_the_role_bindings() -> None:
    decision = decide(
        ALICE,
        asking("list", "pods"),
        VIEW,
        binding("b", "view", user_subject("alice"), namespace="team-c"),
        binding("a", "view", group_subject("dev"), namespace="team-a"),
        binding("a", "view", user_subject("bob"), namespace="team-b"),
    )
    assert scope_of(decision) == only(in_namespaces("team-a", "team-c"))
    assert isinstance(decision, Permit)
    assert (decision.user, decision.attributes, decision.activation) == (ALICE, asking("list", "pods"), 7)


def test_a_list_in_one_of_them_is_not_filtered() -> None:
    bound = binding("a", "view", user_subject("alice"), namespace="team-a")
    assert scope_of(decide(ALICE, asking("list", "pods", namespace="team-a"), VIEW, bound)).everything
    assert isinstance(decide(ALICE, asking("list", "pods", namespace="team-b"), VIEW, bound), Denied)


def test_a_namespaced_grant_never_covers_a_cluster_scoped_resource() -> None:
    bound = binding("a", "view", user_subject("alice"), namespace="team-a")
    everywhere = binding(
        "b", "view", user_subject("alice"), dialect=WATCHKEEPER, role_dialect=Dialect.RBAC, namespaces=["*"]
    )
    for verb in ("get", "list", "watch"):
        assert isinstance(decide(ALICE, asking(verb, "nodes"), VIEW, bound, everywhere), Denied)


def test_a_role_binding_on_namespaces_shows_its_own_namespace() -> None:
    bound = binding("a", "view", user_subject("alice"), namespace="team-a")
    assert scope_of(decide(ALICE, asking("list", "namespaces"), VIEW, bound)) == only(in_namespaces("team-a"))
    assert scope_of(
        decide(ALICE, asking("get", "namespaces", namespace="team-a", name="team-a"), VIEW, bound)
    ).everything


def test_names_of_namespaces_and_their_namespaces_are_one_condition() -> None:
    named = role("named", rule("list", "namespaces", names=["a", "b"]))
    wide = binding("wide", "named", user_subject("alice"))
    local = binding("local", "named", user_subject("alice"), namespace="a")
    elsewhere = binding("elsewhere", "named", user_subject("alice"), namespace="c")
    asked = asking("list", "namespaces")
    assert scope_of(decide(ALICE, asked, named, wide)) == only(in_namespaces("a", "b"))
    assert scope_of(decide(ALICE, asked, named, local)) == only(in_namespaces("a"))
    assert isinstance(decide(ALICE, asked, named, elsewhere), Denied)
    assert scope_of(decide(ALICE, asking("list", "namespaces", namespace="a"), named, wide)) == only(in_namespaces("a"))
    assert isinstance(decide(ALICE, asking("list", "namespaces", namespace="c"), named, wide), Denied)


@pytest.mark.parametrize("verb", ["create", "update", "patch", "delete", "deletecollection"])
def test_a_write_across_namespaces_needs_a_cluster_wide_grant(verb: str) -> None:
    edit = role("edit", rule("*", "pods"))
    assert isinstance(
        decide(ALICE, asking(verb, "pods"), edit, binding("a", "edit", user_subject("alice"), namespace="a")), Denied
    )
    assert scope_of(decide(ALICE, asking(verb, "pods"), edit, binding("a", "edit", user_subject("alice")))).everything


@pytest.mark.parametrize("verb", ["create", "deletecollection"])
def test_object_names_never_match_a_request_without_a_name_unless_it_reads(verb: str) -> None:
    named = role("named", rule("*", "pods", names=["x"]))
    bound = binding("b", "named", user_subject("alice"))
    assert isinstance(decide(ALICE, asking(verb, "pods", namespace="a"), named, bound), Denied)
    (grant,) = scope_of(decide(ALICE, asking("list", "pods", namespace="a"), named, bound)).grants
    assert grant.names == frozenset({"x"})
    assert scope_of(decide(ALICE, asking("list", "pods", namespace="a", name="x"), named, bound)).everything


def test_selectors_limit_a_get_too() -> None:
    own = role("own", rule("get list watch", "pods", fields=fields(spec__nodeName="${node}")), dialect=WATCHKEEPER)
    bound = binding("own", "own", user_subject("system:node:{node}"), dialect=WATCHKEEPER)
    for asked in (asking("watch", "pods"), asking("get", "pods", namespace="a", name="x")):
        assert scope_of(decide(NODE, asked, own, bound)) == only(
            Grant(namespaces=None, names=None, field_selector=fields(spec__nodeName="n1"), label_selector=None)
        )


@pytest.mark.parametrize(
    "asked",
    [
        asking("get", "pods", namespace="a", name="x", subresource="log"),
        asking("delete", "pods", namespace="a", name="x"),
        asking("deletecollection", "pods", namespace="a"),
        asking("list", "pods/log", namespace="a"),
        asking("*", "pods", namespace="a"),
    ],
)
def test_a_rule_with_selectors_gives_reads_of_whole_objects_only(asked: Attributes) -> None:
    """Even if a policy that no check has seen says otherwise."""
    scoped = role("own", rule("*", "* pods/log */log", labels=labels(team="a")), dialect=WATCHKEEPER)
    assert isinstance(
        decide(ALICE, asked, scoped, binding("b", "own", user_subject("alice"), dialect=WATCHKEEPER)), Denied
    )


def test_an_empty_selector_is_no_condition() -> None:
    scoped = role("own", rule("get list watch", "pods", labels=labels(), fields=fields()), dialect=WATCHKEEPER)
    bound = binding("b", "own", user_subject("alice"), dialect=WATCHKEEPER)
    assert scope_of(decide(ALICE, asking("list", "pods"), scoped, bound)).everything
    assert isinstance(decide(ALICE, asking("delete", "pods"), scoped, bound), Denied)


def test_a_capture_comes_from_the_subject_of_the_same_binding_only() -> None:
    own = role("own", rule("list", "pods", fields=fields(spec__nodeName="${node}")), dialect=WATCHKEEPER)
    decision = decide(
        User(name="system:node:n1", groups=("dev",)),
        asking("list", "pods"),
        own,
        role("other", dialect=WATCHKEEPER),
        binding("capturing", "other", user_subject("system:node:{node}"), dialect=WATCHKEEPER),
        binding("granting", "own", group_subject("dev"), dialect=WATCHKEEPER),
    )
    assert isinstance(decision, Denied)


@pytest.mark.parametrize("verb", ["get", "update", "delete"])
def test_a_name_with_a_template_is_that_of_the_caller(verb: str) -> None:
    own = role("own", rule(verb, "leases", names=["${node}", "shared"]), dialect=WATCHKEEPER)
    bound = binding("b", "own", user_subject("system:node:{node}"), dialect=WATCHKEEPER)
    for name in ("n1", "shared"):
        mine = asking(verb, "leases", namespace="a", name=name)
        assert scope_of(decide(User(name="system:node:n1"), mine, own, bound)).everything
    for name in ("n2", "${node}", ""):
        other = asking(verb, "leases", namespace="a", name=name)
        decision = decide(User(name="system:node:n1"), other, own, bound)
        assert isinstance(decision, Denied) or not scope_of(decision).everything


def test_a_rule_with_a_name_that_has_no_value_does_not_apply() -> None:
    own = role("own", rule("list get", "leases", names=["${user.uid}", "shared"]), dialect=WATCHKEEPER)
    bound = binding("b", "own", user_subject("bob"), dialect=WATCHKEEPER)
    for asked in (asking("list", "leases"), asking("get", "leases", namespace="a", name="shared")):
        assert isinstance(decide(User(name="bob"), asked, own, bound), Denied)


def test_a_name_in_a_role_of_rbac_v1_is_no_template() -> None:
    own = role("own", rule("get", "leases", names=["${user.name}"]))
    bound = binding("b", "own", user_subject("alice"))
    assert isinstance(decide(ALICE, asking("get", "leases", namespace="a", name="alice"), own, bound), Denied)
    literal = asking("get", "leases", namespace="a", name="${user.name}")
    assert scope_of(decide(ALICE, literal, own, bound)).everything


def test_a_name_in_braces_is_a_plain_name_in_rbac_v1() -> None:
    bound = binding("b", "view", user_subject("system:node:{node}"))
    assert isinstance(decide(NODE, asking("list", "pods"), VIEW, bound), Denied)
    assert scope_of(decide(User(name="system:node:{node}"), asking("list", "pods"), VIEW, bound)).everything


@pytest.mark.parametrize("star", ["*", "**"])
def test_a_star_among_the_namespaces_is_all_of_them(star: str) -> None:
    bound = binding(
        "b", "view", user_subject("alice"), dialect=WATCHKEEPER, role_dialect=Dialect.RBAC, namespaces=["a", star]
    )
    assert scope_of(decide(ALICE, asking("list", "pods"), VIEW, bound)).everything


def test_no_namespaces_at_all_reach_nothing() -> None:
    bound = binding("b", "view", user_subject("alice"), dialect=WATCHKEEPER, role_dialect=Dialect.RBAC, namespaces=[])
    assert isinstance(decide(ALICE, asking("list", "pods"), VIEW, bound), Denied)
    assert isinstance(decide(ALICE, asking("list", "pods", namespace="a"), VIEW, bound), Denied)


def test_a_binding_grants_until_it_expires_and_not_at_that_moment() -> None:
    bound = binding("b", "view", user_subject("alice"), dialect=WATCHKEEPER, role_dialect=Dialect.RBAC, expires=500.0)
    asked = asking("list", "pods")
    assert scope_of(decide(ALICE, asked, VIEW, bound, now=499.9)).everything
    assert isinstance(decide(ALICE, asked, VIEW, bound, now=500.0), Denied)


def test_an_expired_role_binding_leaves_those_of_the_same_role() -> None:
    kept = binding("kept", "view", user_subject("alice"), namespace="a")
    old = binding(
        "old", "view", user_subject("alice"), namespace="b", dialect=WATCHKEEPER, role_dialect=Dialect.RBAC, expires=5.0
    )
    asked = asking("list", "pods")
    assert scope_of(decide(ALICE, asked, VIEW, kept, old, now=5.0)) == only(in_namespaces("a"))
    assert scope_of(decide(ALICE, asked, VIEW, kept, old, now=4.0)) == only(in_namespaces("a", "b"))


SELECTING = binding(
    "b",
    "view",
    group_subject("dev"),
    dialect=WATCHKEEPER,
    role_dialect=Dialect.RBAC,
    namespace_selector=labels(team="a"),
)


def test_labels_of_namespaces_decide_which_are_shown() -> None:
    live = {"x": {"team": "a"}, "y": {"team": "b"}, "z": {}}
    assert scope_of(decide(ALICE, asking("list", "pods"), VIEW, SELECTING, namespaces=live)) == only(in_namespaces("x"))
    assert scope_of(decide(ALICE, asking("list", "pods", namespace="x"), VIEW, SELECTING, namespaces=live)).everything
    assert isinstance(decide(ALICE, asking("list", "pods", namespace="y"), VIEW, SELECTING, namespaces=live), Denied)
    assert isinstance(decide(ALICE, asking("list", "pods"), VIEW, SELECTING, namespaces={"y": {}}), Denied)


def test_unknown_labels_leave_undecided_those_whom_they_concern() -> None:
    assert isinstance(decide(ALICE, asking("list", "pods"), VIEW, SELECTING), Undecided)
    assert isinstance(decide(ALICE, asking("list", "pods", namespace="x"), VIEW, SELECTING), Undecided)
    assert isinstance(decide(NODE, asking("list", "pods"), VIEW, SELECTING), Denied)
    assert isinstance(decide(ALICE, asking("list", "nodes"), VIEW, SELECTING), Denied)
    assert isinstance(decide(ALICE, asking("delete", "pods", namespace="x"), VIEW, SELECTING), Denied)


def test_unknown_labels_leave_undecided_even_what_other_grants_show_in_part() -> None:
    part = binding("part", "view", user_subject("alice"), namespace="a")
    assert isinstance(decide(ALICE, asking("list", "pods"), VIEW, SELECTING, part), Undecided)


def test_unknown_labels_do_not_matter_to_who_may_see_everything() -> None:
    wide = binding("wide", "view", user_subject("alice"))
    assert scope_of(decide(ALICE, asking("list", "pods"), VIEW, SELECTING, wide)).everything


def test_strict_refuses_a_filtered_list_with_kubernetes_sentence() -> None:
    bound = binding("a", "view", user_subject("alice"), namespace="a")
    decision = decide(ALICE, asking("list", "pods"), VIEW, bound, strict=True)
    assert isinstance(decision, Denied)
    assert decision.message == (
        'pods is forbidden: User "alice" cannot list resource "pods" in API group "" at the cluster scope'
    )


def test_strict_needs_no_labels_to_refuse_a_list_across_namespaces() -> None:
    assert isinstance(decide(ALICE, asking("list", "pods"), VIEW, SELECTING, strict=True), Denied)
    assert isinstance(decide(ALICE, asking("list", "pods", namespace="x"), VIEW, SELECTING, strict=True), Undecided)


@pytest.mark.parametrize(
    ("rule_urls", "path", "allowed"),
    [
        ("*", "/anything", True),
        ("/api", "/api", True),
        ("/api", "/api/v1", False),
        ("/api/*", "/api/v1", True),
        ("/api/*", "/api", False),
        ("/api*", "/apis", True),
        ("/api**", "/api/v1", True),
        ("/a*i", "/api", False),
        ("/a*i", "/a*i", True),
        ("/api/*", "/API/v1", False),
    ],
)
def test_urls_match_as_in_kubernetes(rule_urls: str, path: str, allowed: bool) -> None:
    discovery = role("discovery", rule("get", urls=rule_urls))
    decision = decide(ALICE, asking_path("get", path), discovery, binding("b", "discovery", user_subject("alice")))
    assert isinstance(decision, Permit) is allowed


def test_a_url_is_never_granted_by_resources_nor_in_a_namespace() -> None:
    both = role("r", rule("*", "*", groups=["*"]), rule("get", urls="/x"))
    assert isinstance(
        decide(ALICE, asking_path("get", "/x"), both, binding("b", "r", user_subject("alice"), namespace="a")), Denied
    )
    resources = role("r", rule("*", "*", groups=["*"]))
    assert isinstance(
        decide(ALICE, asking_path("get", "*"), resources, binding("b", "r", user_subject("alice"))), Denied
    )


@pytest.mark.parametrize(
    ("resources", "resource", "subresource", "allowed"),
    [
        ("*", "pods", "", True),
        ("*", "pods", "log", True),
        ("pods", "pods", "log", False),
        ("pods/log", "pods", "log", True),
        ("pods/log", "pods", "", False),
        ("*/log", "pods", "log", True),
        ("*/log", "pods", "logs", False),
        ("*/log", "pods", "", False),
        ("pods/*", "pods", "log", False),
        ("*/*", "pods", "log", False),
        ("*/*", "pods", "*", True),
        ("Pods", "pods", "", False),
    ],
)
def test_resources_match_as_in_kubernetes(resources: str, resource: str, subresource: str, allowed: bool) -> None:
    granted = role("r", rule("get", resources))
    asked = asking("get", resource, namespace="a", name="x", subresource=subresource)
    assert isinstance(decide(ALICE, asked, granted, binding("b", "r", user_subject("alice"))), Permit) is allowed


@pytest.mark.parametrize(
    ("bound", "user", "reason"),
    [
        (
            binding("b", "view", group_subject("dev"), user_subject("alice")),
            ALICE,
            'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "view" to Group "dev"',
        ),
        (
            binding("b", "view", user_subject("alice"), group_subject("dev"), namespace="a"),
            ALICE,
            'RBAC: allowed by RoleBinding "b/a" of ClusterRole "view" to User "alice"',
        ),
        (
            binding("b", "view", service_account("robot"), namespace="a"),
            User(name="system:serviceaccount:a:robot"),
            'RBAC: allowed by RoleBinding "b/a" of ClusterRole "view" to ServiceAccount "robot/a"',
        ),
        (
            binding("b", "view", service_account("robot", "z")),
            User(name="system:serviceaccount:z:robot"),
            'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "view" to ServiceAccount "robot/z"',
        ),
    ],
)
def test_the_reason_names_binding_role_and_first_subject_as_kubernetes_does(
    bound: Binding, user: User, reason: str
) -> None:
    assert reason_of(decide(user, asking("get", "pods", namespace="a", name="x"), VIEW, bound)) == reason


def test_a_cluster_wide_binding_is_named_before_a_role_binding() -> None:
    local = binding("a", "view", user_subject("alice"), namespace="a")
    wide = binding("z", "view", group_subject("dev"))
    decision = decide(ALICE, asking("list", "pods", namespace="a"), VIEW, local, wide)
    assert 'ClusterRoleBinding "z"' in reason_of(decision)


def test_a_missing_role_grants_nothing_and_is_told() -> None:
    decision = decide(
        ALICE,
        asking("list", "pods", namespace="a"),
        binding("one", "gone", user_subject("alice")),
        binding("two", "lost", group_subject("dev"), namespace="a", kind="Role"),
        binding("elsewhere", "void", user_subject("alice"), namespace="b"),
    )
    assert reason_of(decision) == (
        'RBAC: [clusterrole.rbac.authorization.k8s.io "gone" not found, '
        'role.rbac.authorization.k8s.io "lost" not found]'
    )


def test_roles_of_equal_name_in_the_two_groups_are_two_roles() -> None:
    ours = role("view", rule("list", "secrets"), dialect=WATCHKEEPER)
    bound = binding("b", "view", user_subject("alice"), dialect=WATCHKEEPER, role_dialect=Dialect.RBAC)
    assert isinstance(decide(ALICE, asking("list", "secrets"), ours, VIEW, bound), Denied)
    assert scope_of(decide(ALICE, asking("list", "pods"), ours, VIEW, bound)).everything


def test_a_role_is_that_of_the_bindings_own_namespace() -> None:
    local = role("view", rule("list", "pods"), namespace="a")
    bound = binding("b", "view", user_subject("alice"), namespace="b", kind="Role")
    assert isinstance(decide(ALICE, asking("list", "pods", namespace="b"), local, bound), Denied)
    assert isinstance(decide(ALICE, asking("list", "pods", namespace="a"), local, bound), Denied)


def test_system_masters_gets_nothing_by_itself() -> None:
    assert isinstance(decide(User(name="root", groups=("system:masters",)), asking("list", "pods"), VIEW), Denied)
