"""A kubelet that knows nothing but to print logs: each container's log is the lines a test writes, followed or not."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.support.manifests import Manifest
from tests.support.pki import Pki
from tests.support.ports import LOOPBACK

_CONTAINER_LOGS = "/containerLogs/"
_WAIT_SECONDS = 0.2  # between two looks at whether the log has ended


class Kubelet:
    """One node's; used as a context manager. The API server connects to it where `node` says."""

    def __init__(self, pki: Pki) -> None:
        certificate = pki.server()
        self._lines: list[bytes] = []
        self._ended = False
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert_file, certificate.key_file)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, name="kubelet", daemon=True)

    def node(self, name: str) -> tuple[Manifest, Manifest]:
        """The Node this is the kubelet of, and the patch of its status that says where it listens."""
        status = {
            "addresses": [{"type": "InternalIP", "address": LOOPBACK}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._server.server_address[1]}},
        }
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}, {"status": status}

    def write(self, line: str) -> None:
        """One line of every container's log."""
        with self._changed:
            self._lines.append(f"{line}\n".encode())
            self._changed.notify_all()

    def end(self) -> None:
        """The containers have ended, and with them their logs."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next(self, position: int, *, follow: bool) -> bytes | None:
        """The line at this position, once it is there; None at the end."""
        with self._changed:
            while position >= len(self._lines):
                if self._ended or not follow:
                    return None
                self._changed.wait(_WAIT_SECONDS)
            return self._lines[position]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        kubelet = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                target = urlsplit(self.path)
                assert target.path.startswith(_CONTAINER_LOGS), self.path
                follow = parse_qs(target.query).get("follow") == ["true"]
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                position = 0
                while (line := kubelet._next(position, follow=follow)) is not None:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                    position += 1
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: what is served is in the test."""

        return Handler
