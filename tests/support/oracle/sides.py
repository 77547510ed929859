"""The two servers that are asked the same: connections that send exact bytes, kept for each thread and caller."""

from __future__ import annotations

import ssl
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.support.identities import Identity
from tests.support.oracle.asked import Asked
from tests.support.pki import Pki
from tests.support.raw_client import RawClient, RawResponse
from tests.support.realkube import RealCluster

DROPPED = 0
"""The status of a connection that the server ended without an answer: a handler of kube-apiserver has panicked."""


class Certificates:
    """The TLS contexts of callers: a certificate for those without a token."""

    def __init__(self, cluster: RealCluster) -> None:
        self._cluster = cluster
        self._pki: Pki = cluster.pki
        self._contexts: dict[Identity | None, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def context(self, caller: Identity | None) -> ssl.SSLContext:
        """How the caller connects."""
        with self._lock:
            if caller not in self._contexts:
                certificate = None
                if caller is not None and caller.token is None:
                    certificate = self._cluster.client_certificate(caller.name, caller.groups)
                self._contexts[caller] = self._pki.client_context(certificate)
            return self._contexts[caller]


class Side:
    """One server; used as a context manager. May be asked by many threads at once."""

    def __init__(self, url: str, certificates: Certificates) -> None:
        self.url = url
        self._port = int(url.rpartition(":")[2])
        self._certificates = certificates
        self._of_thread = threading.local()
        self._opened: list[RawClient] = []

    def ask(self, asked: Asked) -> RawResponse:
        """The answer. A kept connection that the server has closed meanwhile is replaced once."""
        kept: dict[Identity | None, RawClient] = self._of_thread.__dict__.setdefault("kept", {})
        client = kept.pop(asked.caller, None)
        response = None
        if client is not None:
            with suppress(EOFError, ConnectionError):
                response = self._exchange(client, asked)
        if response is None:
            client = RawClient(self._port, self._certificates.context(asked.caller))
            self._opened.append(client)
            try:
                response = self._exchange(client, asked)
            except EOFError:
                return RawResponse(status=DROPPED, headers=[("connection", "close")], body=b"")
        assert client is not None
        if response.closes:
            client.close()
        else:
            kept[asked.caller] = client
        return response

    def _exchange(self, client: RawClient, asked: Asked) -> RawResponse:
        client.send(asked.as_bytes)
        return client.read_response(method=asked.method, to_the_end=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for client in self._opened:
            client.close()
