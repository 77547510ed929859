"""Scope: the set of objects a Permit shows, as a union of grants; a grant is a conjunction.

A Scope is relative to its request: a dimension the request itself fixes (its namespace, its name) is dropped from the
grants, so EVERYTHING means everything the request names. Scopes are values: equal scopes show the same objects, and
sessions with equal scopes share their work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from proxy.api.selectors import FieldSelector, LabelSelector
from proxy.policy.namespace_set import NamespaceSet


class ScopedObject(Protocol):
    """What a scope looks at in an object. `field` gives None for an absent path."""

    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    def field(self, path: str) -> str | None: ...


class IndexKey(NamedTuple):
    """A condition by which objects can be found: the field at `dimension` has exactly this value."""

    dimension: str
    value: str


class Grant(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """Objects for which every given condition holds. None means no condition.

    `namespaces` is compared with the object's RBAC namespace: its own name for a Namespace, "" for other
    cluster-scoped objects.
    """

    namespaces: NamespaceSet | None
    names: frozenset[str] | None
    field_selector: FieldSelector | None
    label_selector: LabelSelector | None

    def matches(self, namespace: str, obj: ScopedObject) -> bool:
        """`namespace` is the object's RBAC namespace."""
        return (
            (self.namespaces is None or namespace in self.namespaces)
            and (self.names is None or obj.name in self.names)
            and (self.label_selector is None or self.label_selector.matches(obj.labels))
            and (self.field_selector is None or self.field_selector.matches_present(obj.field))
        )

    def index_keys(self, *, namespace_is_name: bool) -> frozenset[IndexKey] | None:
        """Keys of which every matching object has one, of one dimension; None where no condition gives such keys.

        `namespace_is_name` is true for Namespace objects, whose RBAC namespace is their name.
        """
        if self.namespaces is not None and not self.namespaces.globs:
            return _keys("metadata.name" if namespace_is_name else "metadata.namespace", self.namespaces.names)
        if self.names is not None:
            return _keys("metadata.name", self.names)
        if self.field_selector is not None:
            for term in self.field_selector.terms:
                if not term.negated:
                    return _keys(term.path, (term.value,))
        return None


class Scope(msgspec.Struct, frozen=True, cache_hash=True):
    """A union of grants. `grants` empty and `everything` False is the empty scope."""

    everything: bool
    grants: frozenset[Grant] = frozenset()

    @property
    def is_empty(self) -> bool:
        """True when nothing is visible."""
        return not self.everything and not self.grants

    def matches(self, namespace: str, obj: ScopedObject) -> bool:
        """True when the object is visible; `namespace` is its RBAC namespace."""
        return self.everything or any(grant.matches(namespace, obj) for grant in self.grants)

    def index_keys(self, *, namespace_is_name: bool) -> frozenset[IndexKey] | None:
        """Keys of which every visible object has at least one; None when only looking at an object can tell."""
        if self.everything:
            return None
        keys: set[IndexKey] = set()
        for grant in self.grants:
            of_grant = grant.index_keys(namespace_is_name=namespace_is_name)
            if of_grant is None:
                return None
            keys |= of_grant
        return frozenset(keys)


EVERYTHING = Scope(everything=True)
NOTHING = Scope(everything=False)


def _keys(dimension: str, values: Iterable[str]) -> frozenset[IndexKey]:
    return frozenset(IndexKey(dimension, value) for value in values)
