"""The instruments of one proxy: its metrics, audit log and health checks, and what each of them looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from starlette.routing import Route

from proxy.server.admin_server import health_routes, metrics_routes
from proxy.server.authority import Authority
from proxy.server.handshakes import RefusedHandshakes
from proxy.server.open_streams import OpenStream, OpenStreams
from proxy.telemetry.audit_log import AuditLog
from proxy.telemetry.health import HealthCheck, Reachability, simple_check
from proxy.telemetry.metrics import Metrics, label_of, resource_label
from proxy.telemetry.state_collector import CacheFigures, OpenWatch, RelistFigures, StateCollector, StateSources
from proxy.telemetry.telemetry import Telemetry
from proxy.telemetry.upstream_meter import UpstreamMeter
from proxy.upstream.cachers import Cachers
from proxy.upstream.client import UpstreamClient

PROBE_SECONDS = 2.0
"""How long the API server may take for a probe; who asks for readiness seldom waits longer."""

_MAX_VERSION_BYTES = 64 * 1024


class Clock(Protocol):
    """`monotonic`: seconds that never go back; `now`: since the epoch."""

    def monotonic(self) -> float: ...
    def now(self) -> float: ...


class Instruments:
    """`audit_log` None: there is none."""

    def __init__(self, audit_log: AuditLog | None, clock: Clock) -> None:
        self._audit_log = audit_log
        self._clock = clock
        self._metrics = Metrics()
        self.upstream_meter = UpstreamMeter(self._metrics.registry, clock.monotonic)
        self.telemetry = Telemetry(self._metrics, audit_log, clock=clock.now)
        self.handshakes = RefusedHandshakes(self._metrics.refused, clock.monotonic)

    def policy_read(self, in_force: bool) -> None:
        """The policy folder was read."""
        self._metrics.policy_read(in_force=in_force, now=self._clock.now())

    def look_at(self, streams: OpenStreams, cachers: Cachers, authority: Authority) -> None:
        """Has the metrics show these from now on."""
        collector = StateCollector(
            StateSources(
                open_watches=lambda: _open_watches(streams),
                caches=lambda: self._caches(cachers),
                relists=lambda: _relists(cachers),
                evictions=lambda: cachers.evictions,
                policy_revision=lambda: authority.state.snapshot.revision,
                tasks=lambda: len(asyncio.all_tasks()),
                audit_log=self._audit_log,
            )
        )

        def ended(stream: OpenStream) -> None:
            if stream.counts is not None:
                collector.watch_ended(_label(stream), stream.counts)

        streams.observe_ends(ended)
        self._metrics.registry.register(collector)

    def metrics_routes(self) -> list[Route]:
        """`/metrics`."""
        return metrics_routes(self._metrics)

    def health_routes(
        self, authority: Authority, client: UpstreamClient, is_shutting_down: Callable[[], bool]
    ) -> list[Route]:
        """`/livez` and `/readyz`."""

        async def probe() -> None:
            await client.get("/version", max_body_bytes=_MAX_VERSION_BYTES, timeout_seconds=PROBE_SECONDS)

        reachability = Reachability(self.upstream_meter, probe, self._clock.monotonic)
        ping = simple_check("ping", lambda: "")
        ready = [
            ping,
            simple_check("policy", lambda: ""),  # there is no listener before a policy is in force
            simple_check("namespaces", lambda: _namespaces_problem(authority)),
            HealthCheck("upstream", reachability.problem),
            simple_check("shutdown", lambda: "the process is ending" if is_shutting_down() else ""),
        ]
        return health_routes([ping], ready)

    def _caches(self, cachers: Cachers) -> Iterable[CacheFigures]:
        now = self._clock.monotonic()
        for cacher in cachers:
            if cacher.is_filled:
                yield CacheFigures(
                    resource=label_of(cacher.resource),
                    form=cacher.form.name.lower(),
                    objects=len(cacher.cache),
                    size_bytes=cacher.size_bytes,
                    lag_seconds=now - cacher.last_heard,
                )


def _open_watches(streams: OpenStreams) -> Iterable[OpenWatch]:
    return (OpenWatch(_label(each), each.counts) for each in streams if each.permit.attributes.verb == "watch")


def _label(stream: OpenStream) -> str:
    attributes = stream.permit.attributes
    return resource_label(attributes.api_group, attributes.resource)


def _relists(cachers: Cachers) -> Iterable[RelistFigures]:
    for (gvr, form), relists in cachers.relists().items():
        yield RelistFigures(resource_label(gvr.group, gvr.resource), form.name.lower(), relists)


def _namespaces_problem(authority: Authority) -> str:
    state = authority.state
    if state.snapshot.namespace_label_keys is None or state.namespaces is not None:
        return ""
    return "the labels of namespaces are not known"
