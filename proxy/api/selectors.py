"""Label and field selectors: Kubernetes' query grammar, and what a selector matches.

A parsed selector is canonical: requirements and terms are in upstream's order and without repeats, so that equal
values mean the same selection; `format_*` gives a text that upstream reads as that same value, in that same order.

Source: k8s.io/apimachinery/pkg/labels/selector.go and pkg/fields/selector.go
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import assert_never

import msgspec

from proxy.api.go_text import parse_int64
from proxy.api.label_grammar import parse_requirements
from proxy.api.label_syntax import label_value_problems
from proxy.api.status import BadRequest

_FIELD_ESCAPES = re.compile(r"[\\,=]")


class LabelOperator(StrEnum):
    """The operators of a label requirement."""

    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    DOES_NOT_EXIST = "!"
    GREATER_THAN = "gt"
    LESS_THAN = "lt"


class LabelRequirement(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """One requirement; `values` are sorted and distinct. `=` is IN with one value, `!=` is NOT_IN with one."""

    key: str
    operator: LabelOperator
    values: tuple[str, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """NOT_IN matches an object without the key; a label that is no integer is neither gt nor lt."""
        value = labels.get(self.key)
        match self.operator:
            case LabelOperator.IN:
                return value is not None and value in self.values
            case LabelOperator.NOT_IN:
                return value is None or value not in self.values
            case LabelOperator.EXISTS:
                return value is not None
            case LabelOperator.DOES_NOT_EXIST:
                return value is None
            case LabelOperator.GREATER_THAN | LabelOperator.LESS_THAN:
                return self._compares(value)
            case _:
                assert_never(self.operator)

    def _compares(self, value: str | None) -> bool:
        number = None if value is None else parse_int64(value)
        bound = parse_int64(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if self.operator is LabelOperator.GREATER_THAN else number < bound


class LabelSelector(msgspec.Struct, frozen=True, cache_hash=True):
    """A conjunction of requirements; none at all matches everything."""

    requirements: tuple[LabelRequirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """True when every requirement holds."""
        return all(requirement.matches(labels) for requirement in self.requirements)


class FieldTerm(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """`path=value`, or `path!=value` when `negated`. The value is unescaped."""

    path: str
    negated: bool
    value: str


class FieldSelector(msgspec.Struct, frozen=True, cache_hash=True):
    """A conjunction of terms, sorted by their text as upstream sorts them; none at all matches everything."""

    terms: tuple[FieldTerm, ...]

    def matches(self, field: Callable[[str], str]) -> bool:
        """A client's selector: an absent field reads as the empty string (the caller's `field` sees to that)."""
        return all((field(term.path) == term.value) is not term.negated for term in self.terms)

    def matches_present(self, field: Callable[[str], str | None]) -> bool:
        """A policy's selector: an absent field (None) matches no term, `!=` included."""
        for term in self.terms:
            value = field(term.path)
            if value is None or (value == term.value) is term.negated:
                return False
        return True

    def required_value(self, path: str) -> str | None:
        """The value of the first equality term on `path`, None without one. Source: fields RequiresExactMatch."""
        for term in self.terms:
            if term.path == path and not term.negated:
                return term.value
        return None


def parse_label_selector(text: str) -> LabelSelector:
    """Parses the query grammar; the empty text selects everything. Raises BadRequest with upstream's own sentence."""
    requirements = {
        LabelRequirement(key, LabelOperator(operator), values) for key, operator, values in parse_requirements(text)
    }
    return LabelSelector(tuple(sorted(requirements)))


def format_label_selector(selector: LabelSelector) -> str:
    """A text that upstream parses to the same selector."""
    return ",".join(map(_format_requirement, selector.requirements))


def parse_field_selector(text: str) -> FieldSelector:
    """Parses the query grammar; the empty text selects everything. Raises BadRequest with upstream's own sentence."""
    terms = [_parse_term(text, part) for part in sorted(_split_terms(text)) if part]
    return FieldSelector(tuple(dict.fromkeys(terms)))


def format_field_selector(selector: FieldSelector) -> str:
    """A text that upstream parses to the same selector.

    Upstream sorts terms by their text, and the first equality on `metadata.name` names the object it authorizes: where
    `=` would change the order, terms are spelled `==`.
    """
    plain = [_spellings(term)[0] for term in selector.terms]
    if plain == sorted(plain):
        return ",".join(plain)
    texts: list[str] = []
    for term in reversed(selector.terms):  # each as late in the order as the one behind it allows
        fitting = [text for text in _spellings(term) if not texts or text <= texts[-1]]
        texts.append(max(fitting, default=_spellings(term)[0]))
    return ",".join(reversed(texts))


def is_label_value(text: str) -> bool:
    """True for a label value: empty, or at most 63 bytes that begin and end alphanumeric."""
    return not label_value_problems(text)


def _format_requirement(requirement: LabelRequirement) -> str:
    key, values = requirement.key, ",".join(requirement.values)
    match requirement.operator:
        case LabelOperator.EXISTS:
            return key
        case LabelOperator.DOES_NOT_EXIST:
            return f"!{key}"
        case LabelOperator.GREATER_THAN:
            return f"{key}>{values}"
        case LabelOperator.LESS_THAN:
            return f"{key}<{values}"
        case LabelOperator.IN:
            return f"{key}={values}" if len(requirement.values) == 1 else f"{key} in ({values})"
        case LabelOperator.NOT_IN:
            return f"{key}!={values}" if len(requirement.values) == 1 else f"{key} notin ({values})"
        case _:
            assert_never(requirement.operator)


def _spellings(term: FieldTerm) -> tuple[str, ...]:
    """The texts of a term, the plain one first."""
    value = _FIELD_ESCAPES.sub(r"\\\g<0>", term.value)
    operators = ("!=",) if term.negated else ("=", "==")
    return tuple(f"{term.path}{operator}{value}" for operator in operators)


def _split_terms(text: str) -> list[str]:
    """The parts between unescaped commas, with their escapes kept."""
    return [match.group() for match in re.finditer(r"(?:\\.|\\\Z|[^\\,])+", text, re.DOTALL)]


def _parse_term(text: str, part: str) -> FieldTerm:
    """One term. Upstream reads a term without a path as no term at all; an empty path is refused here."""
    operator = re.search("!=|==|=", part)
    if operator is None or operator.start() == 0:
        raise BadRequest(f"invalid selector: '{text}'; can't understand '{part}'")
    return FieldTerm(part[: operator.start()], operator.group() == "!=", _unescape(part[operator.end() :]))


def _unescape(value: str) -> str:
    def replace(match: re.Match[str]) -> str:
        sequence = match.group()
        if sequence[0] != "\\":
            raise BadRequest(f"invalid field selector: unescaped character in value: {ord(sequence)}")
        if sequence not in ("\\\\", "\\,", "\\="):
            raise BadRequest(f"invalid field selector: invalid escape sequence: {sequence}")
        return sequence[1]

    return re.sub(r"\\.|[\\,=]", replace, value, flags=re.DOTALL)
