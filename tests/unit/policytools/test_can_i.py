"""`can-i`: reading the question, and the forms of the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.authn.user import User
from proxy.authz.decision import Attributes
from proxy.authz.namespaces import NamespaceLabels
from proxy.authz.state import AuthorizationState
from proxy.policy.compile import compile_policy
from proxy.policy.model import Binding, Dialect, Role
from proxy.policytools.answer import ask
from proxy.policytools.can_i import answer_reviews, answer_text, question
from tests.support.policies import asking, asking_path, binding, fields, labels, policy, role, rule, user_subject

ALICE = User(name="alice")
VIEW = role("view", rule("get list", "pods widgets nodes"))


def state(*objects: Role | Binding, namespaces: dict[str, dict[str, str]] | None = None) -> AuthorizationState:
    return AuthorizationState(
        snapshot=compile_policy(policy(*objects)),
        namespaces=None if namespaces is None else NamespaceLabels(namespaces),
        effective_at=0.0,
        activation=1,
    )


@pytest.mark.parametrize(
    ("what", "group", "resource", "name", "namespaced"),
    [
        ("pods", "", "pods", "", True),
        ("pods/x", "", "pods", "x", True),
        ("deployments.apps", "apps", "deployments", "", True),
        ("roles.rbac.authorization.k8s.io/r", "rbac.authorization.k8s.io", "roles", "r", True),
        ("nodes/n.example.com", "", "nodes", "n.example.com", False),
        ("widgets.example.com", "example.com", "widgets", "", True),
        ("*", "", "*", "", True),
        ("*.*", "*", "*", "", True),
    ],
)
def test_a_resource_is_asked_for_as_kubectl_writes_it(
    what: str, group: str, resource: str, name: str, namespaced: bool
) -> None:
    asked = question("get", what, namespace="", subresource="")
    assert (asked.api_group, asked.resource, asked.name, asked.namespaced) == (group, resource, name, namespaced)


def test_namespace_and_subresource_go_with_a_resource() -> None:
    asked = question("get", "pods/x", namespace="ns", subresource="log")
    assert (asked.namespace, asked.subresource) == ("ns", "log")


def test_a_path_is_a_url() -> None:
    assert question("get", "/healthz", namespace="", subresource="") == asking_path("get", "/healthz")


@pytest.mark.parametrize("what", ["", "pods/", "pods.", "/x", ".apps", "pods./x"])
def test_a_question_with_an_empty_part_is_refused(what: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        question("get", what, namespace="ns" if what == "/x" else "", subresource="")
    with pytest.raises(ValueError, match="VERB"):
        question("", "pods", namespace="", subresource="")


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (
            asking("list", "pods", namespace="a"),
            'yes\nRBAC: allowed by RoleBinding "b/a" of ClusterRole "view" to User "alice"',
        ),
        (
            asking("list", "pods"),
            'yes (filtered)\nRBAC: allowed by RoleBinding "b/a" of ClusterRole "view" to User "alice"',
        ),
        (
            asking("list", "nodes"),
            'no\nnodes is forbidden: User "alice" cannot list resource "nodes" in API group "" at the cluster scope',
        ),
    ],
)
def test_the_answer_is_yes_filtered_or_no_and_the_reason(asked: Attributes, text: str) -> None:
    assert (
        answer_text(ask(state(VIEW, binding("b", "view", user_subject("alice"), namespace="a")), ALICE, asked)) == text
    )


def test_an_unknown_resource_counts_as_namespaced_and_the_reason_says_so() -> None:
    bound = state(VIEW, binding("b", "view", user_subject("alice"), namespace="a"))
    answer = ask(bound, ALICE, asking("list", "widgets"))
    assert answer.filtered
    assert answer.reason.endswith("; resource `widgets` is not built in and counts as namespaced")


def test_a_built_in_resource_of_another_group_is_suggested() -> None:
    answer = ask(state(), ALICE, asking("list", "deployments"))
    assert answer.reason.endswith("counts as namespaced, did you mean `deployments.apps`?")


def test_unknown_labels_are_no_answer_and_the_reason_says_how_to_give_them() -> None:
    bound = binding(
        "b",
        "view",
        user_subject("alice"),
        dialect=Dialect.WATCHKEEPER,
        role_dialect=Dialect.RBAC,
        namespace_selector=labels(team="a"),
    )
    answer = ask(state(VIEW, bound), ALICE, asking("list", "pods"))
    assert (answer.status, answer.allowed) == (503, False)
    assert "--namespaces" in answer.reason
    assert ask(state(VIEW, bound, namespaces={"x": {"team": "a"}}), ALICE, asking("list", "pods")).filtered


def reviews(state: AuthorizationState, *specs: object) -> list[dict[str, Any]]:
    lines = [spec if isinstance(spec, bytes) else json.dumps(spec).encode() for spec in specs]
    return [json.loads(answer) for answer in answer_reviews(state, lines)]


LIST_PODS = {"user": "alice", "resourceAttributes": {"verb": "list", "resource": "pods"}}


def test_reviews_are_answered_in_order_one_each() -> None:
    bound = state(VIEW, binding("b", "view", user_subject("alice"), namespace="a"))
    reason = 'RBAC: allowed by RoleBinding "b/a" of ClusterRole "view" to User "alice"'
    assert reviews(
        bound,
        LIST_PODS,
        {"user": "alice", "resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "a"}},
    ) == [
        {"allowed": True, "filtered": True, "reason": reason, "scope": [{"namespaces": ["a"]}]},
        {"allowed": True, "filtered": False, "reason": reason, "scope": "everything"},
    ]


def test_a_review_gets_no_group_by_itself() -> None:
    authenticated = binding("b", "view", user_subject("x"))
    (answer,) = reviews(state(VIEW, authenticated), LIST_PODS)
    assert not answer["allowed"]


@pytest.mark.parametrize("bad", [b"", b"nonsense", b"{}", b'{"user": "a"}', b"\xff", b"[" * 100_000])
def test_a_bad_line_is_told_by_its_number_and_the_next_is_answered(bad: bytes) -> None:
    good, refused, next_good = reviews(
        state(VIEW, binding("b", "view", user_subject("alice"))), LIST_PODS, bad, LIST_PODS
    )
    assert good == next_good
    assert good["allowed"]
    assert refused["reason"].startswith("line 2: ")
    assert {**refused, "reason": ""} == {"allowed": False, "filtered": False, "reason": "", "scope": None}


def test_a_scope_shows_all_its_conditions() -> None:
    own = role(
        "own",
        rule("list", "pods", names=["y", "x"], labels=labels(team="a"), fields=fields(spec__nodeName="n,1")),
        dialect=Dialect.WATCHKEEPER,
    )
    bound = binding("b", "own", user_subject("alice"), dialect=Dialect.WATCHKEEPER, namespaces=["shared", "team-*"])
    (answer,) = reviews(state(own, bound), LIST_PODS)
    assert answer["scope"] == [
        {
            "namespaces": ["shared", "team-*"],
            "names": ["x", "y"],
            "labelSelector": "team=a",
            "fieldSelector": "spec.nodeName=n\\,1",
        }
    ]


def test_an_answer_is_one_line_whatever_the_question_holds() -> None:
    (answer,) = answer_reviews(state(), [json.dumps({**LIST_PODS, "user": "a\nb\u2028"}).encode()])
    assert len(answer.splitlines()) == 1
