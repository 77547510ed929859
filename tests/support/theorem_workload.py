"""Random writes to pods and namespaces, each told to the worlds before it is made.

Every version of a pod carries a secret of its own, by which it is known wherever it turns up.
"""

import random
from collections.abc import Callable, Sequence

from tests.support.manifests import Manifest, pod
from tests.support.manifests import namespace as namespace_manifest
from tests.support.realkube import RealCluster
from tests.support.theorem import SECRET
from tests.support.theorem_policies import NODES, STAGES, TEAMS, TIERS
from tests.support.worlds import Worlds

Labels = dict[str, dict[str, str]]

_MAX_PODS = 5  # in one namespace
_PHASES = ("Pending", "Running", "Succeeded", "Failed")
_NAMESPACE_LABEL = "kubernetes.io/metadata.name"


class Workload:
    """Writes in namespaces that begin with `prefix`; `labels` are those of all namespaces there are before.

    `written` is the resourceVersion of the latest write to a pod that was answered.
    """

    def __init__(
        self, cluster: RealCluster, worlds: Worlds, chance: random.Random, *, prefix: str, labels: Labels
    ) -> None:
        self.written = 0
        self._cluster = cluster
        self._worlds = worlds
        self._chance = chance
        self._prefix = prefix
        self._labels = labels
        self._pods: dict[tuple[str, str], Manifest] = {}
        self._secrets = 0
        self._marks = f"{prefix}marks"
        self._marker = pod("mark", self._marks)

    def set_up(self) -> None:
        """The namespaces that are always there, and some pods."""
        for name in ("team-a", "team-b", "team-c", "other-a", "marks"):
            self._create_namespace(self._prefix + name)
        self._wrote(self._cluster.create(self._marker))
        for _ in range(12):
            self.create_pod()

    def tear_down(self) -> None:
        """Everything goes, also after a `set_up` that failed."""
        for manifest in self._pods.values():
            self._cluster.delete(manifest)
        if self.written:
            self._cluster.delete(self._marker)
        for name in [each for each in self._labels if each.startswith(self._prefix)]:
            self._cluster.delete_namespace(name)

    @property
    def acts(self) -> Sequence[tuple[Callable[[], None], int]]:
        """What can happen, and how often in proportion."""
        return (
            (self.create_pod, 12),
            (self.relabel_pod, 14),
            (self._bind_pod, 8),
            (self._change_phase, 12),
            (self._delete_pod, 7),
            (self._recreate_pod, 4),
            (self.relabel_namespace, 6),
            (self._come_or_go_namespace, 2),
        )

    def mark(self) -> int:
        """A write to a pod that nobody makes but this; its resourceVersion."""
        patch = {"metadata": {"annotations": {SECRET: self._secret()}}}
        return self._wrote(self._cluster.patch(self._marker, patch))

    def mark_namespace(self) -> int:
        """A write to a namespace that changes no label; its resourceVersion."""
        patch = {"metadata": {"annotations": {"mark": self._secret()}}}
        answer = self._cluster.patch(namespace_manifest(self._marks), patch)
        return int(answer["metadata"]["resourceVersion"])

    def create_pod(self) -> None:
        """A new pod somewhere, if there is room."""
        place = self._chance.choice(self._places())
        free = [name for name in (f"p{slot}.{place}" for slot in range(_MAX_PODS)) if (place, name) not in self._pods]
        if free:
            self._create_pod(place, self._chance.choice(free))

    def _create_pod(self, place: str, name: str) -> None:
        node = self._chance.choice((None, *NODES))
        manifest = pod(name, place, labels=self._pod_labels(), node=node)
        manifest["metadata"]["annotations"] = {SECRET: self._secret()}
        self._wrote(self._cluster.create(manifest))
        self._pods[place, name] = manifest

    def relabel_pod(self) -> None:
        """Other labels for a pod."""
        if manifest := self._any_pod():
            labels = {"tier": None, "app": None} | self._pod_labels()
            change = {"metadata": {"labels": labels, "annotations": {SECRET: self._secret()}}}
            self._wrote(self._cluster.patch(manifest, change))

    def _bind_pod(self) -> None:
        manifest = self._any_pod()
        if manifest is None or "nodeName" in manifest["spec"]:
            return
        node = self._chance.choice(NODES)
        metadata = {"name": manifest["metadata"]["name"], "annotations": {SECRET: self._secret()}}
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": metadata,
            "target": {"kind": "Node", "name": node},
        }
        response = self._cluster.admin.post(f"{self._cluster.path(manifest)}/binding", json=binding)
        response.raise_for_status()
        manifest["spec"]["nodeName"] = node

    def _change_phase(self) -> None:
        if manifest := self._any_pod():
            change: Manifest = {"metadata": {"annotations": {SECRET: self._secret()}}}
            change["status"] = {"phase": self._chance.choice(_PHASES)}
            self._wrote(self._cluster.patch(manifest, change, subresource="status"))

    def _delete_pod(self) -> None:
        if manifest := self._any_pod():
            self._cluster.delete(manifest)
            del self._pods[_key(manifest)]

    def _recreate_pod(self) -> None:
        manifest = self._any_pod()
        if manifest is not None and manifest["metadata"]["namespace"] in self._places():
            self._cluster.delete(manifest)
            self._create_pod(*_key(manifest))

    def relabel_namespace(self) -> None:
        """Another label for a namespace, or one less."""
        place = self._chance.choice(self._places())
        key, values = self._chance.choice((("team", TEAMS), ("stage", STAGES)))
        value = self._chance.choice((None, *values))
        labels = {**self._labels[place], key: value}
        self._labels[place] = {each: text for each, text in labels.items() if text is not None}
        self._worlds.begin_labels(self._labels_now())
        self._cluster.patch(namespace_manifest(place), {"metadata": {"labels": {key: value}}})

    def _come_or_go_namespace(self) -> None:
        name = f"{self._prefix}new"
        if name not in self._labels:
            self._create_namespace(name)
            return
        del self._labels[name]  # its pods stay, since there is no controller
        self._worlds.begin_labels(self._labels_now())
        self._cluster.delete_namespace(name)

    def _create_namespace(self, name: str) -> None:
        labels = {}
        if self._chance.random() < 0.7:
            labels["team"] = self._chance.choice(TEAMS)
        if self._chance.random() < 0.7:
            labels["stage"] = self._chance.choice(STAGES)
        self._labels[name] = {**labels, _NAMESPACE_LABEL: name}
        self._worlds.begin_labels(self._labels_now())
        self._cluster.create_namespace(name, labels=labels)

    def _wrote(self, answer: Manifest) -> int:
        self._written = int(answer["metadata"]["resourceVersion"])
        return self._written

    def _places(self) -> list[str]:
        return [name for name in self._labels if name.startswith(self._prefix) and name != self._marks]

    def _any_pod(self) -> Manifest | None:
        live = [each for each in self._pods.values() if each["metadata"]["namespace"] in self._labels]
        return self._chance.choice(live) if live else None

    def _pod_labels(self) -> dict[str, str]:
        labels = {"tier": self._chance.choice((None, *TIERS)), "app": self._chance.choice(("a", "b"))}
        return {key: value for key, value in labels.items() if value is not None}

    def _labels_now(self) -> dict[str, dict[str, str]]:
        return {name: dict(labels) for name, labels in self._labels.items()}

    def _secret(self) -> str:
        self._secrets += 1
        return f"secret-{self._secrets}"


def _key(manifest: Manifest) -> tuple[str, str]:
    return (manifest["metadata"]["namespace"], manifest["metadata"]["name"])
