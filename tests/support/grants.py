"""Policy files in few words: who may do what, in both dialects."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.manifests import Manifest

RBAC = "rbac.authorization.k8s.io"
SCOPED = "watchkeeper.io"
READ = ("get", "list", "watch")

Rule = dict[str, Any]


def rule(*resources: str, groups: Sequence[str] = ("",), verbs: Sequence[str] = READ, **more: Any) -> Rule:
    """One rule; `more` is for example `resourceNames`, `labelSelector` or `fieldSelector`."""
    return {"apiGroups": list(groups), "resources": list(resources), "verbs": list(verbs), **more}


EVERYTHING: Sequence[Rule] = (
    rule("*", groups=("*",), verbs=("*",)),
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
)


def grant(user: str, *rules: Rule, namespace: str | None = None) -> list[Manifest]:
    """Kubernetes' own dialect: a role of these rules for one user, in a namespace or (None) everywhere."""
    place = f"-{namespace}" if namespace else ""
    metadata = {"name": f"{user}{place}"}
    if namespace:
        metadata["namespace"] = namespace
    kind = "Role" if namespace else "ClusterRole"
    return [
        {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, "rules": list(rules)},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            **_binds(user, RBAC, metadata, kind),
        },
    ]


def scoped_grant(user: str, *rules: Rule, **binding: Any) -> list[Manifest]:
    """The dialect with selectors; `binding` is for example `namespaces`, `namespaceSelector` or `expires`."""
    metadata = {"name": f"{user}-scoped"}
    version = f"{SCOPED}/v1alpha1"
    return [
        {"apiVersion": version, "kind": "ClusterRole", "metadata": metadata, "rules": list(rules)},
        {
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            **binding,
            **_binds(user, SCOPED, metadata, "ClusterRole"),
        },
    ]


def _binds(user: str, group: str, metadata: Mapping[str, str], kind: str) -> Manifest:
    return {
        "roleRef": {"apiGroup": group, "kind": kind, "name": metadata["name"]},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }
