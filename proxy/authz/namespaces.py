"""Namespaces as authorization sees them: the live labels, and the namespaces that a binding reaches.

INVARIANT: a namespace that is not there has no labels to match, whatever the selector's operators
(tests/unit/authz/test_namespaces.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum

from proxy.api.selectors import LabelOperator, LabelSelector
from proxy.authz.variables import ValueOf, bind_label_selector
from proxy.policy.namespace_set import NamespaceSet
from proxy.policy.snapshot import Reach
from proxy.policy.templates import substitute

_NAMESPACE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_REMEMBERED_SELECTIONS = 1024  # each may hold every namespace's name; templates could make one for each user


class NamespaceLabels(Mapping[str, Mapping[str, str]]):
    """The labels of every live namespace, by name. Immutable; what was selected once is remembered."""

    __slots__ = ("_by_label", "_labels", "_selections")

    def __init__(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        self._labels = {name: dict(values) for name, values in labels.items()}
        self._selections: dict[tuple[NamespaceSet, LabelSelector], NamespaceSet] = {}
        self._by_label: dict[tuple[str, str], list[str]] = {}
        for name, values in self._labels.items():
            for label in values.items():
                self._by_label.setdefault(label, []).append(name)

    def __getitem__(self, name: str) -> Mapping[str, str]:
        return self._labels[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    def selected(self, named: NamespaceSet, selector: LabelSelector) -> NamespaceSet:
        """The names of the namespaces that are in the set and match the selector."""
        question = (named, selector)
        selection = self._selections.get(question)
        if selection is None:
            if len(self._selections) >= _REMEMBERED_SELECTIONS:
                self._selections.clear()
            selection = self._selections[question] = NamespaceSet(
                frozenset(
                    name
                    for name in self._candidates(selector)
                    if selector.matches(self._labels[name]) and name in named
                )
            )
        return selection

    def _candidates(self, selector: LabelSelector) -> Iterable[str]:
        """Namespaces among which are all that match: those with a value that the selector requires."""
        for requirement in selector.requirements:
            if requirement.operator is LabelOperator.IN:
                return [
                    name for value in requirement.values for name in self._by_label.get((requirement.key, value), ())
                ]
        return self._labels


class Reached(Enum):
    """Whether a binding holds in a namespace; UNKNOWN while the namespace's labels are."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


def reaches(reach: Reach, namespace: str, labels: NamespaceLabels | None, value_of: ValueOf) -> Reached:
    """Whether a binding holds in one namespace."""
    named = _named(reach, value_of)
    if named is None or namespace not in named:
        return Reached.NO
    if reach.namespace_selector is None:
        return Reached.YES
    selector = bind_label_selector(reach.namespace_selector, value_of)
    if selector is None:
        return Reached.NO
    if labels is None:
        return Reached.UNKNOWN
    return Reached.YES if namespace in labels and selector.matches(labels[namespace]) else Reached.NO


def reached_namespaces(reach: Reach, labels: NamespaceLabels | None, value_of: ValueOf) -> NamespaceSet | None:
    """Every namespace a binding holds in, None while that is unknown. With a selector these are names, no globs."""
    named = _named(reach, value_of)
    if named is None:
        return NamespaceSet()
    if reach.namespace_selector is None:
        return named
    selector = bind_label_selector(reach.namespace_selector, value_of)
    if selector is None:
        return NamespaceSet()
    return None if labels is None else labels.selected(named, selector)


def _named(reach: Reach, value_of: ValueOf) -> NamespaceSet | None:
    """The names and globs with templates filled in; None when a value is missing: then the binding does not apply."""
    if not reach.templates:
        return reach.named
    names = set(reach.named.names)
    for template in reach.templates:
        name = substitute(template, value_of)
        if name is None:
            return None
        if _NAMESPACE_NAME.fullmatch(name):
            names.add(name)
    return NamespaceSet(frozenset(names), reach.named.globs)
