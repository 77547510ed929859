"""Visibility: which objects one request shows, of all objects of its resource.

It joins what authorization allows (the scope) with what the request itself asks for: its namespace, its name and the
client's selectors. A value, so that sessions which ask the same question share their work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.api.objects import ObjectVersion
from proxy.api.selectors import FieldSelector, LabelSelector
from proxy.authz.decision import Permit
from proxy.authz.scope import IndexKey, Scope

_INDEXABLE_FIELDS = frozenset({"metadata.name", "spec.nodeName"})
"""Client fields that are compared as they stand in the object, and of which each of many watchers selects one value."""


FieldReader = Callable[[ObjectVersion, str], str]
"""Reads a client's field label from an object, as upstream does for the kind: absent reads as ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visibility:
    """`namespace` and `name` are those of the request, empty for all. Selectors are the client's, None for none.

    `read_field` comes with the resource, and two visibilities are only ever compared within one.
    """

    scope: Scope
    namespace: str
    name: str
    namespace_is_name: bool
    label_selector: LabelSelector | None = None
    field_selector: FieldSelector | None = None
    read_field: FieldReader | None = field(default=None, compare=False)

    def sees(self, version: ObjectVersion) -> bool:
        """True when the request shows this version of the object."""
        namespace = version.name if self.namespace_is_name else version.namespace
        if self.namespace and namespace != self.namespace:
            return False
        if self.name and version.name != self.name:
            return False
        if self.label_selector is not None and not self.label_selector.matches(version.labels):
            return False
        if self.field_selector is not None and not self._fields_match(self.field_selector, version):
            return False
        return self.scope.matches(namespace, version)

    @property
    def index_keys(self) -> frozenset[tuple[str, str]] | None:
        """(path, value) pairs of which every visible object has one; None when no such set is known."""
        if self.name:
            return frozenset({IndexKey("metadata.name", self.name)})
        if self.field_selector is not None:
            for term in self.field_selector.terms:
                if not term.negated and term.value and term.path in _INDEXABLE_FIELDS:
                    return frozenset({IndexKey(term.path, term.value)})
        keys = self.scope.index_keys(namespace_is_name=self.namespace_is_name)
        if keys is None and self.namespace:
            path = "metadata.name" if self.namespace_is_name else "metadata.namespace"
            return frozenset({IndexKey(path, self.namespace)})
        return keys

    def _fields_match(self, selector: FieldSelector, version: ObjectVersion) -> bool:
        assert self.read_field is not None, "a field selector comes with its reader"
        read = self.read_field
        return selector.matches(lambda label: read(version, label))


def visibility(
    permit: Permit,
    *,
    label_selector: LabelSelector | None,
    field_selector: FieldSelector | None,
    read_field: FieldReader | None,
) -> Visibility:
    """What a permitted read shows, narrowed by the client's selectors."""
    attributes = permit.attributes
    return Visibility(
        scope=permit.scope,
        namespace=attributes.namespace,
        name=attributes.name,
        namespace_is_name=(attributes.api_group, attributes.resource) == ("", "namespaces"),
        label_selector=label_selector,
        field_selector=field_selector,
        read_field=read_field,
    )
