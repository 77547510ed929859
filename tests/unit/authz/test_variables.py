"""What templates become for one caller."""

from __future__ import annotations

import pytest

from proxy.api.selectors import FieldSelector, FieldTerm, LabelOperator, LabelRequirement, LabelSelector
from proxy.authn.user import User
from proxy.authz.variables import bind_field_selector, bind_label_selector, bind_selectors, variables_of
from tests.support.policies import fields, labels

ALICE = User(name="alice", uid="u1", extra=(("many", ("a", "b")), ("none", ()), ("team", ("red",))))
VALUES = variables_of(ALICE, ("node", "n1"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${node}", "n1"),
        ("${user.name}", "alice"),
        ("${user.uid}", "u1"),
        ("${user.extra[team]}", "red"),
        ("x-${node}-${user.extra[team]}", "x-n1-red"),
        ("n1", "n1"),
        ("", ""),
    ],
)
def test_each_reference_takes_its_value_from_the_caller(text: str, value: str) -> None:
    assert bind_field_selector(fields(spec__nodeName=text), VALUES) == fields(spec__nodeName=value)


@pytest.mark.parametrize("text", ["${other}", "${user.extra[many]}", "${user.extra[none]}", "${user.extra[absent]}"])
def test_a_value_that_is_missing_or_one_of_many_makes_the_selector_not_apply(text: str) -> None:
    assert bind_field_selector(fields(spec__nodeName=text), VALUES) is None
    assert bind_label_selector(labels(team=text), VALUES) is None


def test_an_empty_user_name_or_uid_is_no_value() -> None:
    nobody = variables_of(User(name=""), None)
    assert bind_field_selector(fields(a="${user.name}"), nobody) is None
    assert bind_field_selector(fields(a="${user.uid}"), nobody) is None
    assert bind_field_selector(fields(a="${node}"), nobody) is None


def test_a_value_with_the_grammars_own_characters_stays_one_value() -> None:
    mallory = variables_of(User(name="a,spec.nodeName!=b"), None)
    assert bind_field_selector(fields(spec__nodeName="${user.name}"), mallory) == FieldSelector(
        (FieldTerm("spec.nodeName", False, "a,spec.nodeName!=b"),)
    )


@pytest.mark.parametrize("operator", [LabelOperator.IN, LabelOperator.NOT_IN])
def test_a_value_that_is_no_label_value_makes_the_selector_match_nothing(operator: LabelOperator) -> None:
    """Also where the requirement is negative: it must not become "every object"."""
    mallory = variables_of(User(name="a b"), None)
    selector = LabelSelector((LabelRequirement("team", operator, ("${user.name}", "x")),))
    assert bind_label_selector(selector, mallory) is None


def test_substituted_values_are_sorted_and_distinct() -> None:
    selector = LabelSelector((LabelRequirement("team", LabelOperator.IN, ("${user.extra[team]}", "blue", "red")),))
    assert bind_label_selector(selector, VALUES) == LabelSelector(
        (LabelRequirement("team", LabelOperator.IN, ("blue", "red")),)
    )


def test_terms_that_become_equal_are_one() -> None:
    selector = FieldSelector((FieldTerm("a", False, "n1"), FieldTerm("a", False, "${node}")))
    assert bind_field_selector(selector, VALUES) == fields(a="n1")


def test_one_selector_that_does_not_apply_makes_the_rule_not_apply() -> None:
    assert bind_selectors(fields(a="${node}"), labels(a="${other}"), VALUES) is None
    assert bind_selectors(fields(a="${other}"), None, VALUES) is None
    assert bind_selectors(None, labels(a="${node}"), VALUES) == (None, labels(a="n1"))
