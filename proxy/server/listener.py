"""The TLS listener, and the server around it: how connections are accepted, and how they end when the process does.

Client certificates are asked for and optional; one that does not verify fails the handshake. They are verified again
by authentication, because a session that is resumed could outlive its CA: so there are no tickets, and with client
certificates only TLS 1.3, where resumption needs them.

Source: uvicorn/server.py (0.54)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from proxy.server.protocol import Connection

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 90
"""Idle time of a connection, as kube-apiserver's."""

DRAIN_SECONDS = 10
"""Backstop of a shutdown, after streams were told to end."""

ACCEPT_BACKLOG = 2048


class ServingError(Exception):
    """The listener cannot start: one line that says why."""


class ServingTls:
    """The TLS of the listener, which can change under it: connections made from then on use the new one.

    `read_client_ca` gives the PEM bundle that client certificates are checked against, None for none.
    """

    def __init__(self, certificate: Path, key: Path, read_client_ca: Callable[[], bytes | None]) -> None:
        self._certificate = certificate
        self._key = key
        self._read_client_ca = read_client_ca
        self._current = serving_context(certificate, key, read_client_ca())
        self.context = serving_context(certificate, key, read_client_ca())
        """The context to listen with; every handshake goes on with the newest."""
        self.context.sni_callback = self._use_newest

    def reload(self) -> None:
        """Reads the files again. Raises ServingError, and keeps what there is, when they cannot be used."""
        self._current = serving_context(self._certificate, self._key, self._read_client_ca())

    def _use_newest(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current


def serving_context(certificate: Path, key: Path, client_ca: bytes | None) -> ssl.SSLContext:
    """The TLS context. `client_ca` is PEM. Raises ServingError when a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ServingError(f"cannot use the serving certificate `{certificate}` with `{key}`: {error}") from error
    if client_ca is not None:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(cadata=client_ca.decode("ascii", "replace"))
        except ssl.SSLError as error:
            raise ServingError(f"cannot use --client-ca-file: {error}") from error
    return context


def bind(address: str, port: int, *, shared: bool = False) -> socket.socket:
    """A bound socket; with `shared` other processes of this user may bind the same, and the kernel spreads connections
    over those that listen. Raises ServingError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind((address, port))
    except OSError as error:
        listening.close()
        raise ServingError(f"cannot listen on {address}:{port}: {error.strerror}") from error
    listening.setblocking(False)
    return listening


def _printed(address: tuple[str, int]) -> tuple[str, int]:
    host, port = address[:2]
    return (f"[{host}]" if ":" in host else host), port


class ProxyServer(uvicorn.Server):
    """uvicorn's server that ends open streams first when it is told to stop, and exits with status 0 then."""

    def __init__(self, app: Any, context: ssl.SSLContext, *, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                loop="none",  # the caller runs the loop
                ws="none",
                lifespan="off",
                interface="asgi3",
                ssl_context_factory=lambda config, default: context,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=DRAIN_SECONDS,
                backlog=ACCEPT_BACKLOG,
                proxy_headers=False,
                server_header=False,
                access_log=False,
                log_config=None,
            )
        )
        self._drain = drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for each in server.sockets:
                log.info("serving on https://%s:%d", *_printed(each.getsockname()))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn's, for which only a second SIGINT is in a hurry."""
        self.force_exit |= self.should_exit
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._drain()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM stop the server; a second one does not wait for requests. Nothing is raised afterwards."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for each in signals:
            loop.add_signal_handler(each, self.handle_exit, each, None)
        try:
            yield
        finally:
            for each in signals:
                loop.remove_signal_handler(each)
