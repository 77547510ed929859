"""What upstream is asked for a scope: all that the scope shows, and less than everything where it can be said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.objects import ObjectVersion
from proxy.api.selectors import (
    FieldSelector,
    FieldTerm,
    LabelOperator,
    LabelRequirement,
    LabelSelector,
    parse_field_selector,
    parse_label_selector,
)
from proxy.authz.scope import EVERYTHING, NOTHING, Grant, Scope
from proxy.server.narrowing import MAX_SELECTOR_CHARACTERS, narrowed
from proxy.upstream.list_reader import ListQuestion, ReadForm
from tests.support.versions import PODS, version
from tests.support.visibilities import LABEL_SETS, NAMES, NAMESPACES, NODES, read_client_field, scopes

ALL_PODS = ListQuestion(resource=PODS, form=ReadForm.OBJECT)

versions = st.builds(
    version,
    st.sampled_from(NAMESPACES),
    st.sampled_from(NAMES),
    st.just(7),
    labels=st.sampled_from(LABEL_SETS),
    node=st.sampled_from(NODES),
)


def grant(labels: str | LabelSelector = "", fields: str | FieldSelector = "") -> Grant:
    return Grant(
        namespaces=None,
        names=None,
        label_selector=parse_label_selector(labels) if isinstance(labels, str) else labels,
        field_selector=parse_field_selector(fields) if isinstance(fields, str) else fields,
    )


def scope(*grants: Grant) -> Scope:
    return Scope(everything=False, grants=frozenset(grants))


@given(scopes, versions)
def test_nothing_that_a_scope_shows_is_left_out_upstream(shown: Scope, pod: ObjectVersion) -> None:
    question = narrowed(ALL_PODS, shown)
    answered = parse_label_selector(question.label_selector).matches(pod.labels) and parse_field_selector(
        question.field_selector
    ).matches(lambda path: read_client_field(pod, path))
    assert answered or not shown.matches(pod.namespace, pod)


def test_the_selectors_of_the_only_grant_go_upstream() -> None:
    question = narrowed(ALL_PODS, scope(grant("app=web,tier in (a,b)", "spec.nodeName=node1")))
    assert question.label_selector == "app=web,tier in (a,b)"
    assert question.field_selector == "spec.nodeName=node1"


def test_they_are_asked_beside_the_callers_own() -> None:
    asked = ListQuestion(resource=PODS, form=ReadForm.OBJECT, label_selector="!x", field_selector="metadata.name=n")
    question = narrowed(asked, scope(grant("app=web", "status.phase=Running")))
    assert question.label_selector == "!x,app=web"
    assert question.field_selector == "metadata.name=n,status.phase=Running"


def test_of_several_grants_only_what_they_have_in_common_goes_upstream() -> None:
    shown = scope(grant("app=web,tier=a", "spec.nodeName=node1"), grant("app=web,tier=b", "spec.nodeName=node2"))
    assert (narrowed(ALL_PODS, shown).label_selector, narrowed(ALL_PODS, shown).field_selector) == ("app=web", "")


@pytest.mark.parametrize("shown", [EVERYTHING, NOTHING, scope(grant(), grant("app=web"))])
def test_where_grants_have_nothing_in_common_the_question_stays(shown: Scope) -> None:
    assert narrowed(ALL_PODS, shown) == ALL_PODS


@pytest.mark.parametrize(
    "fields", ["spec.nodeName!=node1", "spec.nodeName=", "spec.priority=5", "status.podIP=10.0.0.1"]
)
def test_a_field_that_upstream_may_read_otherwise_stays_here(fields: str) -> None:
    """`!=` and the empty value match an absent field upstream; other fields not every API server can select by."""
    assert narrowed(ALL_PODS, scope(grant(fields=fields))) == ALL_PODS


@pytest.mark.parametrize("operator", [LabelOperator.IN, LabelOperator.NOT_IN])
def test_a_requirement_without_values_cannot_be_asked(operator: LabelOperator) -> None:
    """`x notin ()` reads as "not the empty value": an object that has that would be lost."""
    nothing_named = LabelSelector((LabelRequirement("x", operator, ()),))
    assert narrowed(ALL_PODS, scope(grant(nothing_named))) == ALL_PODS


def test_values_are_escaped() -> None:
    odd = FieldSelector((FieldTerm("spec.nodeName", False, r"a,b=c\d"),))
    question = narrowed(ALL_PODS, scope(grant(fields=odd)))
    assert parse_field_selector(question.field_selector) == odd


def test_an_endless_selector_is_not_sent() -> None:
    values = ",".join(f"value-{number}" for number in range(MAX_SELECTOR_CHARACTERS // 8))
    assert narrowed(ALL_PODS, scope(grant(f"app in ({values})"))) == ALL_PODS
