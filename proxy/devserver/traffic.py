"""Live traffic: a small cluster whose pods are created, scheduled, run, finish, are relabelled, deleted and recreated.

Every step is one write, chosen with the injected randomness: the same seed makes the same traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from proxy.devserver.kinds import (
    CONFIGMAPS,
    DEPLOYMENTS,
    ENDPOINTS,
    ENDPOINTSLICES,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    SECRETS,
    SERVICES,
    Body,
    Kind,
)
from proxy.devserver.storage import Version
from proxy.devserver.writes import Writer

TEAM_NAMESPACES = ("team-a", "team-b", "team-c", "kube-system")
NODE_NAMES = ("node1", "node2", "node3")
FEWEST_PODS = 8
MOST_PODS = 24

_APPS = ("api", "cache", "jobs", "web", "worker")
_TIERS = ("blue", "canary", "green")
_ADDRESS = {"ip": "198.51.100.1"}
_PORT = {"port": 80, "protocol": "TCP"}
_SLICE_LABELS = {"kubernetes.io/service-name": "web"}
_PHASES_AFTER = {"Pending": ("Running",), "Running": ("Succeeded", "Succeeded", "Failed")}


@dataclass(slots=True)
class Traffic:
    """The writes, one at a time."""

    writer: Writer
    random: Random
    clock: Callable[[], datetime]
    _deleted: list[tuple[str, str]] = field(default_factory=list)
    _created: int = 0

    def seed(self) -> None:
        """The cluster before the traffic: namespaces, nodes, and some of everything in each namespace."""
        for namespace in ("default", *TEAM_NAMESPACES):
            self._create(NAMESPACES, "", namespace, {})
        for node in NODE_NAMES:
            self._create(NODES, "", node, _node_body(node))
            self._create(LEASES, "kube-system", node, {"spec": {"holderIdentity": node}})
        for namespace in TEAM_NAMESPACES:
            self._create(CONFIGMAPS, namespace, "settings", {"data": {"revision": "0"}})
            self._create(SECRETS, namespace, "credentials", {"type": "Opaque", "data": {"password": "ZGVtbw=="}})
            self._create(SERVICES, namespace, "web", _service_body())
            self._create(DEPLOYMENTS, namespace, "web", _deployment_body())
            self._create(ENDPOINTS, namespace, "web", {"subsets": [{"addresses": [_ADDRESS], "ports": [_PORT]}]})
            self._create(ENDPOINTSLICES, namespace, "web-1", _endpoint_slice_body(), labels=_SLICE_LABELS)
            for _ in range(FEWEST_PODS // len(TEAM_NAMESPACES)):
                self._create_new_pod(namespace)
        for _ in range(FEWEST_PODS):
            self._schedule_pod()

    def step(self) -> None:
        """One write."""
        pods = len(self._pods())
        if pods < FEWEST_PODS:
            self._create_pod()
            return
        steps: Sequence[tuple[Callable[[], None], int]] = (
            (self._schedule_pod, 5),
            (self._advance_pod, 6),
            (self._relabel_pod, 3),
            (self._create_pod, 4 if pods < MOST_PODS else 0),
            (self._delete_pod, 2 if pods < MOST_PODS else 8),
            (self._update_config_map, 1),
            (self._renew_lease, 1),
        )
        chosen = self.random.choices([step for step, _ in steps], [weight for _, weight in steps])[0]
        chosen()

    def _create_pod(self) -> None:
        if self._deleted and self.random.random() < 0.5:  # a name that comes back, with another uid
            self._create_pod_named(*self._deleted.pop(self.random.randrange(len(self._deleted))))
        else:
            self._create_new_pod(self.random.choice(TEAM_NAMESPACES))

    def _create_new_pod(self, namespace: str) -> None:
        self._created += 1
        self._create_pod_named(namespace, f"{self.random.choice(_APPS)}-{self._created}")

    def _create_pod_named(self, namespace: str, name: str) -> None:
        if self.writer.storage.get(NAMESPACES.gvr, ("", namespace)) is not None:  # a user may have deleted it
            self._create(PODS, namespace, name, _pod_body(name), labels=self._labels(name))

    def _schedule_pod(self) -> None:
        waiting = [pod for pod in self._pods() if not pod.body["spec"].get("nodeName")]
        if not waiting:
            self._advance_pod()
            return
        pod = self.random.choice(waiting)
        self._replace(PODS, pod, spec={**pod.body["spec"], "nodeName": self.random.choice(NODE_NAMES)})

    def _advance_pod(self) -> None:
        going = [
            pod
            for pod in self._pods()
            if pod.body["spec"].get("nodeName") and pod.body["status"]["phase"] in _PHASES_AFTER
        ]
        if not going:
            self._delete_pod()
            return
        pod = self.random.choice(going)
        phase = self.random.choice(_PHASES_AFTER[pod.body["status"]["phase"]])
        self._replace(PODS, pod, status=_pod_status(pod, phase))

    def _relabel_pod(self) -> None:
        for pod in self._any_of(PODS):
            tiers = [tier for tier in _TIERS if tier != pod.labels.get("tier")]
            labels = {**pod.labels, "tier": self.random.choice(tiers)}
            self._replace(PODS, pod, metadata={**pod.body["metadata"], "labels": labels})

    def _delete_pod(self) -> None:
        pods = self._pods()
        finished = [pod for pod in pods if pod.body["status"]["phase"] not in ("Pending", "Running")]
        if not pods:
            return
        namespace, name = self.random.choice(finished or pods).key
        self.writer.delete(PODS, namespace, name, preconditions={}, dry_run=False)
        self._deleted = [*self._deleted[-MOST_PODS:], (namespace, name)]

    def _update_config_map(self) -> None:
        for config_map in self._any_of(CONFIGMAPS):
            self._replace(CONFIGMAPS, config_map, data={"revision": str(self.random.randrange(1_000_000))})

    def _renew_lease(self) -> None:
        renewed = self.clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for lease in self._any_of(LEASES):
            self._replace(LEASES, lease, spec={**lease.body["spec"], "renewTime": renewed})

    def _pods(self) -> list[Version]:
        return self.writer.storage.current(PODS.gvr)

    def _any_of(self, kind: Kind) -> list[Version]:
        """One object of the kind, or none where a user has deleted them all."""
        versions = self.writer.storage.current(kind.gvr)
        return [self.random.choice(versions)] if versions else []

    def _labels(self, name: str) -> dict[str, str]:
        return {"app": name.partition("-")[0], "tier": self.random.choice(_TIERS)}

    def _create(
        self, kind: Kind, namespace: str, name: str, content: Body, *, labels: dict[str, str] | None = None
    ) -> None:
        body = {"metadata": {"name": name, "labels": labels}, **content}
        self.writer.create(kind, namespace, body, with_status=True, dry_run=False)

    def _replace(self, kind: Kind, old: Version, **parts: object) -> None:
        self.writer.replace(kind, *old.key, {**old.body, **parts}, subresource="*", dry_run=False)


def _pod_body(name: str) -> Body:
    image = f"registry.example/{name.partition('-')[0]}:1"
    return {"spec": {"containers": [{"name": "main", "image": image}]}, "status": {"phase": "Pending"}}


def _pod_status(pod: Version, phase: str) -> Body:
    states = [
        {"name": container.get("name", ""), "ready": phase == "Running", "restartCount": 0}
        for container in pod.body["spec"]["containers"]
    ]
    return {**pod.body["status"], "phase": phase, "containerStatuses": states}


def _node_body(name: str) -> Body:
    address = f"192.0.2.{NODE_NAMES.index(name) + 1}"
    return {
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": address}],
            "nodeInfo": {"kubeletVersion": "v1.36.3"},
        }
    }


def _service_body() -> Body:
    return {"spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [_PORT]}}


def _endpoint_slice_body() -> Body:
    return {"addressType": "IPv4", "endpoints": [{"addresses": [_ADDRESS["ip"]]}], "ports": [_PORT]}


def _deployment_body() -> Body:
    labels = {"app": "web"}
    container = {"name": "main", "image": "registry.example/web:1"}
    return {
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
        "status": {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
    }
