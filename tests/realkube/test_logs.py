"""A log that is followed, from a kubelet through the API server and the proxy: each line when it is written.

The kubelet is a small TLS server that a Node object points to. It writes a line when the test tells it to.
"""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import pytest

from tests.support.grants import grant, rule
from tests.support.identities import Identity
from tests.support.manifests import Manifest, pod
from tests.support.pki import Pki
from tests.support.ports import LOOPBACK
from tests.support.proxy_process import ProxyProcess
from tests.support.raw_client import RawClient, request_bytes
from tests.support.realkube import RealCluster

SPACE = "logs"
NODE = "log-node"
LOG = f"/api/v1/namespaces/{SPACE}/pods/web/log"


class Kubelet:
    """Serves one log to each follower; `lines` are what is still to be written, None ends the log."""

    def __init__(self, pki: Pki) -> None:
        self.lines: queue.Queue[bytes | None] = queue.Queue()
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own = pki.server()
        context.load_cert_chain(own.cert_file, own.key_file)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.lines.put(None)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        lines = self.lines

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                while (line := lines.get()) is not None:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        return Handler


@pytest.fixture
def kubelet(real_cluster: RealCluster) -> Iterator[Kubelet]:
    """The kubelet of the only node, on which a pod runs."""
    node: Manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    with Kubelet(real_cluster.pki) as kubelet:
        real_cluster.create_namespace(SPACE)
        real_cluster.create(node)
        address = {"type": "InternalIP", "address": LOOPBACK}
        status = {"addresses": [address], "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port}}}
        real_cluster.patch(node, {"status": status}, subresource="status")
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
        kubelet.lines.put(b"first\n")
        status, headers = client.read_head()
        assert (status, dict(headers)["content-type"]) == (200, "text/plain")
        assert client.read_chunk() == b"first\n"
        for line in (b"second\n", b"third\n"):
            kubelet.lines.put(line)
            assert client.read_chunk() == line
        kubelet.lines.put(None)
        assert client.read_chunk() == b""


def test_a_followed_log_ends_with_the_permission(
    proxy: ProxyProcess, real_cluster: RealCluster, kubelet: Kubelet
) -> None:
    """A log is long-running like a watch: what is written afterwards is not shown."""
    with connect(proxy, real_cluster, "alice") as client:
        client.send(request_bytes(f"{LOG}?follow=true"))
        kubelet.lines.put(b"before\n")
        client.read_head()
        assert client.read_chunk() == b"before\n"
        proxy.write_policies({"logs.yaml": grant("bob", rule("pods"), namespace=SPACE)})
        kubelet.lines.put(b"after\n")
        assert b"".join(iter(client.read_chunk, b"")) == b""
