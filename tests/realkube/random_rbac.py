"""Random RBAC manifests and questions, made so that they often meet, and so that many policies fit in one cluster.

The subjects, and the names of roles and bindings, are a policy's own by their prefix: no policy grants anything to the
users of another. Only the namespaces are shared.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

Manifest = dict[str, Any]

API_GROUP = "rbac.authorization.k8s.io"
NAMESPACES = ("rbac-a", "rbac-b")
VERBS = ("get", "list", "watch", "create", "deletecollection", "*")
GROUPS = ("", "apps", "*")
RESOURCES = ("pods", "deployments", "namespaces", "nodes", "*", "pods/log", "*/log", "pods/*", "*/*", "log")
NAMES = ("x", "y", "rbac-a", "")
URLS = ("/healthz", "/api", "/api/*", "/api*", "/a**", "/*", "*", "/a*i", "/healthz/")
PATHS = ("/healthz", "/healthz/", "/api", "/api/v1", "/apis", "/api*", "/a*i", "/", "*", "")


class RandomRbac:
    """One policy: its manifests, users and questions all begin with `prefix`."""

    def __init__(self, prefix: str, chance: random.Random) -> None:
        self.prefix = prefix
        self._chance = chance

    def manifests(self) -> list[Manifest]:
        """Roles, then bindings, some of which name no role. The ClusterRole `…-sum` aggregates some of the others."""
        roles = [self._role(name, None) for name in ("r", "s")]
        roles += [self._role(name, namespace) for name in ("r", "t") for namespace in NAMESPACES if self._one_in(2)]
        aggregated = self._object("ClusterRole", "sum", None)
        label = {f"{self.prefix}.example/aggregate": "true"}
        aggregated["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": label}]}
        for role in roles:
            if role["kind"] == "ClusterRole" and self._one_in(2):
                role["metadata"]["labels"] = label
        return [*roles, aggregated, *(self._binding(number) for number in range(self._chance.randint(4, 10)))]

    def question(self) -> Manifest:
        """The spec of a SubjectAccessReview."""
        return {**self._caller(), **self._asked()}

    def _role(self, name: str, namespace: str | None) -> Manifest:
        role = self._object("ClusterRole" if namespace is None else "Role", name, namespace)
        role["rules"] = [self._rule(urls=namespace is None) for _ in range(self._chance.randint(0, 4))]
        return role

    def _rule(self, *, urls: bool) -> Manifest:
        rule: Manifest = {"verbs": ["*"] if self._one_in(2) else self._some(VERBS)}
        if urls and self._one_in(4):
            return {**rule, "nonResourceURLs": self._some(URLS)}
        rule |= {"apiGroups": [""] if self._one_in(2) else self._some(GROUPS)}
        rule |= {"resources": ["pods"] if self._one_in(3) else self._some(RESOURCES)}
        return {**rule, "resourceNames": self._some(NAMES)} if self._one_in(3) else rule

    def _binding(self, number: int) -> Manifest:
        namespace = None if self._one_in(3) else self._chance.choice(NAMESPACES)
        kind = "ClusterRole" if namespace is None or self._one_in(2) else "Role"
        binding = self._object("ClusterRoleBinding" if namespace is None else "RoleBinding", f"b{number}", namespace)
        name = self._chance.choice(("r", "r", "r", "s", "s", "t", "sum", "missing"))
        binding["roleRef"] = {"apiGroup": API_GROUP, "kind": kind, "name": f"{self.prefix}-{name}"}
        binding["subjects"] = [self._subject(namespace) for _ in range(self._chance.randint(0, 4))]
        return binding

    def _subject(self, namespace: str | None) -> Manifest:
        kind = self._chance.choice(("User", "User", "Group", "ServiceAccount"))
        if kind != "ServiceAccount":
            names = ("alice", "bob") if kind == "User" else ("dev", "ops")
            return {"apiGroup": API_GROUP, "kind": kind, "name": f"{self.prefix}-{self._chance.choice(names)}"}
        account = {"kind": kind, "name": f"{self.prefix}-robot"}
        if namespace is None or self._one_in(2):
            account["namespace"] = self._chance.choice(NAMESPACES)
        return account

    def _caller(self) -> Manifest:
        robot = f"system:serviceaccount:{self._chance.choice(NAMESPACES)}:{self.prefix}-robot"
        caller: Manifest = {"user": self._chance.choice((f"{self.prefix}-alice", f"{self.prefix}-bob", robot))}
        if self._one_in(2):
            caller["groups"] = [f"{self.prefix}-{group}" for group in self._some(("dev", "ops"))]
        return caller

    def _asked(self) -> Manifest:
        verb = self._chance.choice(
            ("get", "get", "list", "list", "watch", "create", "deletecollection", "*", "GET", "")
        )
        if self._one_in(5):
            return {"nonResourceAttributes": {"verb": verb, "path": self._chance.choice(PATHS)}}
        resources = ("pods", "pods", "pods", "pods", "deployments", "namespaces", "nodes", "*", "pods/log", "log", "")
        return {
            "resourceAttributes": {
                "verb": verb,
                "group": self._chance.choice(("", "", "", "", "apps", "*", "other")),
                "version": self._chance.choice(("", "v1")),
                "resource": self._chance.choice(resources),
                "subresource": self._chance.choice(("", "", "", "", "log", "*")),
                "namespace": self._chance.choice(("", *NAMESPACES, *NAMESPACES, "rbac-elsewhere")),
                "name": self._chance.choice(("", *NAMES)),
            }
        }

    def _object(self, kind: str, name: str, namespace: str | None) -> Manifest:
        metadata = {"name": f"{self.prefix}-{name}"}
        if namespace is not None:
            metadata["namespace"] = namespace
        return {"apiVersion": f"{API_GROUP}/v1", "kind": kind, "metadata": metadata}

    def _one_in(self, number: int) -> bool:
        return self._chance.randrange(number) == 0

    def _some(self, values: Sequence[str]) -> list[str]:
        return self._chance.sample(values, self._chance.randint(1, min(3, len(values))))
