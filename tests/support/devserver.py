"""The in-memory API server as a test's upstream: quicker to start than a real one, and it does as it is told."""

import httpx

from proxy.devserver.server import DevelopmentServer, ServingTls
from proxy.devserver.storage import Storage
from tests.support.pki import Pki

TIMEOUT_SECONDS = 30.0  # bounds a hang; an answer takes milliseconds


def development_server(
    pki: Pki, *, port: int = 0, storage: Storage | None = None, bookmark_interval_seconds: float = 60.0
) -> DevelopmentServer:
    """A server with a certificate of `pki` that serves clients with one; a context manager.

    With the `storage` and `port` of an earlier server it looks like that one, restarted.
    """
    own = pki.server()
    tls = ServingTls(cert_file=own.cert_file, key_file=own.key_file, client_ca_file=pki.ca_file)
    return DevelopmentServer(tls, port=port, storage=storage, bookmark_interval_seconds=bookmark_interval_seconds)


def client_of(server: DevelopmentServer, pki: Pki, *, name: str = "admin") -> httpx.Client:
    """A client with a certificate of its own; a context manager."""
    context = pki.client_context(pki.client(name))
    return httpx.Client(base_url=server.url, verify=context, timeout=TIMEOUT_SECONDS, trust_env=False)
