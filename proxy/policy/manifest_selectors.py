"""Selectors as policy files write them: a LabelSelector in manifest form, a field selector in the query grammar.

Values may hold templates where the caller of a function says so; keys, paths and operators never. The result is
canonical (sorted, distinct), so that selectors of equal meaning are equal.

Source: k8s.io/apimachinery/pkg/apis/meta/v1/validation/validation.go ValidateLabelSelector
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from proxy.api.label_syntax import label_key_problems, label_value_problems
from proxy.api.selectors import (
    FieldSelector,
    FieldTerm,
    LabelOperator,
    LabelRequirement,
    LabelSelector,
    parse_field_selector,
)
from proxy.api.status import BadRequest
from proxy.policy.fields import Fields
from proxy.policy.findings import FindingLog, alternatives, did_you_mean, printable, quoted
from proxy.policy.model import Position
from proxy.policy.templates import is_template, parse_template
from proxy.policy.yaml_nodes import ScalarNode

_OPERATORS = {
    "In": LabelOperator.IN,
    "NotIn": LabelOperator.NOT_IN,
    "Exists": LabelOperator.EXISTS,
    "DoesNotExist": LabelOperator.DOES_NOT_EXIST,
}
_OPERATORS_WITH_VALUES = frozenset({LabelOperator.IN, LabelOperator.NOT_IN})
_FIELD_PATH = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def read_label_selector(selector: Fields, log: FindingLog, *, templates: bool) -> LabelSelector:
    """A LabelSelector; what is wrong in it is left out after its finding. None at all, `{}`, selects everything."""
    selector.allow_only(("matchLabels", "matchExpressions"), {})
    requirements = set(_match_labels(selector, log, templates))
    for expression in selector.objects("matchExpressions", "a match expression"):
        if requirement := _read_expression(expression, log, templates):
            requirements.add(requirement)
    return LabelSelector(tuple(sorted(requirements)))


def read_field_selector(selector: ScalarNode, log: FindingLog) -> FieldSelector | None:
    """A field selector of a rule, None after a finding. Its values may hold templates."""
    try:
        parsed = parse_field_selector(selector.text)
    except BadRequest as error:
        in_template = "${user.extra[" in selector.text
        hint = ", inside a template `,` and `=` need a backslash before them" if in_template else ""
        log.error(selector.position, f"{printable(error.message)}{hint}")
        return None
    if not parsed.terms:
        log.error(selector.position, "`fieldSelector` is empty, remove it to match every object")
        return None
    terms = [term for term in parsed.terms if _is_valid_term(term, selector.position, log)]
    return parsed if len(terms) == len(parsed.terms) else None


def check_template(text: str, position: Position, log: FindingLog) -> bool:
    """True when every `${…}` in a text is one that exists."""
    try:
        parse_template(text)
    except ValueError as error:
        log.error(position, printable(str(error)))
        return False
    return True


def _match_labels(selector: Fields, log: FindingLog, templates: bool) -> Iterator[LabelRequirement]:
    labels = selector.fields("matchLabels")
    if labels is None:
        return
    for key, value in labels.text_values():
        _check_key(key, labels.key_position(key), log)
        _check_value(value, log, templates)
        yield LabelRequirement(key, LabelOperator.IN, (value.text,))


def _read_expression(expression: Fields, log: FindingLog, templates: bool) -> LabelRequirement | None:
    expression.allow_only(("key", "operator", "values"), {})
    key, operator_name = expression.required_text("key"), expression.required_text("operator")
    values = expression.texts("values")
    if key is not None:
        _check_key(key.text, key.position, log)
    for value in values:
        _check_value(value, log, templates)
    if operator_name is None or key is None:
        return None
    operator = _OPERATORS.get(operator_name.text)
    if operator is None:
        hint = did_you_mean(operator_name.text, _OPERATORS) or f", expected {alternatives(_OPERATORS)}"
        log.error(operator_name.position, f"unknown operator {quoted(operator_name.text)}{hint}")
        return None
    if operator in _OPERATORS_WITH_VALUES and not values:
        log.error(expression.position, f"operator `{operator_name.text}` needs at least one entry in `values`")
        return None
    if operator not in _OPERATORS_WITH_VALUES and values:
        log.error(expression.key_position("values"), f"operator `{operator_name.text}` takes no `values`")
        return None
    return LabelRequirement(key.text, operator, tuple(sorted({value.text for value in values})))


def _check_key(key: str, position: Position, log: FindingLog) -> None:
    if is_template(key):
        log.error(position, f"template in the label key {quoted(key)}, expected one in values only")
        return
    for problem in label_key_problems(key):
        log.error(position, f"label key {quoted(key)}: {problem}")


def _check_value(value: ScalarNode, log: FindingLog, templates: bool) -> None:
    if templates and is_template(value.text):
        check_template(value.text, value.position, log)
        return
    for problem in label_value_problems(value.text):
        log.error(value.position, f"label value {quoted(value.text)}: {problem}")


def _is_valid_term(term: FieldTerm, position: Position, log: FindingLog) -> bool:
    if is_template(term.path):
        log.error(position, f"template in the field path {quoted(term.path)}, expected one in values only")
        return False
    if not _FIELD_PATH.fullmatch(term.path):
        log.error(position, f"invalid field path {quoted(term.path)}, expected names and dots as in `spec.nodeName`")
        return False
    if term.value != term.value.strip():
        # Spaces are part of the value in this grammar: with `!=` such a slip would match every object.
        log.error(position, f"value {quoted(term.value)} of `{term.path}` begins or ends with a space")
        return False
    if not term.value and not term.negated:
        log.warning(position, f"`{term.path}=` matches an empty value only, an absent field matches no term")
    return check_template(term.value, position, log)
