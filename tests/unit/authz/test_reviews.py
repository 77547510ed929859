"""Reviews: what the policy says of somebody, told to those who ask."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.api.reviews import (
    AccessSpec,
    AccessStatus,
    NonResourceAttributes,
    NonResourceRule,
    ResourceAttributes,
    ResourceRule,
    RulesStatus,
    SelfAccessSpec,
    UserInfo,
)
from proxy.authn.user import User
from proxy.authz.decision import Attributes
from proxy.authz.namespaces import NamespaceLabels
from proxy.authz.rbac import UNKNOWN_LABELS, authorize
from proxy.authz.reviews import (
    FILTERED,
    access_status,
    reviewed_attributes,
    reviewed_user,
    rules_status,
    self_status,
)
from proxy.authz.state import AuthorizationState
from proxy.policy.compile import compile_policy
from proxy.policy.model import Binding, Dialect, Role
from tests.support.policies import asking, binding, fields, group_subject, labels, policy, role, rule, user_subject

ALICE = User(name="alice", uid="7", groups=("dev",), extra=(("scopes", ("a", "b")),))
NODE = User(name="system:node:n1")
VIEW = role("view", rule("get list", "pods"))
WATCHKEEPER = Dialect.WATCHKEEPER


def state(*objects: Role | Binding, namespaces: Mapping[str, Mapping[str, str]] | None = None) -> AuthorizationState:
    return AuthorizationState(
        snapshot=compile_policy(policy(*objects)),
        namespaces=None if namespaces is None else NamespaceLabels(namespaces),
        effective_at=1000.0,
        activation=1,
    )


def status(spec: SelfAccessSpec, user: User, asked: Attributes, *objects: Role | Binding) -> AccessStatus:
    return access_status(authorize(state(*objects), user, asked, strict=False), spec)


def rules(status: RulesStatus) -> list[tuple[str, str]]:
    return [(" ".join(each.verbs), " ".join(each.resources)) for each in status.resourceRules]


def test_who_asks_about_itself_is_told_yes_where_a_filtered_answer_would_come() -> None:
    granted = (VIEW, binding("b", "view", user_subject("alice"), namespace="a"))
    answer = status(SelfAccessSpec(), ALICE, asking("list", "pods"), *granted)
    assert answer.allowed
    assert answer.reason.endswith(f"; {FILTERED}")
    assert "RBAC: allowed by RoleBinding" in answer.reason


def test_who_asks_about_somebody_else_is_told_yes_only_for_the_whole() -> None:
    """The one who asks is a server that would show everything then."""
    granted = (VIEW, binding("b", "view", user_subject("alice"), namespace="a"))
    spec = AccessSpec(user="alice")
    assert status(spec, ALICE, asking("list", "pods"), *granted) == AccessStatus(allowed=False, reason=FILTERED)
    assert status(spec, ALICE, asking("list", "pods", namespace="a"), *granted).allowed


def test_a_selector_makes_a_get_of_one_object_a_filtered_answer() -> None:
    own = role("own", rule("get", "pods", fields=fields(spec__nodeName="n1")), dialect=WATCHKEEPER)
    granted = (own, binding("b", "own", user_subject("alice"), dialect=WATCHKEEPER))
    asked = asking("get", "pods", namespace="a", name="x")
    assert status(SelfAccessSpec(), ALICE, asked, *granted).allowed
    assert not status(AccessSpec(user="alice"), ALICE, asked, *granted).allowed


def test_a_refusal_tells_the_roles_that_are_missing_and_nothing_else() -> None:
    assert status(SelfAccessSpec(), ALICE, asking("list", "pods")) == AccessStatus(allowed=False)
    answer = status(SelfAccessSpec(), ALICE, asking("list", "pods"), binding("b", "gone", user_subject("alice")))
    assert answer.reason == 'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found'


def test_what_depends_on_unknown_labels_is_not_allowed_and_says_why() -> None:
    selecting = binding(
        "b", "view", user_subject("alice"), dialect=WATCHKEEPER, role_dialect=Dialect.RBAC,
        namespace_selector=labels(team="a"),
    )  # fmt: skip
    answer = status(SelfAccessSpec(), ALICE, asking("list", "pods"), VIEW, selecting)
    assert answer == AccessStatus(allowed=False, evaluationError=UNKNOWN_LABELS)


def test_the_question_is_taken_as_it_is_sent() -> None:
    resource = ResourceAttributes(verb="get", group="apps", resource="deployments", subresource="scale", name="x")
    assert reviewed_attributes(SelfAccessSpec(resourceAttributes=resource)) == Attributes(
        verb="get",
        is_resource_request=True,
        api_group="apps",
        api_version="*",
        resource="deployments",
        subresource="scale",
        name="x",
    )
    path = SelfAccessSpec(nonResourceAttributes=NonResourceAttributes(path="/healthz", verb="get"))
    assert reviewed_attributes(path) == Attributes(verb="get", is_resource_request=False, path="/healthz")


def test_the_user_asked_about_is_taken_literally() -> None:
    spec = AccessSpec(user="u", groups=("g",), uid="1", extra={"b": ("2",), "a": ("1", "0")})
    expected = User(name="u", uid="1", groups=("g",), extra=(("a", ("1", "0")), ("b", ("2",))))
    assert reviewed_user(spec) == expected


def test_a_self_review_shows_the_caller() -> None:
    expected = UserInfo(username="alice", uid="7", groups=("dev",), extra={"scopes": ("a", "b")})
    assert self_status(ALICE).userInfo == expected


def test_the_rules_are_those_that_hold_in_the_namespace_each_binding_once() -> None:
    shown = rules_status(
        state(
            VIEW,
            role("edit", rule("create", "pods", names=["x"])),
            role("local", rule("delete", "pods"), namespace="a"),
            role("local", rule("patch", "pods"), namespace="b"),
            binding("z", "edit", user_subject("alice"), group_subject("dev")),
            binding("in-a", "view", group_subject("dev"), namespace="a"),
            binding("local", "local", user_subject("alice"), namespace="a", kind="Role"),
            binding("in-b", "local", user_subject("alice"), namespace="b", kind="Role"),
            binding("other", "view", user_subject("bob"), namespace="a"),
            binding("old", "view", user_subject("alice"), expires=1000.0),
            binding("gone", "gone", user_subject("alice")),
        ),
        ALICE,
        "a",
    )
    assert rules(shown) == [("create", "pods"), ("get list", "pods"), ("delete", "pods")]
    assert shown.resourceRules[0] == ResourceRule(
        verbs=("create",), apiGroups=("",), resources=("pods",), resourceNames=("x",)
    )
    assert (shown.incomplete, shown.evaluationError) == (False, "")


def test_paths_are_granted_cluster_wide_only() -> None:
    paths = role("paths", rule("get", urls="/healthz"))
    everywhere = binding("b", "paths", user_subject("alice"))
    in_a = binding("b", "paths", user_subject("alice"), namespace="a")
    shown = rules_status(state(paths, everywhere), ALICE, "a").nonResourceRules
    assert shown == (NonResourceRule(verbs=("get",), nonResourceURLs=("/healthz",)),)
    assert rules_status(state(paths, in_a), ALICE, "a").nonResourceRules == ()


def test_a_binding_with_a_reach_shows_its_rules_where_it_reaches() -> None:
    reaching = binding(
        "b", "view", user_subject("alice"), dialect=WATCHKEEPER, role_dialect=Dialect.RBAC,
        namespaces=["team-*"], namespace_selector=labels(team="a"),
    )  # fmt: skip
    known = state(VIEW, reaching, namespaces={"team-a": {"team": "a"}, "team-b": {"team": "b"}})
    assert rules(rules_status(known, ALICE, "team-a")) == [("get list", "pods")]
    for elsewhere in ("team-b", "team-c", "x"):
        shown = rules_status(known, ALICE, elsewhere)
        assert (rules(shown), shown.incomplete) == ([], False)


def test_rules_are_incomplete_while_labels_are_unknown_where_they_matter() -> None:
    reaching = binding(
        "b", "view", user_subject("alice"), dialect=WATCHKEEPER, role_dialect=Dialect.RBAC,
        namespaces=["team-*"], namespace_selector=labels(team="a"),
    )  # fmt: skip
    shown = rules_status(state(VIEW, reaching), ALICE, "team-a")
    assert (rules(shown), shown.incomplete, shown.evaluationError) == ([], True, UNKNOWN_LABELS)
    assert not rules_status(state(VIEW, reaching), ALICE, "other").incomplete


def test_a_rule_whose_template_has_no_value_is_not_shown() -> None:
    own = role("own", rule("get", "pods", labels=labels(owner="${user.uid}")), dialect=WATCHKEEPER)
    granted = state(own, binding("b", "own", user_subject("alice"), user_subject("bob"), dialect=WATCHKEEPER))
    assert rules(rules_status(granted, ALICE, "a")) == [("get", "pods")]
    assert rules(rules_status(granted, User(name="bob"), "a")) == []


def test_names_with_templates_are_shown_as_they_are_for_the_caller() -> None:
    own = role("own", rule("get", "pods", names=["${user.uid}", "b"]), dialect=WATCHKEEPER)
    granted = state(own, binding("b", "own", user_subject("alice"), user_subject("bob"), dialect=WATCHKEEPER))
    (shown,) = rules_status(granted, ALICE, "a").resourceRules
    assert shown.resourceNames == tuple(sorted((ALICE.uid, "b")))
    assert rules(rules_status(granted, User(name="bob"), "a")) == []
