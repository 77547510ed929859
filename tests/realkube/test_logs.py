"""A log that is followed, from a kubelet through the API server and the proxy: each line when it is written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.grants import grant, rule
from tests.support.identities import Identity
from tests.support.kubelet import Kubelet
from tests.support.manifests import pod
from tests.support.proxy_process import ProxyProcess
from tests.support.raw_client import RawClient, request_bytes
from tests.support.realkube import RealCluster

SPACE = "logs"
NODE = "log-node"
LOG = f"/api/v1/namespaces/{SPACE}/pods/web/log"


@pytest.fixture
def kubelet(real_cluster: RealCluster) -> Iterator[Kubelet]:
    """The kubelet of the only node, on which a pod runs."""
    with Kubelet(real_cluster.pki) as kubelet:
        node, status = kubelet.node(NODE)
        real_cluster.create_namespace(SPACE)
        real_cluster.create(node)
        real_cluster.patch(node, status, subresource="status")
        real_cluster.create(pod("web", SPACE, node=NODE))
        yield kubelet
        real_cluster.delete(pod("web", SPACE))
        real_cluster.delete(node)
        real_cluster.delete_namespace(SPACE)


@pytest.fixture
def proxy(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """alice may follow logs; bob may do anything with pods, of which logs are no part."""
    policies = {
        "logs.yaml": [
            *grant("alice", rule("pods/log", verbs=["get"]), namespace=SPACE),
            *grant("bob", rule("pods", verbs=["*"]), namespace=SPACE),
        ]
    }
    flags = ["--upstream-identity", "proxy"]
    with ProxyProcess(real_cluster, tmp_path_factory.mktemp("logs"), policies, flags=flags) as process:
        yield process


def connect(proxy: ProxyProcess, cluster: RealCluster, user: str) -> RawClient:
    certificate = cluster.client_certificate(Identity(name=user).name)
    return RawClient(proxy.port, cluster.pki.client_context(certificate))


def test_a_line_of_a_followed_log_comes_when_it_is_written(
    proxy: ProxyProcess, real_cluster: RealCluster, kubelet: Kubelet
) -> None:
    """One by one: nothing is gathered on the way. The end of the log is the clean end of the answer."""
    with connect(proxy, real_cluster, "bob") as client:
        assert client.request(LOG).status == 403
    with connect(proxy, real_cluster, "alice") as client:
        client.send(request_bytes(f"{LOG}?follow=true"))
        kubelet.write("first")
        status, headers = client.read_head()
        assert (status, dict(headers)["content-type"]) == (200, "text/plain")
        assert client.read_chunk() == b"first\n"
        for line in ("second", "third"):
            kubelet.write(line)
            assert client.read_chunk() == f"{line}\n".encode()
        kubelet.end()
        assert client.read_chunk() == b""


def test_a_followed_log_ends_with_the_permission(
    proxy: ProxyProcess, real_cluster: RealCluster, kubelet: Kubelet
) -> None:
    """A log is long-running like a watch: what is written afterwards is not shown."""
    with connect(proxy, real_cluster, "alice") as client:
        client.send(request_bytes(f"{LOG}?follow=true"))
        kubelet.write("before")
        client.read_head()
        assert client.read_chunk() == b"before\n"
        proxy.write_policies({"logs.yaml": grant("bob", rule("pods"), namespace=SPACE)})
        kubelet.write("after")
        assert b"".join(iter(client.read_chunk, b"")) == b""
