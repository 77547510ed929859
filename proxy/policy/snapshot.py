"""PolicySnapshot: a policy compiled for questions, immutable, found by subject and then by what a rule names.

A question costs a few dictionary look-ups for each name its caller goes by, however many bindings there are.

Source: k8s.io/kubernetes/pkg/registry/rbac/validation/rule.go VisitRulesFor (what is looked at, in which order)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from proxy.api.selectors import FieldSelector, LabelSelector
from proxy.policy.model import Binding, PolicySet, Subject
from proxy.policy.namespace_set import NamespaceSet
from proxy.policy.templates import SubjectPattern

RuleKey: TypeAlias = tuple[str, str] | str
"""What a rule names: (API group, resource[/subresource]) with `*` as written, or a URL path."""

PREFIX_URLS: RuleKey = "*"
"""The key of every rule with a URL that ends in `*`; no request path equals it, since paths begin with `/`."""

_SCANNED_ROLES = 3  # up to here trying each role is as cheap as an index over all of them


class CompiledRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule with its lists as sets. None stands for "no condition", an empty selector included.

    `any_verb`: `*` is among the verbs. `is_scoped` is that of the rule as written. `url_prefixes` are the URLs that end
    in `*`, without it. `resource_names` hold templates where `has_name_templates`; selectors where `is_templated`.
    """

    verbs: frozenset[str]
    any_verb: bool
    resource_names: frozenset[str] | None
    has_name_templates: bool
    urls: frozenset[str]
    url_prefixes: tuple[str, ...]
    is_scoped: bool
    is_templated: bool
    field_selector: FieldSelector | None
    label_selector: LabelSelector | None

    def allows_path(self, path: str) -> bool:
        """Source: rbac/v1 evaluation_helpers.go NonResourceURLMatches."""
        return path in self.urls or path.startswith(self.url_prefixes)


NO_RULES: tuple[CompiledRule, ...] = ()


class CompiledRole(msgspec.Struct, frozen=True, eq=False):
    """The rules of one role by what they name."""

    rules: Mapping[RuleKey, tuple[CompiledRule, ...]]


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """The namespaces a binding holds in, as it says them; `namespace_selector` must hold as well when given.

    A namespace may be in `named` or be what one of `templates` becomes.
    """

    named: NamespaceSet
    templates: tuple[str, ...] = ()
    namespace_selector: LabelSelector | None = None

    @property
    def is_explicit(self) -> bool:
        """True when it is known without looking at a user or at the cluster."""
        return not self.named.globs and not self.templates and self.namespace_selector is None


class BoundRole(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One role granted to one subject by one binding. `reach` None: cluster-wide.

    `order` is the place of the binding among all, cluster-wide ones first, then that of the subject in it.
    """

    binding: Binding
    subject: Subject
    role: CompiledRole
    order: tuple[int, int]
    reach: Reach | None
    expires: float | None


class RoleTable:
    """The roles of one subject in one place."""

    __slots__ = ("_by_key", "bounds")

    def __init__(self, bounds: Sequence[BoundRole]) -> None:
        self.bounds = tuple(bounds)
        self._by_key = _index(self.bounds) if len(self.bounds) > _SCANNED_ROLES else None

    def matching(self, keys: Sequence[RuleKey]) -> list[tuple[BoundRole, CompiledRule]]:
        """Every rule that names one of the keys, some of them twice, in no particular order."""
        if self._by_key is not None:
            return [found for key in keys for found in self._by_key.get(key, ())]
        return [(bound, rule) for bound in self.bounds for key in keys for rule in bound.role.rules.get(key, NO_RULES)]


class MissingRole(msgspec.Struct, frozen=True, kw_only=True):
    """A binding whose role is not there: it grants nothing, and a refusal says so. `namespace` empty: cluster-wide."""

    namespace: str
    order: tuple[int, int]
    message: str


class SubjectGrants(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one subject was granted.

    `cluster`: everywhere and cluster-scoped. `by_namespace`: where a binding names its namespaces. `in_namespaces`: the
    same, as a table for questions across all namespaces (bindings of one role are joined). `reaching`: bindings
    whose namespaces depend on the user or on the cluster.
    """

    cluster: RoleTable
    by_namespace: Mapping[str, RoleTable]
    in_namespaces: RoleTable
    reaching: RoleTable
    missing_roles: tuple[MissingRole, ...]


Capture: TypeAlias = tuple[str, str]
"""The capture of a subject's pattern: its name, and the value that it has for a user."""


class Applicable(msgspec.Struct, frozen=True):
    """The grants of a subject that a user is, with the capture of its pattern."""

    grants: SubjectGrants
    capture: Capture | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicySnapshot:
    """A compiled policy. `revision` is the same for the same content, whatever the order of files, on every machine.

    `namespace_label_keys` are the keys of namespace labels that bindings look at, None when no binding does.
    `rule_keys` are those of every bound role.
    `users` holds service accounts too, under their user names. `patterns` is keyed by a pattern's prefix and suffix;
    `pattern_lengths` are the lengths of those that occur.
    """

    policy: PolicySet
    revision: str
    namespace_label_keys: frozenset[str] | None
    expiries: tuple[float, ...]
    rule_keys: frozenset[RuleKey]
    users: Mapping[str, SubjectGrants]
    groups: Mapping[str, SubjectGrants]
    patterns: Mapping[tuple[str, str], tuple[tuple[SubjectPattern, SubjectGrants], ...]]
    pattern_lengths: tuple[tuple[int, int], ...]

    def next_expiry(self, after: float) -> float | None:
        """The first moment later than `after` (seconds since the epoch) at which a binding expires."""
        index = bisect_right(self.expiries, after)
        return self.expiries[index] if index < len(self.expiries) else None

    def applicable(self, user_name: str, groups: Sequence[str]) -> list[Applicable]:
        """The grants of every subject that a user of this name and these groups is."""
        find_group, find_pattern = self.groups.get, self.patterns.get
        found = [Applicable(grants, None) for group in groups if (grants := find_group(group)) is not None]
        user = self.users.get(user_name)
        if user is not None:
            found.append(Applicable(user, None))
        for prefix, suffix in self.pattern_lengths:
            key = (user_name[:prefix], user_name[len(user_name) - suffix :])
            for pattern, grants in find_pattern(key, ()):
                value = pattern.match(user_name)
                if value is not None:
                    found.append(Applicable(grants, (pattern.capture, value)))
        return found


def resource_keys(api_group: str, resource: str, subresource: str) -> list[tuple[str, str]]:
    """What a rule may name to match. Source: rbac/v1 evaluation_helpers.go APIGroupMatches and ResourceMatches."""
    names = ("*", f"{resource}/{subresource}", f"*/{subresource}") if subresource else ("*", resource)
    return [(group, name) for group in ("*", api_group) for name in names]


def _index(bounds: Sequence[BoundRole]) -> dict[RuleKey, list[tuple[BoundRole, CompiledRule]]]:
    by_key: dict[RuleKey, list[tuple[BoundRole, CompiledRule]]] = {}
    for bound in bounds:
        for key, rules in bound.role.rules.items():
            by_key.setdefault(key, []).extend((bound, rule) for rule in rules)
    return by_key
