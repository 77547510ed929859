"""DevelopmentServer: the API server with TLS on loopback, on a loop in a thread of its own.

It knows no authorization: every client with a certificate of its CA may do everything.

The storage belongs to that loop. Every method may be called from any other thread and returns when its work is done:
a write has its resourceVersion, and open watches are about to be sent it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

import uvicorn

from proxy.api.status import StatusError
from proxy.devserver.app import DevelopmentApp, ReceivedRequest
from proxy.devserver.handlers import Api
from proxy.devserver.kinds import KIND_NAMED, Body, Kind
from proxy.devserver.storage import Storage
from proxy.devserver.traffic import Traffic

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
HISTORY_LIMIT = 10_000  # changes; at 20 a second more than eight minutes of traffic
BOOKMARK_INTERVAL_SECONDS = 60.0  # as upstream
_KEEP_ALIVE_SECONDS = 120
_DRAIN_SECONDS = 2.0  # for requests that are being answered, which takes milliseconds
_CALL_SECONDS = 10.0  # bounds a call into the loop, which takes microseconds
_START_SECONDS = 10.0
_BACKLOG = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingTls:
    """Files of PEM: the server's own certificate and key, and the CA every client certificate must come from."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path


class DevelopmentServer:
    """An API server, used as a context manager; clients connect to `url` with a client certificate.

    `port` 0 is a free one. `storage` may be that of an earlier server, which then looks restarted.
    """

    def __init__(
        self,
        tls: ServingTls,
        *,
        port: int = 0,
        storage: Storage | None = None,
        bookmark_interval_seconds: float = BOOKMARK_INTERVAL_SECONDS,
        seed: int = 0,
    ) -> None:
        self.storage = storage or Storage(history_limit=HISTORY_LIMIT)
        self._random = Random(seed)  # noqa: S311 (uids and traffic of a development server, nothing secret)
        self._api = Api.over(self.storage, _now, self._random)
        self._app = DevelopmentApp(self._api, self._random, bookmark_interval_seconds)
        self._traffic = Traffic(self._api.writer, self._random, _now)
        self._traffic_rate = 0.0
        self._next_step: asyncio.TimerHandle | None = None
        config = _uvicorn_config(self._app, tls)  # before the port is bound: files that cannot be read are found here
        self._server = _Server(config, self._app)
        self._socket = _listening_socket(port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"https://{LOOPBACK}:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="devserver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._server.listening.wait(_START_SECONDS):
            raise TimeoutError("the development API server did not start")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join()

    def create(self, body: Body) -> Body:
        """Creates the object, status included, and returns it. Raises StatusError, as the methods below do."""
        kind, namespace = _kind_of(body), body["metadata"].get("namespace", "")
        return self.call(lambda: self._api.writer.create(kind, namespace, body, with_status=True, dry_run=False).body)

    def replace(self, body: Body) -> Body:
        """Stores a new version of the object, status included; a resourceVersion in it must be the current one."""
        kind, metadata = _kind_of(body), body["metadata"]
        where = (kind, metadata.get("namespace", ""), metadata["name"])
        return self.call(lambda: self._api.writer.replace(*where, body, subresource="*", dry_run=False).body)

    def delete(self, body: Body) -> None:
        """Deletes the object that the body names."""
        kind, metadata = _kind_of(body), body["metadata"]
        where = (kind, metadata.get("namespace", ""), metadata["name"])
        self.call(lambda: self._api.writer.delete(*where, preconditions={}, dry_run=False))

    def objects(self, kind: Kind) -> list[Body]:
        """All objects of a kind, in upstream's order."""
        return self.call(lambda: [version.body for version in self.storage.current(kind.gvr)])

    @property
    def rv(self) -> int:
        """The current resourceVersion."""
        return self.call(lambda: self.storage.rv)

    @property
    def open_watches(self) -> int:
        """How many watches clients hold open."""
        return self.call(lambda: self._app.open_watches)

    @property
    def requests(self) -> list[ReceivedRequest]:
        """What arrived so far, oldest first."""
        return self.call(lambda: [*self._app.requests])

    def compact(self) -> None:
        """Forgets the whole history: a watch from, or an exact list at, any earlier resourceVersion is Expired."""
        self.call(lambda: self.storage.compact(self.storage.rv))

    def end_watches(self) -> None:
        """Ends every open watch, cleanly."""
        self.call(self._app.end_watches)

    def refuse_with(self, error: StatusError | None) -> None:
        """Answers every request with this error from now on; None serves again."""

        def refuse() -> None:
            self._app.refusal = error

        self.call(refuse)

    def seed_traffic(self) -> None:
        """Creates the objects of the demo's cluster."""
        self.call(self._traffic.seed)

    def set_traffic_rate(self, steps_per_second: float) -> None:
        """Live traffic from now on, at random moments; 0 stops it."""

        def set_rate() -> None:
            self._traffic_rate = steps_per_second
            if self._next_step is not None:
                self._next_step.cancel()
            self._schedule_step()

        self.call(set_rate)

    def call(self, function: Callable[[], T]) -> T:
        """Runs `function` on the server's loop, where the storage may be used, and returns its result."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return future.result(_CALL_SECONDS)

    def _schedule_step(self) -> None:
        if self._traffic_rate > 0:
            delay = self._random.expovariate(self._traffic_rate)
            self._next_step = self._loop.call_later(delay, self._step_traffic)

    def _step_traffic(self) -> None:
        self._schedule_step()
        self._traffic.step()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._server.serve(sockets=[self._socket]))

    def _stop(self) -> None:
        self._traffic_rate = 0.0
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """Tells when it listens, and stops without waiting for clients to agree to the end of TLS."""

    def __init__(self, config: uvicorn.Config, app: DevelopmentApp) -> None:
        super().__init__(config)
        self.listening = threading.Event()
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in self.servers:
            listener.close()
        self._app.end_watches()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_DRAIN_SECONDS)
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()


def _uvicorn_config(app: DevelopmentApp, tls: ServingTls) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        ssl_certfile=tls.cert_file,
        ssl_keyfile=tls.key_file,
        ssl_ca_certs=str(tls.client_ca_file),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
    )
    config.load()
    return config


def _listening_socket(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((LOOPBACK, port))
    listener.listen(_BACKLOG)
    return listener


def _kind_of(body: Mapping[str, Any]) -> Kind:
    return KIND_NAMED[body["apiVersion"], body["kind"]]


def _now() -> datetime:
    return datetime.now(UTC)
