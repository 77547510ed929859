"""Compiles a policy into the snapshot that questions are put to.

Roles are compiled once, however often they are bound. The policy is taken as valid and its aggregated roles as filled.

Source: k8s.io/kubernetes/pkg/registry/rbac/validation/rule.go
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from proxy.api.go_text import quote
from proxy.api.selectors import FieldSelector, LabelSelector
from proxy.policy.model import Binding, Dialect, PolicyRule, PolicySet, Role, Subject, SubjectKind
from proxy.policy.namespace_set import NamespaceSet
from proxy.policy.revision import policy_revision
from proxy.policy.snapshot import (
    PREFIX_URLS,
    BoundRole,
    CompiledRole,
    CompiledRule,
    MissingRole,
    PolicySnapshot,
    Reach,
    RoleTable,
    RuleKey,
    SubjectGrants,
)
from proxy.policy.templates import SubjectPattern, is_template, parse_subject_name

_STARS = re.compile(r"\*+")  # mean one: globs that match the same are to be equal
_EMPTY_TABLE = RoleTable(())


def compile_policy(policy: PolicySet) -> PolicySnapshot:
    """Raises ValueError where a watchkeeper User subject holds a capture that is not well formed."""
    roles = _Roles(policy.roles)
    users: defaultdict[str, _Subject] = defaultdict(_Subject)
    groups: defaultdict[str, _Subject] = defaultdict(_Subject)
    patterns: defaultdict[SubjectPattern, _Subject] = defaultdict(_Subject)
    for rank, binding in enumerate(sorted(policy.bindings, key=_binding_order)):
        role = roles.find(binding)
        reach = _reach(binding)
        for index, subject in enumerate(binding.subjects):
            order = (rank, index)
            match _identity(binding, subject):
                case SubjectPattern() as pattern:
                    entry = patterns[pattern]
                case (SubjectKind.GROUP, name):
                    entry = groups[name]
                case (_, name):
                    entry = users[name]
                case None:
                    continue
            if role is None:
                entry.add_missing(binding, order)
            else:
                entry.add(binding, subject, role, order, reach)
    return PolicySnapshot(
        policy=policy,
        revision=policy_revision(policy),
        namespace_label_keys=_namespace_label_keys(policy.bindings),
        expiries=tuple(sorted({binding.expires for binding in policy.bindings if binding.expires is not None})),
        rule_keys=roles.bound_keys(),
        users={name: entry.freeze() for name, entry in users.items()},
        groups={name: entry.freeze() for name, entry in groups.items()},
        patterns=_by_affixes(patterns),
        pattern_lengths=tuple(sorted({(len(pattern.prefix), len(pattern.suffix)) for pattern in patterns})),
    )


def _namespace_label_keys(bindings: Sequence[Binding]) -> frozenset[str] | None:
    selectors = [binding.namespace_selector for binding in bindings if binding.namespace_selector is not None]
    if not selectors:
        return None
    return frozenset(requirement.key for selector in selectors for requirement in selector.requirements)


class _Roles:
    """The roles of a policy, each compiled when a binding first names it."""

    def __init__(self, roles: Iterable[Role]) -> None:
        self._roles = {(role.dialect, role.kind, role.namespace, role.name): role for role in roles}
        self._compiled: dict[tuple[Dialect, str, str, str], CompiledRole] = {}

    def find(self, binding: Binding) -> CompiledRole | None:
        """The role a binding grants; a Role is that of the binding's own namespace."""
        reference = binding.role_ref
        namespace = binding.namespace if reference.kind == "Role" else ""
        key = (reference.dialect, reference.kind, namespace, reference.name)
        if key not in self._compiled:
            if key not in self._roles:
                return None
            self._compiled[key] = _compile_role(self._roles[key])
        return self._compiled[key]

    def bound_keys(self) -> frozenset[RuleKey]:
        """What the rules of all roles found so far name."""
        return frozenset(key for role in self._compiled.values() for key in role.rules)


class _Subject:
    """What one subject was granted, while bindings are read in their order."""

    __slots__ = ("_by_namespace", "_cluster", "_explicit", "_missing", "_reaching")

    def __init__(self) -> None:
        self._cluster: list[BoundRole] = []
        self._explicit: list[BoundRole] = []
        self._by_namespace: dict[str, list[BoundRole]] = {}
        self._reaching: list[BoundRole] = []
        self._missing: list[MissingRole] = []

    def add(
        self, binding: Binding, subject: Subject, role: CompiledRole, order: tuple[int, int], reach: Reach | None
    ) -> None:
        bound = BoundRole(
            binding=binding, subject=subject, role=role, order=order, reach=reach, expires=binding.expires
        )
        if reach is None:
            self._cluster.append(bound)
        elif not reach.is_explicit:
            self._reaching.append(bound)
        else:
            self._explicit.append(bound)
            for namespace in reach.named.names:
                self._by_namespace.setdefault(namespace, []).append(bound)

    def add_missing(self, binding: Binding, order: tuple[int, int]) -> None:
        reference = binding.role_ref
        message = f"{reference.kind.lower()}.{reference.dialect.value} {quote(reference.name)} not found"
        self._missing.append(MissingRole(namespace=binding.namespace, order=order, message=message))

    def freeze(self) -> SubjectGrants:
        by_namespace = {namespace: RoleTable(bounds) for namespace, bounds in self._by_namespace.items()}
        return SubjectGrants(
            cluster=_table(self._cluster),
            by_namespace=by_namespace,
            in_namespaces=_table(_joined(self._explicit)),
            reaching=_table(self._reaching),
            missing_roles=tuple(self._missing),
        )


def _table(bounds: Sequence[BoundRole]) -> RoleTable:
    return RoleTable(bounds) if bounds else _EMPTY_TABLE


def _joined(explicit: list[BoundRole]) -> Sequence[BoundRole]:
    """Bindings of the same role that never expire as one, with the namespaces of all, under the first one's name."""
    if len(explicit) < 2:
        return explicit
    joined: list[BoundRole] = []
    by_role: dict[CompiledRole, list[BoundRole]] = {}
    for bound in explicit:
        if bound.expires is None:
            by_role.setdefault(bound.role, []).append(bound)
        else:
            joined.append(bound)
    for role, bounds in by_role.items():
        names = frozenset[str]().union(*(bound.reach.named.names for bound in bounds if bound.reach is not None))
        first = bounds[0]
        joined.append(
            BoundRole(
                binding=first.binding,
                subject=first.subject,
                role=role,
                order=first.order,
                reach=Reach(named=NamespaceSet(names)),
                expires=None,
            )
        )
    return joined


def _by_affixes(
    patterns: Mapping[SubjectPattern, _Subject],
) -> dict[tuple[str, str], tuple[tuple[SubjectPattern, SubjectGrants], ...]]:
    by_affixes: dict[tuple[str, str], tuple[tuple[SubjectPattern, SubjectGrants], ...]] = {}
    for pattern, entry in patterns.items():
        key = (pattern.prefix, pattern.suffix)
        by_affixes[key] = (*by_affixes.get(key, ()), (pattern, entry.freeze()))
    return by_affixes


def _binding_order(binding: Binding) -> tuple[str, str, str]:
    """Cluster-wide bindings first, as upstream visits them, then by namespace and name."""
    return (binding.namespace, binding.name, binding.dialect.value)


def _identity(binding: Binding, subject: Subject) -> SubjectPattern | tuple[SubjectKind, str] | None:
    """Under what a user is found; None for a service account of no namespace, which matches nobody.

    Source: rule.go appliesToUser.
    """
    if subject.kind is SubjectKind.SERVICE_ACCOUNT:
        namespace = subject.namespace or binding.namespace
        return (SubjectKind.USER, f"system:serviceaccount:{namespace}:{subject.name}") if namespace else None
    if subject.kind is SubjectKind.USER and binding.dialect is Dialect.WATCHKEEPER:
        pattern = parse_subject_name(subject.name)
        if pattern is not None:
            return pattern
    return (subject.kind, subject.name)


def _reach(binding: Binding) -> Reach | None:
    if binding.namespace:
        return Reach(named=NamespaceSet(frozenset({binding.namespace})))
    if binding.namespaces is None:
        if binding.namespace_selector is None:
            return None
        return Reach(named=NamespaceSet(globs=frozenset("*")), namespace_selector=binding.namespace_selector)
    templates = tuple(entry for entry in binding.namespaces if is_template(entry))
    literal = [entry for entry in binding.namespaces if not is_template(entry)]
    return Reach(
        named=NamespaceSet(
            frozenset(entry for entry in literal if "*" not in entry),
            frozenset(_STARS.sub("*", entry) for entry in literal if "*" in entry),
        ),
        templates=templates,
        namespace_selector=binding.namespace_selector,
    )


def _compile_role(role: Role) -> CompiledRole:
    rules: dict[RuleKey, tuple[CompiledRule, ...]] = {}
    for rule in role.rules:
        compiled = _compile_rule(rule, role.dialect)
        for key in _rule_keys(rule):
            rules[key] = (*rules.get(key, ()), compiled)
    return CompiledRole(rules)


def _rule_keys(rule: PolicyRule) -> set[RuleKey]:
    keys: set[RuleKey] = {(group, resource) for group in rule.api_groups for resource in rule.resources}
    return keys | {PREFIX_URLS if url.endswith("*") else url for url in rule.non_resource_urls}


def _compile_rule(rule: PolicyRule, dialect: Dialect) -> CompiledRule:
    fields = rule.field_selector if rule.field_selector and rule.field_selector.terms else None
    labels = rule.label_selector if rule.label_selector and rule.label_selector.requirements else None
    return CompiledRule(
        verbs=frozenset(rule.verbs),
        any_verb="*" in rule.verbs,
        resource_names=frozenset(rule.resource_names) or None,
        has_name_templates=dialect is Dialect.WATCHKEEPER and any(map(is_template, rule.resource_names)),
        urls=frozenset(rule.non_resource_urls),
        url_prefixes=tuple(url.rstrip("*") for url in rule.non_resource_urls if url.endswith("*")),
        is_scoped=rule.is_scoped,
        is_templated=_is_templated(fields, labels),
        field_selector=FieldSelector(tuple(sorted(fields.terms))) if fields else None,
        label_selector=LabelSelector(tuple(sorted(labels.requirements))) if labels else None,
    )


def _is_templated(fields: FieldSelector | None, labels: LabelSelector | None) -> bool:
    values = [term.value for term in fields.terms] if fields else []
    if labels:
        values += [value for requirement in labels.requirements for value in requirement.values]
    return any(map(is_template, values))
