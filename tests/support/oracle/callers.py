"""Who asks the oracle, and random RBAC for them: Roles, ClusterRoles (aggregated ones too) and bindings."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from tests.support.identities import Identity
from tests.support.manifests import Manifest
from tests.support.oracle.contents import EVERY_NAMESPACE, NAMESPACES

API_GROUP = "rbac.authorization.k8s.io"

ROOT = Identity(name="oracle-root")
READER = Identity(name="oracle-reader", groups=("oracle-readers",))
NOBODY = Identity(name="oracle-nobody")
PARTIAL = Identity(name="oracle-partial")
IMPERSONATOR = Identity(name="oracle-impersonator")
TOKENS = (
    Identity(name="oracle-u0", groups=("oracle-g1",), token="oracle-token-0"),
    Identity(name="oracle-t1", groups=("oracle-g0", "oracle-g2"), token="oracle-token-1"),
)
STRANGER = Identity(name="stranger", token="nobody-knows-this")
_ACCOUNT_GROUPS = ("system:serviceaccounts", "system:serviceaccounts:oracle-a")
USERS = (
    *(Identity(name=f"oracle-u{number}", groups=(f"oracle-g{number % 3}",)) for number in range(5)),
    Identity(name="system:serviceaccount:oracle-a:robot", groups=_ACCOUNT_GROUPS),
)

_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "*")
_READ = ("get", "list", "watch")
_GROUPS = ("", "", "", "apps", "batch", "samples.example", "coordination.k8s.io", "*")
_RESOURCES = (
    *(
        "pods",
        "configmaps",
        "secrets",
        "services",
        "namespaces",
        "nodes",
        "deployments",
        "widgets",
        "planets",
        "leases",
    ),
    *(
        "pods/log",
        "pods/status",
        "*/status",
        "*/scale",
        "pods/*",
        "serviceaccounts",
        "serviceaccounts/token",
        "events",
        "*",
    ),
)
_NAMES = ("web", "settings", "more-1", "oracle-a", "new", "lone", "node-oracle-a", "absent")
_URLS = ("/healthz", "/metrics", "/logs", "/logs/*", "/debug/*", "/nothing", "/openid/*", "/*", "/readyz*", "/apis/*")


class RandomRbac:
    """Manifests of one policy. The ClusterRole `oracle-sum` aggregates those with the label."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def manifests(self) -> list[Manifest]:
        """Roles, then bindings; some bindings name no role."""
        roles = [self._role(f"oracle-{name}", None) for name in "rstuv"]
        for role in roles[:3]:
            role["metadata"]["labels"] = {"oracle.example/aggregate": "true"}
        roles += [self._role(f"oracle-{name}", namespace) for namespace in NAMESPACES for name in "rw"]
        total = _object("ClusterRole", "oracle-sum", None)
        total["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {"oracle.example/aggregate": "true"}}]}
        bindings = [self._binding(number) for number in range(28)]
        return [*_FIXED_ROLES, *roles, total, *_FIXED_BINDINGS, *bindings]

    def _role(self, name: str, namespace: str | None) -> Manifest:
        role = _object("ClusterRole" if namespace is None else "Role", name, namespace)
        role["rules"] = [self._rule(urls=namespace is None) for _ in range(self._chance.randint(2, 5))]
        return role

    def _rule(self, *, urls: bool) -> Manifest:
        if urls and self._one_in(5):
            return {"verbs": self._some(("get", "head", "post", "*")), "nonResourceURLs": self._some(_URLS)}
        verbs = list(_READ) if self._one_in(2) else self._some(_VERBS)
        groups = ["*"] if self._one_in(3) else sorted(set(self._some(_GROUPS)))
        rule: Manifest = {"verbs": verbs, "apiGroups": groups, "resources": self._some(_RESOURCES)}
        return {**rule, "resourceNames": self._some(_NAMES)} if self._one_in(4) else rule

    def _binding(self, number: int) -> Manifest:
        namespace = None if self._one_in(4) else self._chance.choice(EVERY_NAMESPACE)
        kind = "ClusterRole" if namespace is None or self._one_in(2) else "Role"
        names = ("r", "s", "t", "u", "v", "sum", "missing") if kind == "ClusterRole" else ("r", "w", "missing")
        name = f"oracle-{self._chance.choice(names)}"
        if namespace is not None and kind == "ClusterRole" and self._one_in(4):
            name = self._chance.choice(("view", "edit", "admin"))
        made = _object("ClusterRoleBinding" if namespace is None else "RoleBinding", f"oracle-b{number}", namespace)
        made["roleRef"] = {"apiGroup": API_GROUP, "kind": kind, "name": name}
        made["subjects"] = [self._subject(namespace) for _ in range(self._chance.randint(1, 2))]
        return made

    def _subject(self, namespace: str | None) -> Manifest:
        kind = self._chance.choice(("User", "User", "User", "Group", "ServiceAccount"))
        if kind == "ServiceAccount":
            return {"kind": kind, "name": "robot", "namespace": namespace or self._chance.choice(NAMESPACES)}
        name = f"oracle-u{self._chance.randrange(5)}" if kind == "User" else f"oracle-g{self._chance.randrange(3)}"
        return {"apiGroup": API_GROUP, "kind": kind, "name": name}

    def _one_in(self, number: int) -> bool:
        return self._chance.randrange(number) == 0

    def _some(self, values: Sequence[str]) -> list[str]:
        return self._chance.sample(values, self._chance.randint(1, 4))


def _object(kind: str, name: str, namespace: str | None) -> dict[str, Any]:
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return {"apiVersion": f"{API_GROUP}/v1", "kind": kind, "metadata": metadata}


def _fixed(name: str, subject: dict[str, str], *rules: Manifest) -> tuple[Manifest, Manifest]:
    role = {**_object("ClusterRole", name, None), "rules": list(rules)}
    reference = {"apiGroup": API_GROUP, "kind": "ClusterRole", "name": name}
    subjects = [{"apiGroup": API_GROUP, **subject}]
    return role, {**_object("ClusterRoleBinding", name, None), "roleRef": reference, "subjects": subjects}


_FIXED = (
    _fixed(
        "oracle-root",
        {"kind": "User", "name": ROOT.name},
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
        {"verbs": ["*"], "nonResourceURLs": ["*"]},
    ),
    _fixed(
        "oracle-readers",
        {"kind": "Group", "name": READER.groups[0]},
        {"verbs": list(_READ), "apiGroups": ["*"], "resources": ["*"]},
        {"verbs": ["get", "head", "options"], "nonResourceURLs": ["*"]},
    ),
    _fixed(
        "oracle-impersonators",
        {"kind": "User", "name": IMPERSONATOR.name},
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"]},
        {
            "verbs": ["impersonate"],
            "apiGroups": [""],
            "resources": ["groups"],
            "resourceNames": ["oracle-g0", "oracle-g1"],
        },
        {"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": ["userextras/scopes", "uids"]},
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts"]},
    ),
)
_FIXED_ROLES = [role for role, _ in _FIXED]
_FIXED_BINDINGS = [
    *(binding for _, binding in _FIXED),
    {
        **_object("RoleBinding", "oracle-partial", NAMESPACES[0]),
        "roleRef": {"apiGroup": API_GROUP, "kind": "ClusterRole", "name": "oracle-readers"},
        "subjects": [{"apiGroup": API_GROUP, "kind": "User", "name": PARTIAL.name}],
    },
]
"""PARTIAL reads everything in the first namespace, and nothing else."""
