"""Which parts of a list are read, and which of those need no look at their objects."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxy.api.selectors import parse_field_selector, parse_label_selector
from proxy.authn.user import User
from proxy.authz.decision import Attributes, Permit
from proxy.authz.scope import EVERYTHING, Grant, Scope
from proxy.policy.namespace_set import NamespaceSet
from proxy.server.snapshots import MAX_NAMESPACES_READ, read_parts, whole_parts
from tests.support.policies import asking

EVERY_POD = asking("list", "pods")


def permit(scope: Scope, attributes: Attributes = EVERY_POD) -> Permit:
    return Permit(user=User(name="alice"), attributes=attributes, scope=scope, activation=1, reason="")


def grant(
    *namespaces: str, glob: str = "", names: Sequence[str] = (), labels: str | None = None, fields: str | None = None
) -> Grant:
    places = NamespaceSet(frozenset(namespaces), frozenset({glob} if glob else ()))
    return Grant(
        namespaces=None if places.is_empty else places,
        names=frozenset(names) or None,
        label_selector=None if labels is None else parse_label_selector(labels),
        field_selector=None if fields is None else parse_field_selector(fields),
    )


def scope(*grants: Grant) -> Scope:
    return Scope(everything=False, grants=frozenset(grants))


def test_the_namespaces_of_a_tenant_are_read_whole_and_in_the_order_of_storage() -> None:
    tenant = permit(scope(grant("a"), grant("a-b", "c")))
    assert read_parts(tenant) == whole_parts(tenant) == ["a-b", "a", "c"]


def test_who_may_see_everything_reads_it_whole() -> None:
    assert whole_parts(permit(EVERYTHING)) == [""]
    assert whole_parts(permit(EVERYTHING, asking("list", "pods", namespace="a"))) == [""]


@pytest.mark.parametrize(
    "part", [grant("b", names=["x"]), grant("b", labels="app=web"), grant("b", fields="spec.nodeName=node1")]
)
def test_one_grant_that_selects_has_all_objects_looked_at(part: Grant) -> None:
    selective = permit(scope(grant("a"), part))
    assert whole_parts(selective) == []
    assert read_parts(selective) == ["a", "b"]


@pytest.mark.parametrize(
    "shown",
    [
        scope(grant(labels="app=web")),
        scope(grant("a", glob="team-*")),
        scope(grant(*map(str, range(MAX_NAMESPACES_READ + 1)))),
    ],
)
def test_where_the_namespaces_are_unknown_or_many_all_are_read_and_looked_at(shown: Scope) -> None:
    assert (read_parts(permit(shown)), whole_parts(permit(shown))) == ([], [])


def test_a_list_by_name_is_looked_at() -> None:
    assert whole_parts(permit(EVERYTHING, asking("list", "pods", namespace="a", name="x"))) == []


def test_a_namespace_object_is_in_no_namespace_that_could_be_read() -> None:
    of_namespaces = permit(scope(grant("a")), asking("list", "namespaces"))
    assert whole_parts(of_namespaces) == []
