"""What the oracle's cluster holds: two namespaces with an object of each kind and a few more, and one that is empty."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.manifests import Manifest, config_map, pod
from tests.support.realkube import RealCluster
from tests.support.samples import CRD_GROUP, PLANETS, WIDGETS, install, samples, widget

NAMESPACES = ("oracle-a", "oracle-b")
EMPTY_NAMESPACE = "oracle-c"
EVERY_NAMESPACE = (*NAMESPACES, EMPTY_NAMESPACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource as its paths have it. `names` are of its objects, as far as they matter."""

    root: str
    plural: str
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    names: tuple[str, ...] = ("web",)
    manifests: dict[str, Manifest] = field(default_factory=dict, compare=False)

    @property
    def group(self) -> str:
        """The API group, "" for the core."""
        return self.root.split("/")[2] if self.root.startswith("/apis/") else ""

    @property
    def version(self) -> str:
        """The API version."""
        return self.root.rsplit("/", 1)[1]

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of a collection, an object or a part of one."""
        place = f"/namespaces/{namespace}" if namespace else ""
        return "/".join([f"{self.root}{place}/{self.plural}", *filter(None, (name, subresource))])


def _core(plural: str, *subresources: str, names: tuple[str, ...] = ("web",), namespaced: bool = True) -> Resource:
    return Resource(root="/api/v1", plural=plural, namespaced=namespaced, subresources=subresources, names=names)


def _of(root: str, plural: str, *subresources: str, names: tuple[str, ...] = ("web",), **more: bool) -> Resource:
    return Resource(root=f"/apis/{root}", plural=plural, subresources=subresources, names=names, **more)


_CLUSTER = {"namespaced": False}
_CLASSES = ("class-oracle-a", "class-oracle-b", "system-node-critical")

RESOURCES: tuple[Resource, ...] = (
    _core("configmaps", names=("settings", "more-1", "more-2", "kube-root-ca.crt")),
    _core("pods", "log", "status", "exec", "attach", "portforward", "proxy", "eviction", "binding", "resize",
          "ephemeralcontainers", names=("web", "lone")),
    _core("secrets", names=("credentials",)),
    _core("services", "proxy", "status"),
    _core("events", names=("web.1",)),
    _core("serviceaccounts", "token", names=("default", "robot")),
    _core("endpoints"),
    _core("replicationcontrollers", "scale", "status"),
    _core("resourcequotas", "status"),
    _core("bindings"),
    _core("namespaces", "status", "finalize", names=("oracle-a", "oracle-b", "oracle-c", "default"), **_CLUSTER),
    _core("nodes", "proxy", "status", names=("node-oracle-a", "node-oracle-b"), **_CLUSTER),
    _core("persistentvolumes", "status", **_CLUSTER),
    _of("apps/v1", "deployments", "scale", "status"),
    _of("apps/v1", "replicasets", "scale", "status"),
    _of("apps/v1", "daemonsets", "status"),
    _of("batch/v1", "jobs", "status"),
    _of("batch/v1", "cronjobs", "status"),
    _of("autoscaling/v2", "horizontalpodautoscalers", "status"),
    _of("autoscaling/v1", "horizontalpodautoscalers", "status"),
    _of("policy/v1", "poddisruptionbudgets", "status"),
    _of("networking.k8s.io/v1", "ingresses", "status"),
    _of("events.k8s.io/v1", "events", names=("web.1",)),
    _of("coordination.k8s.io/v1", "leases"),
    _of("discovery.k8s.io/v1", "endpointslices"),
    _of("rbac.authorization.k8s.io/v1", "roles"),
    _of("rbac.authorization.k8s.io/v1", "rolebindings"),
    _of("rbac.authorization.k8s.io/v1", "clusterroles", names=("view", "cluster-admin", "oracle-r"), **_CLUSTER),
    _of("rbac.authorization.k8s.io/v1", "clusterrolebindings", names=("cluster-admin",), **_CLUSTER),
    _of("scheduling.k8s.io/v1", "priorityclasses", names=_CLASSES, **_CLUSTER),
    _of("storage.k8s.io/v1", "storageclasses", **_CLUSTER),
    _of("flowcontrol.apiserver.k8s.io/v1", "flowschemas", "status", names=("catch-all",), **_CLUSTER),
    _of("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", **_CLUSTER),
    _of("certificates.k8s.io/v1", "certificatesigningrequests", "approval", "status", **_CLUSTER),
    _of("apiextensions.k8s.io/v1", "customresourcedefinitions", "status", names=("widgets.samples.example",),
        **_CLUSTER),
    _of("apiregistration.k8s.io/v1", "apiservices", "status", names=("v1.apps",), **_CLUSTER),
    _of(f"{CRD_GROUP}/v1", "widgets", names=("web", "blue")),
    _of(f"{CRD_GROUP}/v1", "planets", names=("planet-oracle-a", "planet-oracle-b"), **_CLUSTER),
)  # fmt: skip


def fill(cluster: RealCluster) -> None:
    """Creates it all, and gives resources a manifest of each object that has one."""
    for definition in (WIDGETS, PLANETS):
        install(cluster, definition)
    for namespace in EVERY_NAMESPACE:
        cluster.create_namespace(namespace, labels={"team": namespace})
    by_type = {(each.group, each.plural): each for each in RESOURCES}
    for namespace in NAMESPACES:
        for manifest in (*samples(namespace), *_more(namespace)):
            cluster.create(manifest)
            group = manifest["apiVersion"].rpartition("/")[0]
            plural = cluster.path(manifest).rsplit("/", 2)[1]
            by_type[group, plural].manifests[f"{namespace}/{manifest['metadata']['name']}"] = manifest


def _more(namespace: str) -> list[Manifest]:
    metadata = {"name": "robot", "namespace": namespace}
    return [
        config_map("more-1", namespace, labels={"app": "web", "tier": "one"}, data={"n": "1"}),
        config_map("more-2", namespace, labels={"tier": "two"}, data={"n": "2"}),
        pod("lone", namespace, labels={"app": "lone"}),
        widget("blue", namespace, color="blue", size=1, labels={"app": "web"}),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
    ]
