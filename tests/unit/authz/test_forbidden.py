"""The words of a 403, compared with what kube-apiserver sends."""

from __future__ import annotations

import msgspec
import pytest

from proxy.api.status import Forbidden
from proxy.authn.user import User
from proxy.authz.decision import Attributes
from proxy.authz.forbidden import denied, missing_roles_reason
from tests.support.policies import asking, asking_path

BOB = User(name="bob")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            asking("list", "pods", namespace="ns"),
            'pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "ns"',
        ),
        (
            asking("watch", "deployments", group="apps"),
            'deployments.apps is forbidden: User "bob" cannot watch resource "deployments" in API group "apps" '
            "at the cluster scope",
        ),
        (
            asking("get", "pods", namespace="ns", name="foo"),
            'pods "foo" is forbidden: User "bob" cannot get resource "pods" in API group "" in the namespace "ns"',
        ),
        (
            asking("get", "pods", namespace="ns", name="foo", subresource="log"),
            'pods "foo" is forbidden: User "bob" cannot get resource "pods/log" in API group "" in the namespace "ns"',
        ),
        (asking_path("get", "/x"), 'forbidden: User "bob" cannot get path "/x"'),
        (
            asking("get", "", namespace=""),
            'forbidden: User "bob" cannot get resource "" in API group "" at the cluster scope',
        ),
    ],
)
def test_the_sentence_is_that_of_kubernetes(asked: Attributes, message: str) -> None:
    assert denied(BOB, asked, "").message == message


def test_a_reason_of_the_authorizer_follows_the_sentence() -> None:
    assert denied(BOB, asking_path("get", "/x"), "RBAC: <no>").message == (
        'forbidden: User "bob" cannot get path "/x": RBAC: <no>'
    )


def test_the_callers_own_words_are_escaped_as_in_go_and_for_html() -> None:
    user = User(name='<b>&"\n\x00ü\\')
    assert denied(user, asking_path("get", "/<script>"), "").message == (
        'forbidden: User "&lt;b&gt;&amp;\\"\\n\\x00ü\\\\" cannot get path "/&lt;script&gt;"'
    )


def test_the_name_before_the_sentence_is_quoted_but_not_escaped() -> None:
    """Upstream's NewForbidden puts it there after the sentence was sanitized."""
    assert denied(BOB, asking("get", "pods", name="<x>"), "").message.startswith('pods "<x>" is forbidden: User')


def test_details_name_the_resource_without_its_subresource() -> None:
    refusal = denied(BOB, asking("get", "deployments", group="apps", name="d", subresource="scale"), "")
    assert msgspec.to_builtins(refusal.details) == {"name": "d", "group": "apps", "kind": "deployments"}


def test_details_of_a_url_are_empty_but_there() -> None:
    refusal = denied(BOB, asking_path("get", "/x"), "")
    body = msgspec.json.decode(Forbidden(refusal.message, details=refusal.details).body())
    assert body["details"] == {}


def test_missing_roles_are_told_once_each_as_an_aggregate() -> None:
    assert missing_roles_reason([]) == ""
    assert missing_roles_reason(["a", "a"]) == "RBAC: a"
    assert missing_roles_reason(["a", "b", "a"]) == "RBAC: [a, b]"
