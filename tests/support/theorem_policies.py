"""Random policies over one cast: each is a whole policy folder, and differs from every other."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.support.identities import ADMIN, Identity

Manifest = dict[str, Any]
Files = Mapping[str, Sequence[Manifest]]

ALICE = Identity(name="alice")
NODE1 = Identity(name="system:node:node1", groups=("system:nodes",))
LENA = Identity(name="lena", token="lena-token")
NADIA = Identity(name="nadia")
GUS = Identity(name="gus", token="gus-token")
MIA = Identity(name="mia")
NOBODY = Identity(name="nobody")
CAROL_A = Identity(name="carol", groups=("viewers-a",), token="carol-a-token")
CAROL_B = Identity(name="carol", groups=("viewers-b",), token="carol-b-token")
CANARY = Identity(name="canary", token="canary-token")
CAST = (ADMIN, ALICE, NODE1, LENA, NADIA, GUS, MIA, NOBODY, CAROL_A, CAROL_B, CANARY)
TOKENS = tuple(each for each in CAST if each.token is not None)

NODES = ("node1", "node2")
TIERS = ("front", "back")
TEAMS = ("red", "blue")
STAGES = ("prod", "test")

_RBAC, _OURS = "rbac.authorization.k8s.io", "watchkeeper.io"
_OUR_VERSION = f"{_OURS}/v1alpha1"

_PHASES = ("status.phase=Running", "status.phase!=Failed")
_FIELDS = (
    "spec.nodeName=${node}",
    "spec.nodeName=${node},status.phase!=Failed",
    "spec.nodeName=${node},status.phase=Running",
    *_PHASES,
)
_LABELS: tuple[Manifest, ...] = (
    {"matchLabels": {"tier": "front"}},
    {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front", "back"]}]},
    {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]},
    {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}]},
)
_NAMESPACE_LABELS: tuple[Manifest, ...] = (
    {"matchLabels": {"team": "red"}},
    {"matchLabels": {"team": "blue"}},
    {"matchLabels": {"stage": "prod"}},
    {"matchLabels": {"team": "red", "stage": "test"}},
    {
        "matchExpressions": [
            {"key": "stage", "operator": "NotIn", "values": ["test"]},
            {"key": "team", "operator": "Exists"},
        ]
    },
)


class Policies:
    """Makes policies for namespaces that begin with `prefix`; `serial` numbers them."""

    def __init__(self, chance: random.Random, prefix: str) -> None:
        self.serial = 0
        self._chance = chance
        self._namespaces = [f"{prefix}team-{each}" for each in "abc"]
        self._globs = [[f"{prefix}team-*"], [f"{prefix}*-a", f"{prefix}new"], [f"{prefix}*"], [f"{prefix}team-b"]]
        self._makers: Mapping[str, Callable[[], list[Manifest]]] = {
            "alice": self._alice,
            "carol": self._carol,
            "gus": self._gus,
            "lena": self._lena,
            "mia": self._mia,
            "nadia": self._nadia,
            "node": self._node,
        }
        self._parts = {name: make() for name, make in self._makers.items()}

    @property
    def epoch_path(self) -> str:
        """A path that only the newest policy lets the canary get."""
        return f"/epoch-{self.serial}"

    def change(self, *, expires: float | None = None) -> Files:
        """The next policy: one or two users are granted something else. `expires` ends what one of them has then."""
        for name in self._chance.sample(sorted(self._makers), self._chance.choice((1, 1, 2))):
            self._parts[name] = self._makers[name]()
        if expires is not None:
            self._parts["gus"] = self._gus(expires)
        elif any("expires" in each for each in self._parts["gus"]):
            self._parts["gus"] = self._gus()
        self.serial += 1
        return {"policy.yaml": [*self._constant(), *(each for part in self._parts.values() for each in part)]}

    def spoilt(self) -> Files:
        """A policy that would let everybody see everything, if only it were valid."""
        everybody = _binding("open", _group("system:authenticated"), role=("everything", _RBAC))
        mistake = _role(
            "mistake", {"apiGroups": [""], "resources": ["pods"], "verbs": ["wacth"]}, version=f"{_RBAC}/v1"
        )
        mistake["kind"] = "ClusterRoel"
        return {"policy.yaml": [*self._constant(), everybody, mistake]}

    def _constant(self) -> list[Manifest]:
        everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
        epoch = {"nonResourceURLs": [self.epoch_path], "verbs": ["get"]}
        return [
            _role("everything", everything, version=f"{_RBAC}/v1"),
            _role("read", _pods(), version=f"{_RBAC}/v1"),
            _role("epoch", epoch, version=f"{_RBAC}/v1"),
            _binding("everything", _group("system:masters"), role=("everything", _RBAC), version=f"{_RBAC}/v1"),
            _binding("epoch", _user("canary"), role=("epoch", _RBAC), version=f"{_RBAC}/v1"),
        ]

    def _alice(self) -> list[Manifest]:
        count = self._chance.choice((0, 1, 2, 2))
        return [self._role_binding("alice", each) for each in self._chance.sample(self._namespaces, count)]

    def _node(self) -> list[Manifest]:
        rule = _pods(fieldSelector=self._chance.choice(_FIELDS))
        return [_role("own", rule), _binding("own", _user("system:node:{node}"), role=("own", _OURS))]

    def _lena(self) -> list[Manifest]:
        rules = [_pods(labelSelector=each) for each in self._chance.sample(_LABELS, self._chance.choice((1, 1, 2)))]
        if self._chance.random() < 0.3:
            rules.append(_pods(fieldSelector="status.phase=Running"))
        return [_role("tier", *rules), _binding("tier", _user("lena"), role=("tier", _OURS))]

    def _nadia(self) -> list[Manifest]:
        if self._chance.random() < 0.15:
            return []
        narrowing: Manifest = {"namespaceSelector": self._chance.choice(_NAMESPACE_LABELS)}
        if self._chance.random() < 0.3:
            narrowing["namespaces"] = self._chance.choice(self._globs)
        return [_binding("nadia", _user("nadia"), role=("read", _RBAC), **narrowing)]

    def _gus(self, expires: float | None = None) -> list[Manifest]:
        first, second = self._chance.sample(self._globs, 2)
        parts = [_binding("gus", _user("gus"), role=("read", _RBAC), namespaces=first)]
        if expires is not None:
            until = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            parts.append(_binding("gus-for-now", _user("gus"), role=("read", _RBAC), namespaces=second, expires=until))
        return parts

    def _carol(self) -> list[Manifest]:
        first, second = self._chance.sample(self._namespaces, 2)
        return [
            _binding("viewers-a", _group("viewers-a"), role=("read", _RBAC), namespaces=[first]),
            _binding("viewers-b", _group("viewers-b"), role=("read", _RBAC), namespaces=[second]),
        ]

    def _mia(self) -> list[Manifest]:
        rule = _pods(labelSelector=self._chance.choice(_LABELS), fieldSelector=self._chance.choice(_PHASES))
        selector = self._chance.choice(_NAMESPACE_LABELS)
        return [
            self._role_binding("mia", self._chance.choice(self._namespaces)),
            _role("mia", rule),
            _binding("mia", _user("mia"), role=("mia", _OURS), namespaceSelector=selector),
        ]

    @staticmethod
    def _role_binding(name: str, namespace: str) -> Manifest:
        manifest = _binding(name, _user(name), role=("read", _RBAC), version=f"{_RBAC}/v1")
        return {**manifest, "kind": "RoleBinding", "metadata": {"name": name, "namespace": namespace}}


def _pods(**selectors: object) -> Manifest:
    return {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"], **selectors}


def _role(name: str, *rules: Manifest, version: str = _OUR_VERSION) -> Manifest:
    return {"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": name}, "rules": list(rules)}


def _binding(
    name: str, subject: Manifest, *, role: tuple[str, str], version: str = _OUR_VERSION, **more: object
) -> Manifest:
    return {
        "apiVersion": version,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "subjects": [subject],
        "roleRef": {"apiGroup": role[1], "kind": "ClusterRole", "name": role[0]},
        **more,
    }


def _user(name: str) -> Manifest:
    return {"kind": "User", "apiGroup": _RBAC, "name": name}


def _group(name: str) -> Manifest:
    return {"kind": "Group", "apiGroup": _RBAC, "name": name}
