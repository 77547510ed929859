"""Namespace manifests for questions without an upstream."""

from __future__ import annotations

import pytest

from proxy.policytools.namespace_manifests import read_namespaces

A = {"team": "x", "kubernetes.io/metadata.name": "a"}
BARE = {"kubernetes.io/metadata.name": "b"}


@pytest.mark.parametrize(
    "text",
    [
        """
apiVersion: v1
kind: Namespace
metadata: {name: a, labels: {team: x}}
---
apiVersion: v1
kind: Namespace
metadata: {name: b}
---
""",
        """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {team: x}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: b, labels: null}}
""",
        '{"apiVersion": "v1", "kind": "NamespaceList", "items": '
        '[{"metadata": {"name": "a", "labels": {"team": "x"}}}, {"metadata": {"name": "b"}}]}',
    ],
    ids=["documents", "kubectl's list", "the API's list"],
)
def test_namespaces_are_read_with_the_label_every_namespace_has(text: str) -> None:
    assert dict(read_namespaces(text.encode())) == {"a": A, "b": BARE}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "no YAML"),
        ("\x00", "no YAML"),
        ("a: &x [*x]", "expected objects"),
        ("[1, 2]", "expected objects"),
        ("kind: Namespace", "expected objects"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: a}}", "expected objects"),
        ("{apiVersion: v1, kind: Namespace}", "metadata.name"),
        ("{apiVersion: v1, kind: Namespace, metadata: {name: 5}}", "metadata.name"),
        ("{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {on: x}}}", "labels of Namespace `a`"),
        ("{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: [x]}}", "labels of Namespace `a`"),
        ("{apiVersion: v1, kind: NamespaceList, items: [7]}", "expected objects"),
        ("[" * 5000, "no YAML"),
    ],
)
def test_anything_else_is_refused_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refusal:
        read_namespaces(text.encode())
    assert "\n" not in str(refusal.value)
