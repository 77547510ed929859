"""The union of grants in a normal form, so that equal meaning gives equal scopes as far as that is cheap.

Grants with the same selectors form a region: for each namespace or glob the object names granted there. What a
wider glob of the region, or a region with fewer conditions, grants anyway is taken out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from proxy.api.selectors import FieldSelector, LabelSelector
from proxy.authz.scope import Grant, Scope
from proxy.policy.namespace_set import NamespaceSet, glob_matches

ANYWHERE = "*"  # the glob that stands for "no condition on the namespace"

Names: TypeAlias = frozenset[str] | None
"""Object names; None for all."""


class _Selectors(NamedTuple):
    fields: FieldSelector | None
    labels: LabelSelector | None

    def implies(self, other: _Selectors) -> bool:
        """True when the other's conditions are among these."""
        return set(other.conditions()) <= set(self.conditions())

    def conditions(self) -> Iterator[object]:
        if self.fields is not None:
            yield from self.fields.terms
        if self.labels is not None:
            yield from self.labels.requirements


class _Region:
    """Object names by namespace and by glob."""

    __slots__ = ("globs", "namespaces")

    def __init__(self) -> None:
        self.namespaces: dict[str, Names] = {}
        self.globs: dict[str, Names] = {}

    def add(self, places: NamespaceSet | None, names: Names) -> None:
        if places is None:
            _add(self.globs, (ANYWHERE,), names)
        else:
            _add(self.namespaces, places.names, names)
            _add(self.globs, places.globs, names)

    def remove(self, other: _Region) -> None:
        """Takes out what the other grants; with itself, what its own wider globs grant."""
        if other is not self:
            for places, others in ((self.namespaces, other.namespaces), (self.globs, other.globs)):
                for place in places.keys() & others.keys():
                    _remove(places, place, others[place])
        if other.globs:
            for places in (self.namespaces, self.globs):
                for place in list(places):
                    self._remove_covered(places, place, other)

    def _remove_covered(self, places: dict[str, Names], place: str, other: _Region) -> None:
        for glob, names in list(other.globs.items()):
            if place in places and glob != place and glob_matches(glob, place):
                _remove(places, place, names)

    def grants(self, selectors: _Selectors) -> Iterator[Grant]:
        namespaces, globs = _by_names(self.namespaces), _by_names(self.globs)
        for names in namespaces.keys() | globs.keys():
            places = NamespaceSet(frozenset(namespaces.get(names, ())), frozenset(globs.get(names, ())))
            yield Grant(
                namespaces=None if ANYWHERE in places.globs else places,
                names=names,
                field_selector=selectors.fields,
                label_selector=selectors.labels,
            )


def union_of(grants: Sequence[Grant]) -> Scope:
    """The scope of everything that any of the grants shows. None of them is unconditional."""
    if len(grants) == 1 and (grants[0].namespaces is None or not grants[0].namespaces.globs):
        return Scope(everything=False, grants=frozenset(grants))
    names = _named_namespaces(grants)
    if names is not None:
        only = Grant(namespaces=NamespaceSet(names), names=None, field_selector=None, label_selector=None)
        return Scope(everything=False, grants=frozenset((only,)))
    regions: defaultdict[_Selectors, _Region] = defaultdict(_Region)
    for grant in grants:
        regions[_Selectors(grant.field_selector, grant.label_selector)].add(grant.namespaces, grant.names)
    for selectors, region in regions.items():
        for others, other in regions.items():
            if other is region or selectors.implies(others):
                region.remove(other)
    return Scope(
        everything=False,
        grants=frozenset(grant for selectors, region in regions.items() for grant in region.grants(selectors)),
    )


def _named_namespaces(grants: Sequence[Grant]) -> frozenset[str] | None:
    """The namespaces of all grants together; None without one, and where a grant has a glob or another condition."""
    names: set[str] = set()
    for grant in grants:
        conditions = (grant.names, grant.field_selector, grant.label_selector)
        if grant.namespaces is None or grant.namespaces.globs or conditions != (None, None, None):
            return None
        names |= grant.namespaces.names
    return frozenset(names) or None


def _by_names(places: dict[str, Names]) -> dict[Names, list[str]]:
    by_names: dict[Names, list[str]] = {}
    for place, names in places.items():
        by_names.setdefault(names, []).append(place)
    return by_names


def _add(places: dict[str, Names], added: Iterable[str], names: Names) -> None:
    if names is None:
        places.update(dict.fromkeys(added))
        return
    for place in added:
        present = places.get(place, frozenset())
        if present is not None:
            places[place] = present | names


def _remove(places: dict[str, Names], place: str, names: Names) -> None:
    """Takes names out of one place; from "all names" only "all names" can be taken."""
    if names is None:
        del places[place]
        return
    present = places[place]
    if present is not None and present & names:
        left = present - names
        if left:
            places[place] = left
        else:
            del places[place]
