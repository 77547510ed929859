"""What the templates of a policy become for one caller.

A value that is missing, empty or one of many has no text: the grant that needs it does not apply. A value that is no
legal label value can be no object's label: that grant matches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias, assert_never

from proxy.api.selectors import FieldSelector, FieldTerm, LabelRequirement, LabelSelector, is_label_value
from proxy.authn.user import User
from proxy.policy.templates import Reference, ReferenceKind, is_template, substitute

ValueOf: TypeAlias = Callable[[Reference], str | None]
"""The value that a reference stands for; None when it has none."""


def variables_of(user: User, capture: tuple[str, str] | None) -> ValueOf:
    """The value of each reference for a user who matched a subject with this capture (name, value)."""

    def value_of(reference: Reference) -> str | None:
        match reference.kind:
            case ReferenceKind.CAPTURE:
                return capture[1] if capture is not None and capture[0] == reference.key else None
            case ReferenceKind.USER_NAME:
                return user.name
            case ReferenceKind.USER_UID:
                return user.uid
            case ReferenceKind.USER_EXTRA:
                values = user.extra_values(reference.key)
                return values[0] if len(values) == 1 else None
            case _:
                assert_never(reference.kind)

    return value_of


def bind_names(names: Iterable[str], value_of: ValueOf) -> frozenset[str] | None:
    """The `resourceNames` of a rule for one caller, None when the rule does not apply."""
    bound: set[str] = set()
    for name in names:
        literal = substitute(name, value_of) if is_template(name) else name
        if literal is None:
            return None
        bound.add(literal)
    return frozenset(bound)


def bind_selectors(
    fields: FieldSelector | None, labels: LabelSelector | None, value_of: ValueOf
) -> tuple[FieldSelector | None, LabelSelector | None] | None:
    """The selectors of a rule for one caller, None when the rule does not apply or can match nothing."""
    bound_fields = None if fields is None else bind_field_selector(fields, value_of)
    bound_labels = None if labels is None else bind_label_selector(labels, value_of)
    if (bound_fields is None, bound_labels is None) != (fields is None, labels is None):
        return None
    return bound_fields, bound_labels


def bind_label_selector(selector: LabelSelector, value_of: ValueOf) -> LabelSelector | None:
    """The selector for one caller, None when it does not apply or can match nothing."""
    if not _has_templates(selector):
        return selector
    requirements: set[LabelRequirement] = set()
    for requirement in selector.requirements:
        if any(map(is_template, requirement.values)):
            values = [substitute(value, value_of) for value in requirement.values]
            legal = [value for value in values if value is not None and is_label_value(value)]
            if len(legal) < len(values):
                return None
            requirement = LabelRequirement(requirement.key, requirement.operator, tuple(sorted(set(legal))))
        requirements.add(requirement)
    return LabelSelector(tuple(sorted(requirements)))


def _has_templates(selector: LabelSelector) -> bool:
    for requirement in selector.requirements:
        for value in requirement.values:
            if is_template(value):
                return True
    return False


def bind_field_selector(selector: FieldSelector, value_of: ValueOf) -> FieldSelector | None:
    """The selector for one caller, None when it does not apply."""
    terms: set[FieldTerm] = set()
    for term in selector.terms:
        value = substitute(term.value, value_of) if is_template(term.value) else term.value
        if value is None:
            return None
        terms.add(FieldTerm(term.path, term.negated, value))
    return FieldSelector(tuple(sorted(terms)))
