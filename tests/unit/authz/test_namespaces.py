"""The namespaces that a binding reaches."""

from __future__ import annotations

import pytest

from proxy.api.selectors import LabelOperator, LabelRequirement, LabelSelector
from proxy.authn.user import User
from proxy.authz.namespaces import NamespaceLabels, Reached, reached_namespaces, reaches
from proxy.authz.variables import ValueOf, variables_of
from proxy.policy.namespace_set import NamespaceSet
from proxy.policy.snapshot import Reach
from tests.support.policies import labels

LABELS = NamespaceLabels({"a": {"team": "x"}, "b": {"team": "y"}, "team-1": {"team": "x"}, "bare": {}})
ALL = NamespaceSet(globs=frozenset("*"))
NOT_Y = LabelSelector((LabelRequirement("team", LabelOperator.NOT_IN, ("y",)),))


def value_of(**extra: tuple[str, ...]) -> ValueOf:
    return variables_of(User(name="alice", extra=tuple(sorted(extra.items()))), ("node", "n1"))


def selecting(selector: LabelSelector, named: NamespaceSet = ALL) -> Reach:
    return Reach(named=named, namespace_selector=selector)


def test_a_selector_gives_names_of_live_namespaces() -> None:
    assert reached_namespaces(selecting(labels(team="x")), LABELS, value_of()) == NamespaceSet(
        frozenset({"a", "team-1"})
    )


def test_a_selector_and_globs_must_both_hold() -> None:
    reach = selecting(labels(team="x"), NamespaceSet(frozenset({"b"}), frozenset({"team-*"})))
    assert reached_namespaces(reach, LABELS, value_of()) == NamespaceSet(frozenset({"team-1"}))


def test_a_namespace_without_the_label_matches_a_negative_selector() -> None:
    assert reached_namespaces(selecting(NOT_Y), LABELS, value_of()) == NamespaceSet(frozenset({"a", "team-1", "bare"}))


def test_a_namespace_that_is_not_there_matches_no_selector() -> None:
    assert reaches(selecting(NOT_Y), "gone", LABELS, value_of()) is Reached.NO
    assert reaches(selecting(LabelSelector(())), "gone", LABELS, value_of()) is Reached.NO
    assert reaches(selecting(LabelSelector(())), "bare", LABELS, value_of()) is Reached.YES


def test_globs_without_a_selector_stay_globs() -> None:
    """So that a namespace which is created later counts."""
    globs = NamespaceSet(globs=frozenset({"team-*"}))
    assert reached_namespaces(Reach(named=globs), None, value_of()) == globs
    assert reaches(Reach(named=globs), "team-new", None, value_of()) is Reached.YES


def test_unknown_labels_leave_a_selector_undecided() -> None:
    assert reached_namespaces(selecting(NOT_Y), None, value_of()) is None
    assert reaches(selecting(NOT_Y), "a", None, value_of()) is Reached.UNKNOWN


def test_unknown_labels_do_not_matter_where_the_name_decides() -> None:
    assert reaches(selecting(NOT_Y, NamespaceSet(globs=frozenset({"team-*"}))), "a", None, value_of()) is Reached.NO


@pytest.mark.parametrize("values", [(), ("",), ("x", "x"), None])
def test_a_template_without_a_single_value_reaches_nothing_at_all(values: tuple[str, ...] | None) -> None:
    """The binding does not apply, not even in the namespaces it names beside."""
    reach = Reach(named=NamespaceSet(frozenset({"a"})), templates=("${user.extra[team]}",))
    given = value_of() if values is None else value_of(team=values)
    assert reached_namespaces(reach, LABELS, given) == NamespaceSet()
    assert reaches(reach, "a", LABELS, given) is Reached.NO


@pytest.mark.parametrize("value", ["*", "team-*", "a,b", "A", "-a", "a/b", "a" * 64, "a\n", "${node}"])
def test_a_template_value_is_a_name_and_never_a_glob(value: str) -> None:
    reach = Reach(named=NamespaceSet(frozenset({"b"})), templates=("${user.extra[team]}",))
    assert reached_namespaces(reach, LABELS, value_of(team=(value,))) == NamespaceSet(frozenset({"b"}))
    assert reaches(reach, "team-1", LABELS, value_of(team=(value,))) is Reached.NO


def test_a_template_may_stand_in_a_namespace_selector() -> None:
    reach = selecting(LabelSelector((LabelRequirement("team", LabelOperator.IN, ("${user.extra[team]}",)),)))
    assert reached_namespaces(reach, LABELS, value_of(team=("y",))) == NamespaceSet(frozenset({"b"}))
    assert reached_namespaces(reach, LABELS, value_of()) == NamespaceSet()


def test_a_value_that_is_no_label_value_selects_nothing_even_when_negated() -> None:
    reach = selecting(LabelSelector((LabelRequirement("team", LabelOperator.NOT_IN, ("${user.extra[team]}",)),)))
    assert reached_namespaces(reach, LABELS, value_of(team=("a b",))) == NamespaceSet()


def test_labels_are_as_they_were_when_given() -> None:
    given = {"a": {"team": "x"}}
    kept = NamespaceLabels(given)
    given["a"]["team"] = "y"
    given["b"] = {}
    assert dict(kept) == {"a": {"team": "x"}}


def test_remembered_selections_are_bounded_and_stay_right() -> None:
    for number in range(3000):
        reach = selecting(labels(team="x"), NamespaceSet(frozenset({"a", f"n{number}"})))
        assert reached_namespaces(reach, LABELS, value_of()) == NamespaceSet(frozenset({"a"}))
