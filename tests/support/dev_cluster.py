"""A cluster for tests of the proxy's own wire: the in-memory API server, with what a ProxyProcess asks of a cluster."""

from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.support.devserver import TIMEOUT_SECONDS, development_server
from tests.support.identities import Identity, write_kubeconfig
from tests.support.pki import Certificate, Pki
from tests.support.realkube import PROXY


class DevCluster:
    """One server and its certificates in `directory`; it authorizes everybody with a certificate for everything."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pki = Pki(directory / "pki")
        self.ca_file = self.pki.ca_file
        self.proxy_identity = PROXY
        self.server = development_server(self.pki)
        self._certificates: dict[Identity, Certificate] = {}
        self._kubeconfigs = 0

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.server.__exit__(exc_type, exc, traceback)

    def certificate(self, identity: Identity) -> Certificate:
        """The client certificate of an identity, made once."""
        if identity not in self._certificates:
            self._certificates[identity] = self.pki.client(identity.name, identity.groups)
        return self._certificates[identity]

    def client(self, identity: Identity | None) -> httpx.Client:
        """A client the caller closes; None is anonymous."""
        certificate, headers = None, {}
        if identity is not None and identity.token is not None:
            headers["authorization"] = f"Bearer {identity.token}"
        elif identity is not None:
            certificate = self.certificate(identity)
        return httpx.Client(
            base_url=self.server.url,
            verify=self.pki.client_context(certificate),
            headers=headers,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )

    def kubeconfig(self, identity: Identity, *, server: str | None = None, namespace: str = "default") -> Path:
        """A new kubeconfig; `server` None is this one's."""
        self._kubeconfigs += 1
        return write_kubeconfig(
            self.directory / f"{self._kubeconfigs}.kubeconfig",
            server=server or self.server.url,
            ca_file=self.ca_file,
            credential=self.certificate(identity),
            namespace=namespace,
        )
