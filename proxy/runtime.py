"""The composition root: builds a proxy from its settings, runs its tasks, reloads its policy, and ends it.

Tasks live in one group. A background task that ends by a bug is logged and begun again: no bug in one part takes the
whole proxy down.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from proxy.api.status import StatusError
from proxy.authentication import build_authentication, file_followers
from proxy.authn.client_certificate import InvalidClientCA
from proxy.authz.decision import Permit
from proxy.authz.namespaces import NamespaceLabels
from proxy.clock import SystemClock
from proxy.config import (
    HostPort,
    ServeConfig,
    TelemetryConfig,
    read_client_ca,
)
from proxy.interpreter import settle_interpreter
from proxy.policy.remembered_files import RememberedFiles
from proxy.policy.snapshot import PolicySnapshot
from proxy.server.admin_server import AdminServer
from proxy.server.authentication import AuthenticationService
from proxy.server.authority import Authority
from proxy.server.chain import Chain
from proxy.server.client_selectors import ClientSelectors
from proxy.server.continue_token import ContinueTokens
from proxy.server.exchange import Exchange
from proxy.server.get_handler import GetHandler
from proxy.server.held_answers import HeldAnswers
from proxy.server.impersonation import Impersonator
from proxy.server.instruments import Instruments
from proxy.server.limits import CallerLimits
from proxy.server.list_handler import ListHandler
from proxy.server.listener import ProxyServer, ServingError, ServingTls, bind
from proxy.server.open_streams import OpenStreams
from proxy.server.pager import Pager
from proxy.server.peers import Peers
from proxy.server.policy_reloader import InvalidPolicy, PolicyReloader, read_policy
from proxy.server.relay_handler import RelayHandler
from proxy.server.review_handler import ReviewHandler
from proxy.server.review_keeper import ReviewKeeper
from proxy.server.snapshots import Snapshots
from proxy.server.watch_handler import WatchHandler
from proxy.server.watch_stream import WatchStream
from proxy.telemetry.audit_log import AuditLog, AuditLogError
from proxy.upstream.cacher import CacherSettings
from proxy.upstream.cachers import Cachers
from proxy.upstream.client import UpstreamClient
from proxy.upstream.discovery import DiscoveryCache
from proxy.upstream.errors import ConfigError
from proxy.upstream.lister import Lister
from proxy.upstream.namespace_follower import Labels, NamespaceFollower

log = logging.getLogger(__name__)

_RESTART_DELAY_SECONDS = 1.0


class StartError(Exception):
    """The proxy cannot start: one line for each reason."""


async def serve(config: ServeConfig, peers: Peers | None = None) -> None:
    """Runs a proxy until it is told to stop; `peers` where others share its port. Raises StartError."""
    clock = SystemClock()
    try:
        audit_log = _audit_log(config.telemetry)
        instruments = Instruments(audit_log, clock)
        remembered = RememberedFiles()
        snapshot, digest = read_policy(config.policies, remembered)
        tls = ServingTls(
            config.tls_cert_file, config.tls_private_key_file, lambda: read_client_ca(config.client_ca_file)
        )
        instruments.handshakes.watch(tls.context)
        client = UpstreamClient(config.upstream, meter=instruments.upstream_meter)
        authentication, keeper = build_authentication(config, client, clock)
        socket = bind(config.bind_address, config.secure_port, shared=peers is not None)
    except (ConfigError, InvalidPolicy, ServingError, InvalidClientCA, AuditLogError) as error:
        raise StartError(str(error)) from error
    try:
        async with asyncio.TaskGroup() as tasks:
            parts = _Parts(
                config, snapshot, digest, remembered, authentication, keeper, client, instruments, clock, tasks, peers
            )
            await _first_contact(parts.discovery)
            background = [tasks.create_task(_supervised(name, run)) for name, run in parts.background()]
            background += [
                tasks.create_task(_supervised(name, follower.run))
                for name, follower in file_followers(config, tls, authentication)
            ]
            server = ProxyServer(parts.application(), tls.context, drain=parts.streams.drain)
            if audit_log is not None:
                background.append(tasks.create_task(audit_log.run()))  # its failure is to end everything
            background += [
                tasks.create_task(_supervised("metrics and health", admin.run_until_cancelled))
                for admin in _admin_servers(config.telemetry, parts, server)
            ]
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, parts.reloader.ask)
            settle_interpreter()
            log.info("policy %s is in force", snapshot.revision)
            if peers is not None:
                peers.serve()
            await server.serve(sockets=[socket])
            parts.cachers.stop()
            parts.lister.stop()
            for task in background:
                task.cancel()
    finally:
        socket.close()
        await client.aclose()
        if audit_log is not None:
            audit_log.close()


def _audit_log(config: TelemetryConfig) -> AuditLog | None:
    """Raises AuditLogError."""
    if config.audit_log_path is None:
        return None
    path = None if str(config.audit_log_path) == "-" else config.audit_log_path
    return AuditLog(path, strict=config.audit_log_strict)


def _admin_servers(config: TelemetryConfig, parts: _Parts, server: ProxyServer) -> list[AdminServer]:
    """The listeners for operators, one for each address. Raises StartError."""
    routes: dict[HostPort, list[Route]] = {}
    if config.metrics_address is not None:
        routes[config.metrics_address] = parts.instruments.metrics_routes()
    if config.health_address is not None:
        routes.setdefault(config.health_address, []).extend(
            parts.instruments.health_routes(parts.authority, parts.client, lambda: server.should_exit)
        )
    try:
        return [AdminServer(served, bind(address.host, address.port)) for address, served in routes.items()]
    except ServingError as error:
        raise StartError(str(error)) from error


class _Parts:
    """Everything of one proxy, put together."""

    def __init__(
        self,
        config: ServeConfig,
        snapshot: PolicySnapshot,
        digest: bytes,
        remembered: RememberedFiles,
        authentication: AuthenticationService,
        keeper: ReviewKeeper,
        client: UpstreamClient,
        instruments: Instruments,
        clock: SystemClock,
        tasks: asyncio.TaskGroup,
        peers: Peers | None,
    ) -> None:
        settings = CacherSettings(bookmark_interval_seconds=config.bookmark_interval_seconds)
        self.lister = lister = Lister(client, tasks)
        self.streams = OpenStreams()
        self.discovery = DiscoveryCache(client, clock)
        self.cachers = Cachers(
            client, tasks, clock=clock.monotonic, settings=settings, max_bytes=config.max_cache_bytes
        )
        self.authority = Authority(
            snapshot,
            lister,
            clock=clock.now,
            strict=config.strict,
            peers=peers,
            replica_lag_seconds=config.replica_lag_seconds,
        )
        self.authority.observe(self._reconsider)
        client.revisions.observe(self.authority.forget)
        self.discovery.observe_removals(self.cachers.remove)
        self.cachers.observe_ends(self.discovery.ask)
        self.reloader = PolicyReloader(config.policies, digest, self.authority.use_policy, remembered)
        self.reloader.observe(instruments.policy_read)
        self.client = client
        self.instruments = instruments
        instruments.policy_read(True)
        instruments.look_at(self.streams, self.cachers, self.authority)
        self._authentication = authentication
        self._keeper = keeper
        self._namespaces = NamespaceFollower(
            self.cachers,
            clock=clock.monotonic,
            wanted_keys=lambda: self.authority.state.snapshot.namespace_label_keys,
            report=self._use_namespaces,
        )
        relay = RelayHandler(client, self.authority, self.streams, clock=clock.now, impersonate=config.impersonate)
        selectors = ClientSelectors(client)
        snapshots = Snapshots(lister, self.cachers, self.authority)
        pager = Pager(client, ContinueTokens(config.continue_key))

        limits, answers = CallerLimits(config.limits), HeldAnswers()

        def stream(exchange: Exchange, permit: Permit) -> WatchStream:
            return WatchStream(exchange, permit, streams=self.streams, clock=clock.now)

        self._chain = Chain(
            authentication=authentication,
            reviews_of_callers=keeper,
            impersonator=Impersonator(self.authority, self.streams),
            authority=self.authority,
            discovery=self.discovery,
            reviews=ReviewHandler(authentication, self.authority, self.discovery, clock=clock.now),
            get=GetHandler(client, self.authority, relay),
            list_=ListHandler(self.authority, snapshots, pager, selectors, relay, answers),
            watch=WatchHandler(self.authority, self.cachers, snapshots, selectors, relay, stream, limits, answers),
            relay=relay,
            limits=limits,
            telemetry=instruments.telemetry,
            clock=clock.now,
        )

    def application(self) -> Starlette:
        """The ASGI application: every path is an API path, and the chain answers for all of them."""
        return _Application(self._chain)

    def background(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """What runs beside the requests."""
        return [
            ("authentication", self._authentication.run),
            ("token reviews", self._keeper.run),
            ("discovery", self.discovery.run),
            ("discovery on request", self.discovery.run_when_asked),
            ("watch caches", self.cachers.run),
            ("namespaces", self._namespaces.run),
            ("expiries", self.authority.run),
            ("policy", self.reloader.run),
        ]

    def _reconsider(self) -> None:
        self._namespaces.check()
        ended = self.streams.reconsider(self.authority.decide)
        if ended:
            log.info("%d streams ended because their scope changed", ended)

    def _use_namespaces(self, labels: Labels | None) -> None:
        self.authority.use_namespaces(None if labels is None else NamespaceLabels(labels))


class _Application(Starlette):
    """A Starlette application that is one raw ASGI application, which answers its own errors.

    Starlette's middleware would be in the way of every message: the stock stack is two error handlers and a router,
    none of which would find anything to do (docs/performance.md, Gets).
    """

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self._chain = chain

    def build_middleware_stack(self) -> ASGIApp:
        """The chain. Called by Starlette once."""
        return self._chain


async def _first_contact(discovery: DiscoveryCache) -> None:
    """A proxy that cannot reach its API server when it starts was told the wrong thing, most of the time."""
    try:
        await discovery.refresh()
    except StatusError as error:
        raise StartError(str(error)) from error


async def _supervised(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Runs a background task; one that ends by a bug is begun again."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("the background task `%s` ended by a bug, and is begun again", name)
            await asyncio.sleep(_RESTART_DELAY_SECONDS)
        else:
            return
