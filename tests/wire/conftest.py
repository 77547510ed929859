"""One proxy in front of the in-memory API server, for all tests of the wire."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.support.dev_cluster import DevCluster
from tests.support.grants import EVERYTHING, grant, rule
from tests.support.identities import Identity
from tests.support.manifests import config_map, namespace, pod
from tests.support.proxy_process import ProxyProcess
from tests.support.raw_client import RawClient

ROOT = Identity(name="root")
ALICE = Identity(name="alice")
TOKENS = (Identity(name="root", token="root-token"), Identity(name="alice", token="alice-token"))


@dataclass(frozen=True, slots=True)
class Wire:
    """The proxy and what stands behind it. `root` may do everything, `alice` read pods and configmaps in `team-a`."""

    cluster: DevCluster
    proxy: ProxyProcess
    contexts: dict[Identity | None, ssl.SSLContext] = field(default_factory=dict)

    def connect(self, identity: Identity | None = ROOT, *, receive_buffer_bytes: int | None = None) -> RawClient:
        """A connection with the client certificate of `identity`; None is a client without."""
        if identity not in self.contexts:
            certificate = None if identity is None else self.cluster.certificate(identity)
            self.contexts[identity] = self.cluster.pki.client_context(certificate)
        return RawClient(self.proxy.port, self.contexts[identity], receive_buffer_bytes=receive_buffer_bytes)


def policies() -> dict[str, list[dict[str, object]]]:
    """Who may do what, by file."""
    return {"wire.yaml": [*grant("root", *EVERYTHING), *grant("alice", rule("pods", "configmaps"), namespace="team-a")]}


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A proxy with a pod in each of two namespaces."""
    directory = tmp_path_factory.mktemp("wire")
    with DevCluster(directory) as cluster:
        for name in ("team-a", "team-b"):
            cluster.server.create(namespace(name))
            cluster.server.create(pod("web", name))
            cluster.server.create(config_map("settings", name, data={"secret-of": name}))
        with ProxyProcess(cluster, directory / "proxy", policies(), tokens=TOKENS) as proxy:
            yield Wire(cluster, proxy)
