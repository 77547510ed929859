"""Kubernetes objects as tests write them: whole enough for a real API server, and no more."""

from collections.abc import Mapping, Sequence
from typing import Any

Manifest = dict[str, Any]

NO_LABELS: Mapping[str, str] = {}


def pod(
    name: str, namespace: str = "default", *, labels: Mapping[str, str] = NO_LABELS, node: str | None = None
) -> Manifest:
    """A pod of one container; `node` None leaves it unscheduled."""
    spec: dict[str, Any] = {"containers": [{"name": "main", "image": "registry.example/app:1"}]}
    if node is not None:
        spec["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(name, namespace, labels), "spec": spec}


def config_map(
    name: str, namespace: str = "default", *, labels: Mapping[str, str] = NO_LABELS, data: Mapping[str, str]
) -> Manifest:
    """A ConfigMap."""
    metadata = _metadata(name, namespace, labels)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}


def namespace(name: str, *, labels: Mapping[str, str] = NO_LABELS) -> Manifest:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": _metadata(name, None, labels)}


def role(name: str, rules: Sequence[Mapping[str, Any]], namespace: str | None) -> Manifest:
    """A Role, or a ClusterRole where `namespace` is None."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole" if namespace is None else "Role",
        "metadata": _metadata(name, namespace, NO_LABELS),
        "rules": [dict(rule) for rule in rules],
    }


def role_binding(name: str, *, user: str, namespace: str | None) -> Manifest:
    """A RoleBinding, or a ClusterRoleBinding where `namespace` is None, of one user to the role of the same name."""
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding" if namespace is None else "RoleBinding",
        "metadata": _metadata(name, namespace, NO_LABELS),
        "roleRef": {"apiGroup": group, "kind": "ClusterRole" if namespace is None else "Role", "name": name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }


def _metadata(name: str, namespace: str | None, labels: Mapping[str, str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if namespace is not None:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = dict(labels)
    return metadata
