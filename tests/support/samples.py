"""One object each of many kinds, and two custom resources: what a cluster holds for tests that go over kinds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.manifests import Manifest, config_map, pod
from tests.support.polling import poll
from tests.support.realkube import RealCluster

CRD_GROUP = "samples.example"
_SERVED_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A resource by its collection path without namespace; a custom resource has no protobuf."""

    root: str
    resource: str
    namespaced: bool = True
    custom: bool = False

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of the collection or of one object."""
        place = f"/namespaces/{namespace}" if namespace else ""
        return f"{self.root}{place}/{self.resource}" + (f"/{name}" if name else "")

    def __str__(self) -> str:
        return f"{self.root.rsplit('/', 2)[-2]}-{self.resource}"


KINDS: Sequence[Kind] = (
    Kind(root="/api/v1", resource="configmaps"),
    Kind(root="/api/v1", resource="events"),
    Kind(root="/api/v1", resource="namespaces", namespaced=False),
    Kind(root="/api/v1", resource="nodes", namespaced=False),
    Kind(root="/api/v1", resource="pods"),
    Kind(root="/api/v1", resource="secrets"),
    Kind(root="/api/v1", resource="services"),
    Kind(root="/apis/apiextensions.k8s.io/v1", resource="customresourcedefinitions", namespaced=False),
    Kind(root="/apis/apiregistration.k8s.io/v1", resource="apiservices", namespaced=False),
    Kind(root="/apis/apps/v1", resource="deployments"),
    Kind(root="/apis/batch/v1", resource="jobs"),
    Kind(root="/apis/coordination.k8s.io/v1", resource="leases"),
    Kind(root="/apis/events.k8s.io/v1", resource="events"),
    Kind(root="/apis/rbac.authorization.k8s.io/v1", resource="clusterroles", namespaced=False),
    Kind(root="/apis/rbac.authorization.k8s.io/v1", resource="roles"),
    Kind(root="/apis/scheduling.k8s.io/v1", resource="priorityclasses", namespaced=False),
    Kind(root=f"/apis/{CRD_GROUP}/v1", resource="widgets", custom=True),
    Kind(root=f"/apis/{CRD_GROUP}/v1", resource="planets", namespaced=False, custom=True),
)


def crd(plural: str, kind: str, *, scope: str = "Namespaced", group: str = CRD_GROUP, **version: Any) -> Manifest:
    """A CustomResourceDefinition of one version `v1` with any `spec`; `version` adds fields to that version."""
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {"color": {"type": "string"}, "size": {"type": "integer"}},
            }
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}
            ],
        },
    }


WIDGETS = crd(
    "widgets",
    "Widget",
    selectableFields=[{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.size"}],
    additionalPrinterColumns=[
        {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
    ],
)
PLANETS = crd("planets", "Planet", scope="Cluster")


def widget(name: str, namespace: str, *, color: str, size: int, labels: dict[str, str] | None = None) -> Manifest:
    """A custom object whose fields can be selected and are printed."""
    return {
        "apiVersion": f"{CRD_GROUP}/v1",
        "kind": "Widget",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {"color": color, "size": size},
    }


def planet(name: str) -> Manifest:
    """A custom object that is in no namespace."""
    return {"apiVersion": f"{CRD_GROUP}/v1", "kind": "Planet", "metadata": {"name": name}, "spec": {"moons": [1, 2]}}


def event(name: str, namespace: str, *, reason: str = "Started") -> Manifest:
    """A core Event about the pod of the same namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": "web"},
        "reason": reason,
        "message": "<b>&amp; more",
        "type": "Normal",
        "source": {"component": "kubelet"},
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }


def secret(name: str, namespace: str) -> Manifest:
    """An Opaque secret."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": "value"}}


def samples(namespace: str) -> list[Manifest]:
    """An object of each kind that has none by itself; cluster-scoped ones are named after the namespace."""
    named = {"name": "web", "namespace": namespace}
    of_pod = pod("web", namespace)["spec"]
    template = {"metadata": {"labels": {"app": "web"}}, "spec": of_pod}
    return [
        pod("web", namespace, labels={"app": "web"}, node="node1"),
        config_map(
            "settings", namespace, labels={"app": "web"}, data={"text": "a<b>&c \u00fc\u2028\U0001f600", "k": "v"}
        ),
        secret("credentials", namespace),
        event("web.1", namespace),
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{namespace}", "labels": {"zone": "a"}}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named,
            "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": named,
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        },
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": named,
            "spec": {"template": {"spec": {**of_pod, "restartPolicy": "Never"}}},
        },
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": named, "spec": {"holderIdentity": "me"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": named,
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        },
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": f"class-{namespace}"},
            "value": 7,
        },
        widget("web", namespace, color="red", size=3),
        planet(f"planet-{namespace}"),
    ]


def install(cluster: RealCluster, definition: Manifest) -> None:
    """Create a custom resource and return when its objects can be created."""
    cluster.create(definition)
    spec = definition["spec"]
    path = f"/apis/{spec['group']}/v1/{spec['names']['plural']}"
    poll(
        lambda: cluster.admin.get(path).is_success,
        timeout_seconds=_SERVED_SECONDS,
        failure=lambda: f"{path} is not served: {cluster.admin.get(path).text}",
    )


def uninstall(cluster: RealCluster, definition: Manifest) -> None:
    """Delete a custom resource with its objects and return when it is gone."""
    spec = definition["spec"]
    path = f"/apis/{spec['group']}/v1/{spec['names']['plural']}"
    cluster.delete(definition)
    poll(
        lambda: cluster.admin.get(path).status_code == 404,
        timeout_seconds=_SERVED_SECONDS,
        failure=lambda: f"{path} is still served",
    )
