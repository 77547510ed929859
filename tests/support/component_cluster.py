"""A cluster whose components speak to the proxy alone, each under the policy in `policies/` that is for it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.binaries import Binaries
from tests.support.components import Component, hollow_kubelet, kube_controller_manager, kube_scheduler
from tests.support.identities import ADMIN, Identity
from tests.support.manifests import Manifest
from tests.support.objects import Objects, RefusedError
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import IMPERSONATION_RULES, PROXY_RULES, RealCluster

POLICIES = Path(__file__).parents[2] / "policies"
CONTROLLERS = Identity(name="system:kube-controller-manager")
SCHEDULER = Identity(name="system:kube-scheduler")
NODES = {name: Identity(name=f"system:node:{name}", groups=("system:nodes",)) for name in ("hollow-1", "hollow-2")}
COMPONENTS = {each.name for each in (CONTROLLERS, SCHEDULER, *NODES.values())}

_FOLDERS = ("cluster-admin", "discovery", "kube-controller-manager", "kube-scheduler", "kubelet", "nodes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The cluster, the proxy, and what runs; `objects` are an operator's, through the proxy."""

    cluster: RealCluster
    proxy: ProxyProcess
    objects: Objects
    scheduler: Component
    controllers: Component
    audit_log: Path

    def asked(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(user, audit Event) of what the components have asked of the proxy so far."""
        *whole_lines, _being_written = self.audit_log.read_text().split("\n")
        for event in map(json.loads, whole_lines):
            if (name := event["user"].get("username")) in COMPONENTS:
                yield name, event

    def exists(self, manifest: Manifest) -> bool:
        """As the operator sees it."""
        try:
            self.objects.get(manifest)
        except RefusedError as error:
            assert error.code == 404, error
            return False
        return True

    def pods(self, identity: Identity) -> list[Manifest]:
        """All pods that this user sees."""
        with self.proxy.client(identity) as client:
            items: list[Manifest] = client.get("/api/v1/pods").raise_for_status().json()["items"]
        return items


@contextmanager
def component_cluster(directory: Path, binaries: Binaries) -> Iterator[Stage]:
    """The API server holds nodes to their own, as it should behind these policies."""
    flags = ["--authorization-mode=Node", "--enable-admission-plugins=NodeRestriction"]
    with ExitStack() as stack:
        start = stack.enter_context
        cluster = start(RealCluster(directory / "cluster", binaries, extra_flags=flags))
        cluster.grant(cluster.proxy_identity, [*PROXY_RULES, *IMPERSONATION_RULES])
        _bind_all_controller_roles(cluster)
        audit_log = directory / "proxy" / "audit.log"
        proxy_flags = ["--audit-log-path", str(audit_log)]
        proxy = start(ProxyProcess(cluster, directory / "proxy", _policies(), flags=proxy_flags))
        controllers = start(kube_controller_manager(cluster, proxy.kubeconfig(CONTROLLERS), directory / "controllers"))
        scheduler = start(kube_scheduler(proxy.kubeconfig(SCHEDULER), directory / "scheduler"))
        for name, identity in NODES.items():
            start(hollow_kubelet(name, proxy.kubeconfig(identity), directory / name))
        client = start(proxy.client(ADMIN))
        yield Stage(
            cluster=cluster,
            proxy=proxy,
            objects=Objects(client),
            scheduler=scheduler,
            controllers=controllers,
            audit_log=audit_log,
        )


def _policies() -> dict[str, list[Manifest]]:
    return {
        f"{path.parent.name}-{path.name}": list(yaml.safe_load_all(path.read_text()))
        for folder in _FOLDERS
        for path in sorted((POLICIES / folder).glob("*.yaml"))
    }


def _bind_all_controller_roles(cluster: RealCluster) -> None:
    """One user for all controllers has to be allowed upstream what each of them may."""
    group = "rbac.authorization.k8s.io"
    roles = cluster.admin.get(f"/apis/{group}/v1/clusterroles").raise_for_status().json()["items"]
    for name in (role["metadata"]["name"] for role in roles):
        if name.startswith("system:controller:"):
            cluster.apply(
                {
                    "apiVersion": f"{group}/v1",
                    "kind": "ClusterRoleBinding",
                    "metadata": {"name": f"{name}:one-user"},
                    "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
                    "subjects": [{"apiGroup": group, "kind": "User", "name": CONTROLLERS.name}],
                }
            )
