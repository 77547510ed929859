"""Aggregation: what an aggregationRule collects, to a fixed point.

Source: k8s.io/kubernetes/pkg/controller/clusterroleaggregation
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from proxy.policy.model import Dialect, PolicyRule, PolicySet, Role

_RoleKey: TypeAlias = tuple[Dialect, str]
_Rules: TypeAlias = dict[_RoleKey, tuple[PolicyRule, ...]]


def aggregate(policy: PolicySet) -> PolicySet:
    """The policy with the rules of every aggregated ClusterRole filled in; its own written rules are dropped.

    For each selector in order, the ClusterRoles of its own group that match, by name and without itself, give their
    rules; a rule that is there already is not added again. Roles keep their order.
    """
    cluster_roles = {_key(role): role for role in policy.roles if not role.namespace}
    aggregated = [role for role in cluster_roles.values() if role.aggregation is not None]
    sources = {_key(role): _selected(role, cluster_roles) for role in aggregated}
    rules: _Rules = {key: () if key in sources else role.rules for key, role in cluster_roles.items()}
    # A rule travels along a chain of distinct aggregated roles, so it arrives within as many rounds as there are.
    for _ in range(len(sources)):
        collected = {key: _collect(selected, rules) for key, selected in sources.items()}
        if all(rules[key] == value for key, value in collected.items()):
            break
        rules.update(collected)
    roles = tuple(
        role if role.aggregation is None or role.namespace else replace(role, rules=rules[_key(role)])
        for role in policy.roles
    )
    return replace(policy, roles=roles)


def _key(role: Role) -> _RoleKey:
    return role.dialect, role.name


def _selected(role: Role, cluster_roles: dict[_RoleKey, Role]) -> list[_RoleKey]:
    candidates = sorted(
        (other for other in cluster_roles.values() if other.dialect is role.dialect and other.name != role.name),
        key=lambda other: other.name,
    )
    return [
        _key(other)
        for selector in role.aggregation or ()
        for other in candidates
        if selector.matches(dict(other.labels))
    ]


def _collect(selected: list[_RoleKey], rules: _Rules) -> tuple[PolicyRule, ...]:
    return tuple(dict.fromkeys(rule for key in selected for rule in rules[key]))
