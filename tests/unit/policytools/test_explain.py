"""`explain`: what was looked at, and why it did or did not apply."""

from __future__ import annotations

import json

import pytest

from proxy.authn.user import User
from proxy.authz.decision import Attributes
from proxy.authz.namespaces import NamespaceLabels
from proxy.authz.state import AuthorizationState
from proxy.policy.compile import compile_policy
from proxy.policy.model import Binding, Dialect, PolicyRule, Role
from proxy.policytools.explain import explain, explanation_lines
from proxy.policytools.explain_requests import explain_requests
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
    user_subject,
)

ALICE = User(name="alice", groups=("dev",), extra=(("team", ("a b",)),))
WATCHKEEPER = Dialect.WATCHKEEPER


def state(*objects: Role | Binding) -> AuthorizationState:
    return AuthorizationState(
        snapshot=compile_policy(policy(*objects)),
        namespaces=NamespaceLabels({"x": {"team": "a"}}),
        effective_at=1000.0,
        activation=1,
    )


def why_not(granted: PolicyRule, asked: Attributes, **bound: object) -> str:
    """Of the only rule of the only binding."""
    roles = role("r", granted, dialect=WATCHKEEPER)
    only = binding("b", "r", user_subject("alice"), dialect=WATCHKEEPER, **bound)  # type: ignore[arg-type]
    (reading,) = explain(state(roles, only), ALICE, asked).bindings
    (read,) = reading.rules
    assert read.scope.is_empty
    return read.why_not


@pytest.mark.parametrize(
    ("granted", "asked", "why"),
    [
        (rule("get list", "pods"), asking("watch", "pods"), "verbs `get`, `list`, not `watch`"),
        (rule("*", "pods"), asking("list", "pods", group="apps"), '`""`, not `apps`'),
        (rule("*", "pods secrets"), asking("list", "nodes"), "resources `pods`, `secrets`, not `nodes`"),
        (rule("*", "pods"), asking("get", "pods", name="x", subresource="log"), "resources `pods`, not `pods/log`"),
        (rule("*", "pods", names=["x"]), asking("get", "pods", name="y"), "resourceNames `x`, not `y`"),
        (rule("*", "pods", names=["${user.name}"]), asking("get", "pods", name="y"), "resourceNames `alice`, not `y`"),
        (
            rule("*", "pods", names=["${user.uid}"]),
            asking("get", "pods", name="y"),
            "`${user.uid}` has no single value for this user",
        ),
        (rule("*", "pods", names=["x"]), asking("create", "pods"), "the request has no name"),
        (rule("*", "pods"), asking_path("get", "/x"), "names resources, not URLs"),
        (rule("*", urls="/y /z/*"), asking_path("get", "/x"), "nonResourceURLs `/y`, `/z/*`, not `/x`"),
        (rule("*", urls="*"), asking("get", "pods"), "names URLs, not resources"),
        (rule("*", "pods", labels=labels(a="b")), asking("delete", "pods", name="x"), "whole objects only"),
        (rule("list", "pods", fields=fields(a="${user.uid}")), asking("list", "pods"), "`${user.uid}` has no single"),
        (rule("list", "pods", labels=labels(a="${user.extra[team]}")), asking("list", "pods"), "no legal label value"),
    ],
)
def test_the_first_thing_that_differs_is_told(granted: PolicyRule, asked: Attributes, why: str) -> None:
    assert why in why_not(granted, asked)


@pytest.mark.parametrize(
    ("asked", "bound", "why"),
    [
        (asking("list", "pods", namespace="b"), {"namespace": "a"}, "holds in namespace `a`, not in `b`"),
        (asking("list", "nodes"), {"namespace": "a"}, "in namespaces only, and `nodes` is cluster-scoped"),
        (asking("create", "pods"), {"namespace": "a"}, "in namespaces only, and the request names none"),
        (asking("list", "pods", namespace="b"), {"namespaces": ["a-*"]}, "do not include namespace `b`"),
        (
            asking("list", "pods", namespace="b"),
            {"namespace_selector": labels(team="a")},
            "do not include namespace `b`",
        ),
        (asking("list", "pods"), {"namespaces": ["${user.uid}"]}, "`${user.uid}` has no single value"),
    ],
)
def test_a_binding_that_holds_elsewhere_is_told(asked: Attributes, bound: dict[str, object], why: str) -> None:
    assert why in why_not(rule("*", "*"), asked, **bound)


def test_a_binding_that_is_over_or_empty_is_told_without_its_rules() -> None:
    view = role("view", rule("list", "pods"), dialect=WATCHKEEPER)
    over = binding("over", "view", user_subject("alice"), dialect=WATCHKEEPER, expires=1000.0)
    lost = binding("lost", "gone", user_subject("alice"), dialect=WATCHKEEPER)
    readings = explain(state(view, over, lost), ALICE, asking("list", "pods")).bindings
    assert [(each.binding.name, each.why_not, each.rules) for each in readings] == [
        ("lost", "its role does not exist", ()),
        ("over", "it has expired", ()),
    ]


def test_the_text_shows_user_bindings_rules_and_answer() -> None:
    view = role("view", rule("list", "pods"), rule("get", "secrets"))
    lines = list(
        explanation_lines(
            explain(
                state(
                    view,
                    binding("a", "view", group_subject("dev"), namespace="x"),
                    binding("b", "view", user_subject("bob")),
                ),
                ALICE,
                asking("list", "pods"),
            )
        )
    )
    assert lines == [
        'question: list pods in API group "" across all namespaces',
        "user: alice, groups dev",
        'RoleBinding a in namespace x (policy.yaml:1:1), names Group "dev"',
        "  gives ClusterRole view",
        "    rule policy.yaml:1:1: applies: namespaces x",
        "    rule policy.yaml:1:1: does not apply: verbs `get`, not `list`",
        "bindings that do not name this user: 1",
        "answer: yes (filtered)",
        'reason: RBAC: allowed by RoleBinding "a/x" of ClusterRole "view" to Group "dev"',
        "scope: namespaces x",
    ]


def test_requests_are_answered_in_order_and_refusals_are_those_of_the_server() -> None:
    view = role("view", rule("list watch", "pods"))
    requests = [
        {"method": "GET", "target": "/api/v1/pods?watch=1"},
        {"method": "GET", "target": "/api/v1/pods?fieldSelector=metadata.name%3Dx"},
        {"method": "GET", "target": "/api/v1//pods"},
        {"method": "PURGE", "target": "/api/v1/pods"},
        {"method": "GET", "target": "/" + "a" * 9000},
        {"method": "DELETE", "target": "/api/v1/namespaces/x/pods"},
        {"method": "GET", "target": "http://host/api"},
        {"method": "GET"},
    ]
    answers = [
        json.loads(answer)
        for answer in explain_requests(
            state(view, binding("a", "view", group_subject("dev"), namespace="x")),
            ALICE,
            [json.dumps(request).encode() for request in requests],
        )
    ]
    assert [answer["status"] for answer in answers] == [200, 200, 400, 405, 414, 403, 400, 400]
    assert answers[0] == {
        "request": {
            "verb": "watch",
            "apiGroup": "",
            "apiVersion": "v1",
            "resource": "pods",
            "subresource": "",
            "namespace": "",
            "name": "",
            "path": "/api/v1/pods",
        },
        "status": 200,
        "message": 'RBAC: allowed by RoleBinding "a/x" of ClusterRole "view" to Group "dev"',
        "allowed": True,
        "filtered": True,
        "scope": [{"namespaces": ["x"]}],
    }
    assert answers[1]["request"]["name"] == "x"
    assert [answer["request"] is None for answer in answers] == [False, False, True, True, True, False, True, True]
    assert answers[5]["request"]["verb"] == "deletecollection"
    assert all(answer["scope"] is None and not answer["allowed"] for answer in answers[2:])
    assert answers[7]["message"].startswith("line 8: ")
