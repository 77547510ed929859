"""What is looked up when metrics are asked for: open watches, watch caches, the policy in force, the audit log.

So nothing is counted on the way of an event to its clients. Totals of watches that have ended are kept here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.telemetry.audit_log import AuditLog
from proxy.telemetry.watch_counts import WatchCounts


class OpenWatch(NamedTuple):
    """One open watch. `counts` None: it is relayed, and what it shows is not counted."""

    resource: str
    counts: WatchCounts | None


class CacheFigures(NamedTuple):
    """One watch cache. `lag_seconds`: since upstream was last heard of it."""

    resource: str
    form: str
    objects: int
    size_bytes: int
    lag_seconds: float


class RelistFigures(NamedTuple):
    """How often the caches of one resource had to begin anew since the process started."""

    resource: str
    form: str
    relists: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSources:
    """Where to look."""

    open_watches: Callable[[], Iterable[OpenWatch]]
    caches: Callable[[], Iterable[CacheFigures]]
    relists: Callable[[], Iterable[RelistFigures]]
    evictions: Callable[[], int]
    policy_revision: Callable[[], str]
    tasks: Callable[[], int]
    audit_log: AuditLog | None


class StateCollector(Collector):
    """Collects from `sources`, in the loop that changes them."""

    def __init__(self, sources: StateSources) -> None:
        self._sources = sources
        self._delivered: Counter[str] = Counter()
        self._suppressed: Counter[str] = Counter()
        self._ended: Counter[tuple[str, str]] = Counter()

    def watch_ended(self, resource: str, counts: WatchCounts) -> None:
        """A watch has ended. To be called in the step in which it leaves `open_watches`."""
        self._delivered[resource] += counts.delivered
        self._suppressed[resource] += counts.suppressed
        self._ended[resource, counts.ended_because.replace(" ", "_")] += 1

    def collect(self) -> Iterable[Metric]:
        """All families. Source: prometheus_client's custom collectors."""
        yield from self._watches()
        yield from self._caches()
        yield InfoMetricFamily(
            "watchkeeper_policy", "The policy in force.", value={"revision": self._sources.policy_revision()}
        )
        yield GaugeMetricFamily(
            "watchkeeper_tasks",
            "Tasks of the event loop: some for each client, each cache and each job in the background.",
            value=self._sources.tasks(),
        )
        audit_log = self._sources.audit_log
        if audit_log is not None:
            yield CounterMetricFamily(
                "watchkeeper_audit_events_written", "Audit events that were written.", value=audit_log.written
            )
            yield CounterMetricFamily(
                "watchkeeper_audit_events_dropped",
                "Audit events that were lost: the disk is full, or too slow.",
                value=audit_log.dropped,
            )

    def _watches(self) -> Iterable[Metric]:
        open_now: Counter[str] = Counter()
        delivered, suppressed = Counter(self._delivered), Counter(self._suppressed)
        for resource, counts in self._sources.open_watches():
            open_now[resource] += 1
            if counts is not None:
                delivered[resource] += counts.delivered
                suppressed[resource] += counts.suppressed
        # A resource that was watched once stays listed: a series that comes and goes reads as a gap.
        for resource in delivered:
            open_now.setdefault(resource, 0)
        opened = GaugeMetricFamily("watchkeeper_open_watches", "Watches that are open.", labels=["resource"])
        shown = CounterMetricFamily(
            "watchkeeper_watch_events_delivered", "Events handed to clients, without bookmarks.", labels=["resource"]
        )
        hidden = CounterMetricFamily(
            "watchkeeper_watch_events_suppressed",
            "Changes that passed filtered watches and were not shown.",
            labels=["resource"],
        )
        for family, figures in ((opened, open_now), (shown, delivered), (hidden, suppressed)):
            for resource, figure in sorted(figures.items()):
                family.add_metric([resource], figure)
        ended = CounterMetricFamily(
            "watchkeeper_watches_ended", "Watches that ended, by reason.", labels=["resource", "reason"]
        )
        for (resource, reason), figure in sorted(self._ended.items()):
            ended.add_metric([resource, reason], figure)
        return opened, shown, hidden, ended

    def _caches(self) -> Iterable[Metric]:
        labels = ["resource", "form"]
        objects = GaugeMetricFamily("watchkeeper_cache_objects", "Objects in a watch cache.", labels=labels)
        size = GaugeMetricFamily(
            "watchkeeper_cache_bytes",
            "Memory that a watch cache takes, about; --max-cache-bytes bounds the sum.",
            labels=labels,
        )
        evictions = CounterMetricFamily(
            "watchkeeper_cache_evictions",
            "Watch caches that ended because of --max-cache-bytes.",
            value=self._sources.evictions(),
        )
        lag = GaugeMetricFamily(
            "watchkeeper_cache_lag_seconds",
            "Time since the API server was last heard on the watch of a cache; it is silent up to about a minute.",
            labels=labels,
        )
        relists = CounterMetricFamily(
            "watchkeeper_cache_relists",
            "How often a watch cache was filled anew; every watch of it ended then.",
            labels=labels,
        )
        for cache in self._sources.caches():
            objects.add_metric([cache.resource, cache.form], cache.objects)
            size.add_metric([cache.resource, cache.form], cache.size_bytes)
            lag.add_metric([cache.resource, cache.form], cache.lag_seconds)
        for resource, form, figure in self._sources.relists():
            relists.add_metric([resource, form], figure)
        return objects, size, lag, relists, evictions
