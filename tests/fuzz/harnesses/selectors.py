"""Selectors as a client writes them: both grammars."""

from __future__ import annotations

import re
from itertools import pairwise

from proxy.api.selectors import (
    FieldTerm,
    LabelOperator,
    LabelRequirement,
    format_field_selector,
    format_label_selector,
    parse_field_selector,
    parse_label_selector,
)
from proxy.api.status import BadRequest

_WORD = "[a-z0-9]+"
_PLAIN_LABELS = re.compile(rf"{_WORD}(==|!=|=){_WORD}(,{_WORD}(==|!=|=){_WORD})*")
_PLAIN_TERM = re.compile(rf"({_WORD})(==|!=|=)({_WORD})")


def label_selector(data: bytes) -> None:
    """Refused with a 400, or canonical; and where the text is plain, what anybody reads in it."""
    text = data.decode("utf-8", "replace")
    try:
        selector = parse_label_selector(text)
    except BadRequest as error:
        assert error.body()
        assert not _PLAIN_LABELS.fullmatch(text) or any(len(word) > 63 for word in re.findall(_WORD, text))
        return
    canonical = format_label_selector(selector)
    assert parse_label_selector(canonical) == selector
    assert format_label_selector(parse_label_selector(canonical)) == canonical
    if _PLAIN_LABELS.fullmatch(text):
        read = {
            LabelRequirement(key, LabelOperator.NOT_IN if operator == "!=" else LabelOperator.IN, (value,))
            for key, operator, value in _PLAIN_TERM.findall(text)
        }
        assert set(selector.requirements) == read
    words = re.findall(r"[\w./-]+", text)
    for labels in ({}, dict.fromkeys(words, ""), dict(pairwise(words))):
        assert selector.matches(labels) is all(each.matches(labels) for each in selector.requirements)


def field_selector(data: bytes) -> None:
    """As for labels; and a policy's reading never matches more than a client's."""
    text = data.decode("utf-8", "replace")
    try:
        selector = parse_field_selector(text)
    except BadRequest as error:
        assert error.body()
        return
    canonical = format_field_selector(selector)
    assert parse_field_selector(canonical) == selector
    if _PLAIN_LABELS.fullmatch(text):
        read = {FieldTerm(path, operator == "!=", value) for path, operator, value in _PLAIN_TERM.findall(text)}
        assert set(selector.terms) == read
    paths = [term.path for term in selector.terms]
    for fields in ({}, dict.fromkeys(paths, ""), {term.path: term.value for term in selector.terms}):
        if selector.matches_present(fields.get):
            assert selector.matches(lambda path, known=fields: known.get(path, ""))
            assert set(paths) <= fields.keys()
    required = selector.required_value("metadata.name")
    equal = [term.value for term in selector.terms if term.path == "metadata.name" and not term.negated]
    assert required == (equal[0] if equal else None)
