"""The table of built-in resources."""

from __future__ import annotations

import pytest

from proxy.policytools.builtin_resources import groups_of, is_namespaced


@pytest.mark.parametrize(
    ("group", "resource", "namespaced"),
    [
        ("", "pods", True),
        ("apps", "deployments", True),
        ("", "namespaces", False),
        ("", "nodes", False),
        ("rbac.authorization.k8s.io", "roles", True),
        ("rbac.authorization.k8s.io", "clusterroles", False),
        ("", "deployments", None),
        ("example.com", "widgets", None),
        ("", "", None),
    ],
)
def test_a_resource_is_known_in_its_own_group_only(group: str, resource: str, namespaced: bool | None) -> None:
    assert is_namespaced(group, resource) is namespaced


def test_the_groups_of_a_resource_are_told() -> None:
    assert groups_of("events") == ["", "events.k8s.io"]
    assert groups_of("widgets") == []
