"""The stage of a benchmark: a real etcd and kube-apiserver, the proxy in front, and the CPU each has used.

Needs the binaries that `make realkube` builds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.support.accounting import child_named, cpu_seconds
from benchmarks.support.writer import BusyObject, Writer
from tests.support.binaries import BinariesMissingError, find_binaries
from tests.support.identities import ADMIN, Identity
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster

READ = ("get", "list", "watch")
RBAC = "rbac.authorization.k8s.io"
WATCHKEEPER = "watchkeeper.io"

Policies = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """CPU seconds of each process with its children. A difference of two is what happened in between."""

    proxy: float
    kube_apiserver: float
    etcd: float

    def __sub__(self, earlier: Cpu) -> Cpu:
        return Cpu(
            proxy=self.proxy - earlier.proxy,
            kube_apiserver=self.kube_apiserver - earlier.kube_apiserver,
            etcd=self.etcd - earlier.etcd,
        )


class Stage:
    """The processes under measurement."""

    def __init__(self, cluster: RealCluster, proxy: ProxyProcess) -> None:
        self.cluster = cluster
        self.proxy = proxy

    @property
    def proxy_pid(self) -> int:
        """The proxy's process."""
        return self.proxy.pid

    @property
    def kube_apiserver_pid(self) -> int:
        """The API server's process."""
        return child_named("kube-apiserver")

    def cpu(self) -> Cpu:
        """CPU used so far."""
        return Cpu(
            proxy=cpu_seconds(self.proxy_pid),
            kube_apiserver=cpu_seconds(self.kube_apiserver_pid),
            etcd=cpu_seconds(child_named("etcd")),
        )

    def create(self, manifest: dict[str, Any]) -> BusyObject:
        """A new object with a mark, ready for updates."""
        return BusyObject(self.cluster.path(manifest), self.cluster.create(manifest))

    @contextmanager
    def writer(self, objects: Sequence[BusyObject]) -> Iterator[Writer]:
        """Updates as the admin, directly upstream."""
        host, _, port = self.cluster.url.removeprefix("https://").partition(":")
        certificate = self.cluster.client_certificate(ADMIN.name, ADMIN.groups)
        writer = Writer(host, int(port), self.cluster.pki.client_context(certificate), objects)
        try:
            yield writer
        finally:
            writer.close()


@contextmanager
def stage(
    policies: Policies,
    *,
    tokens: Sequence[Identity] = (),
    flags: Sequence[str] = (),
    command: Sequence[str] = (),
) -> Iterator[Stage]:
    """A new cluster and proxy. `tokens` are known to the proxy, `flags` are its own, `command` starts it (none: as
    users do)."""
    try:
        binaries = find_binaries()
    except BinariesMissingError as missing:
        raise SystemExit(str(missing)) from missing
    with tempfile.TemporaryDirectory(prefix="watchkeeper-benchmark-") as directory:
        path = Path(directory)
        with (
            RealCluster(path / "cluster", binaries) as cluster,
            ProxyProcess(cluster, path / "proxy", policies, tokens=tokens, flags=flags, command=command) as proxy,
        ):
            yield Stage(cluster, proxy)


def cluster_role(name: str, resource: str, *, group: str = RBAC, **selectors: Any) -> dict[str, Any]:
    """A ClusterRole to read one core resource; `selectors` are those of Watchkeeper's own rules."""
    rule = {"apiGroups": [""], "resources": [resource], "verbs": list(READ), **selectors}
    return {**_head("ClusterRole", name, group), "rules": [rule]}


def cluster_role_binding(
    name: str, role: str, subject: tuple[str, str], *, group: str = RBAC, namespaces: Sequence[str] | None = None
) -> dict[str, Any]:
    """A ClusterRoleBinding of one subject (kind, name); with `namespaces` it is Watchkeeper's own."""
    own: dict[str, Any] = {} if namespaces is None else {"namespaces": list(namespaces)}
    return {
        **_head("ClusterRoleBinding", name, group if namespaces is None else WATCHKEEPER),
        **own,
        "subjects": [{"kind": subject[0], "apiGroup": RBAC, "name": subject[1]}],
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
    }


def _head(kind: str, name: str, group: str) -> dict[str, Any]:
    version = "v1alpha1" if group == WATCHKEEPER else "v1"
    return {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": {"name": name}}
