"""Narrowing: a list question with the selectors that a scope implies, so that upstream keeps back what nobody will see.

It saves reading what would be thrown away; it decides nothing. What upstream answers is still filtered by the scope.

INVARIANT: a scope shows nothing that the narrowed question leaves out (tests/unit/server/test_narrowing.py).
"""

from __future__ import annotations

from dataclasses import replace

from proxy.api.groups import GroupVersionResource
from proxy.api.selectors import (
    FieldSelector,
    LabelOperator,
    LabelSelector,
    format_field_selector,
    format_label_selector,
)
from proxy.authz.scope import Scope
from proxy.upstream.list_reader import ListQuestion

MAX_SELECTOR_CHARACTERS = 2048
"""A longer selector is not sent: a client's own query is bounded as well, and servers bound their URLs."""

_SELECTABLE_FIELDS = {
    ("", "pods"): frozenset({"spec.nodeName", "status.phase"}),
    ("", "secrets"): frozenset({"type"}),
}
"""Fields that every API server selects by, and compares as they stand in the object."""


_WITHOUT_VALUES = frozenset({LabelOperator.EXISTS, LabelOperator.DOES_NOT_EXIST})
"""Of the others the query grammar cannot say that they have no value: it would read as the empty one."""


def narrowed(question: ListQuestion, scope: Scope) -> ListQuestion:
    """The question for only what all grants of `scope` ask of an object, as far as upstream can select by it."""
    labels = format_label_selector(_common_labels(scope))
    fields = format_field_selector(_common_fields(scope, question.resource.gvr))
    if len(labels) + len(fields) > MAX_SELECTOR_CHARACTERS:
        return question
    return replace(
        question,
        label_selector=_both(question.label_selector, labels),
        field_selector=_both(question.field_selector, fields),
    )


def _common_labels(scope: Scope) -> LabelSelector:
    selectors = [grant.label_selector for grant in scope.grants]
    if scope.everything or not selectors:
        return LabelSelector(())
    common = frozenset.intersection(*(frozenset(selector.requirements if selector else ()) for selector in selectors))
    sayable = (each for each in common if each.values or each.operator in _WITHOUT_VALUES)
    return LabelSelector(tuple(sorted(sayable)))


def _common_fields(scope: Scope, gvr: GroupVersionResource) -> FieldSelector:
    """Equality with a value only: an absent field is empty to upstream, and matches nothing of a policy."""
    selectors = [grant.field_selector for grant in scope.grants]
    if scope.everything or not selectors:
        return FieldSelector(())
    common = frozenset.intersection(*(frozenset(selector.terms if selector else ()) for selector in selectors))
    selectable = _SELECTABLE_FIELDS.get((gvr.group, gvr.resource), frozenset())
    return FieldSelector(
        tuple(sorted(term for term in common if term.path in selectable and term.value and not term.negated))
    )


def _both(asked: str, implied: str) -> str:
    return ",".join(filter(None, (asked, implied)))
