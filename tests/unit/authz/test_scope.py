"""What a scope shows, and by what its objects can be found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from proxy.api.selectors import FieldSelector, FieldTerm, LabelOperator, LabelRequirement, LabelSelector
from proxy.authz.scope import EVERYTHING, NOTHING, Grant, IndexKey, Scope
from proxy.policy.namespace_set import NamespaceSet
from tests.support.policies import fields, labels


@dataclass(frozen=True)
class Item:
    namespace: str = "a"
    name: str = "x"
    labels: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)

    def field(self, path: str) -> str | None:
        return self.fields.get(path)


def grant(
    namespaces: NamespaceSet | None = None,
    names: set[str] | None = None,
    field_selector: FieldSelector | None = None,
    label_selector: LabelSelector | None = None,
) -> Grant:
    return Grant(
        namespaces=namespaces,
        names=None if names is None else frozenset(names),
        field_selector=field_selector,
        label_selector=label_selector,
    )


def scope(*grants: Grant) -> Scope:
    return Scope(everything=False, grants=frozenset(grants))


A = NamespaceSet(frozenset({"a"}))


def test_everything_shows_all_and_nothing_shows_none() -> None:
    assert EVERYTHING.matches("a", Item())
    assert not NOTHING.matches("a", Item())
    assert NOTHING.is_empty
    assert not EVERYTHING.is_empty


def test_every_condition_of_a_grant_must_hold() -> None:
    all_four = scope(grant(A, {"x"}, fields(spec__nodeName="n"), labels(team="t")))
    visible = Item("a", "x", {"team": "t"}, {"spec.nodeName": "n"})
    assert all_four.matches("a", visible)
    for other in (
        Item("b", "x", {"team": "t"}, {"spec.nodeName": "n"}),
        Item("a", "y", {"team": "t"}, {"spec.nodeName": "n"}),
        Item("a", "x", {"team": "u"}, {"spec.nodeName": "n"}),
        Item("a", "x", {"team": "t"}, {"spec.nodeName": "m"}),
        Item("a", "x", {}, {}),
    ):
        assert not all_four.matches(other.namespace, other)


def test_one_grant_is_enough() -> None:
    either = scope(grant(A), grant(names={"y"}))
    assert either.matches("a", Item("a", "x"))
    assert either.matches("b", Item("b", "y"))
    assert not either.matches("b", Item("b", "x"))


def test_an_absent_field_matches_no_term_not_even_an_inequality() -> None:
    not_failed = scope(grant(field_selector=FieldSelector((FieldTerm("status.phase", True, "Failed"),))))
    assert not not_failed.matches("a", Item())
    assert not_failed.matches("a", Item(fields={"status.phase": ""}))
    assert not not_failed.matches("a", Item(fields={"status.phase": "Failed"}))


def test_the_namespace_compared_is_the_rbac_namespace() -> None:
    """For a Namespace object that is its own name, and its metadata.namespace is empty."""
    assert scope(grant(A)).matches("a", Item(namespace="", name="a"))


def test_equal_grants_make_equal_scopes_that_can_be_keys() -> None:
    one, other = scope(grant(A), grant(names={"y"})), scope(grant(names={"y"}), grant(A))
    assert one == other
    assert len({one, other}) == 1


@pytest.mark.parametrize(
    ("scoped", "keys"),
    [
        (scope(grant(A)), {("metadata.namespace", "a")}),
        (scope(grant(NamespaceSet(frozenset({"a", "b"})), {"x"})), {("metadata.namespace", n) for n in "ab"}),
        (scope(grant(names={"x", "y"})), {("metadata.name", "x"), ("metadata.name", "y")}),
        (scope(grant(None, {"x"}, fields(spec__nodeName="n"))), {("metadata.name", "x")}),
        (scope(grant(field_selector=fields(spec__nodeName="n"))), {("spec.nodeName", "n")}),
        (
            scope(
                grant(
                    field_selector=FieldSelector(
                        (FieldTerm("status.phase", True, "Failed"), FieldTerm("spec.nodeName", False, "n"))
                    )
                )
            ),
            {("spec.nodeName", "n")},
        ),
        (
            scope(grant(NamespaceSet(globs=frozenset({"team-*"})), field_selector=fields(spec__nodeName="n"))),
            {("spec.nodeName", "n")},
        ),
        (
            scope(grant(A), grant(field_selector=fields(spec__nodeName="n"))),
            {("metadata.namespace", "a"), ("spec.nodeName", "n")},
        ),
        (NOTHING, set()),
    ],
)
def test_objects_are_found_by_namespace_else_by_name_else_by_a_field(scoped: Scope, keys: set[tuple[str, str]]) -> None:
    assert scoped.index_keys(namespace_is_name=False) == frozenset(IndexKey(*key) for key in keys)


@pytest.mark.parametrize(
    "scoped",
    [
        EVERYTHING,
        scope(grant(NamespaceSet(frozenset({"a"}), frozenset({"team-*"})))),
        scope(grant(label_selector=labels(team="a"))),
        scope(grant(A), grant(label_selector=labels(team="a"))),
        scope(grant(field_selector=FieldSelector((FieldTerm("spec.nodeName", True, "n"),)))),
        scope(grant(label_selector=LabelSelector((LabelRequirement("a", LabelOperator.EXISTS, ()),)))),
    ],
)
def test_where_one_grant_has_no_keys_the_scope_has_none(scoped: Scope) -> None:
    assert scoped.index_keys(namespace_is_name=False) is None


def test_namespace_objects_are_found_by_their_name() -> None:
    assert scope(grant(A)).index_keys(namespace_is_name=True) == frozenset({IndexKey("metadata.name", "a")})
