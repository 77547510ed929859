"""Metrics: what is counted under which labels, and that no client can choose them."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.api.groups import ApiResource, GroupVersionResource
from proxy.api.request_target import parse_request
from proxy.api.status import StatusDetails
from proxy.authn.outcome import RefusalKind
from proxy.authn.user import User
from proxy.authz.decision import Decision, Denied, Permit, Undecided
from proxy.authz.scope import EVERYTHING, NOTHING
from proxy.telemetry.metrics import DecisionKind, Metrics, decision_kind
from proxy.telemetry.request_record import RequestRecord
from proxy.telemetry.state_collector import CacheFigures, OpenWatch, RelistFigures, StateCollector, StateSources
from proxy.telemetry.upstream_meter import FailureKind, UpstreamMeter
from proxy.telemetry.watch_counts import WatchCounts
from proxy.watch.cache import WatchCache
from proxy.watch.session import Session
from tests.support.policies import asking
from tests.support.versions import PODS, KeepingSink

DEPLOYMENTS = ApiResource(
    gvr=GroupVersionResource("apps", "v1", "deployments"), kind="Deployment", namespaced=True, verbs=frozenset()
)
ALLOWED, PART = (
    Permit(user=User(name="alice"), attributes=asking("list", "pods"), scope=scope, activation=1, reason="")
    for scope in (EVERYTHING, NOTHING)
)
DENIED = Denied(message="", details=StatusDetails(), reason="")

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def series(metrics: Metrics) -> Series:
    """What Prometheus reads, without what is zero and what the process itself tells."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
        if sample.value and not sample.name.startswith("process_")
    }


def record(target: str = "/api/v1/pods", **fields: Any) -> RequestRecord:
    return RequestRecord(audit_id="id", request=parse_request("GET", target.encode()), **fields)


def requests(*records: RequestRecord) -> set[tuple[str, str, str]]:
    """The labels under which requests were counted: code, resource, verb."""
    metrics = Metrics()
    for each in records:
        metrics.finished(each)
    found = set()
    for name, labels in series(metrics):
        if name == "watchkeeper_requests_total":
            (_, code), (_, resource), (_, verb) = labels
            found.add((code, resource, verb))
    return found


def test_requests_are_counted_by_verb_resource_and_code() -> None:
    deployments = record("/apis/apps/v1/deployments?watch=1", resource=DEPLOYMENTS, code=200)
    assert requests(deployments) == {("200", "deployments.apps", "watch")}


def test_a_client_cannot_make_a_series() -> None:
    """Not by a path, a resource, a subresource or a method of its own."""
    assert requests(
        record("/apis/made.up/v1/invented", code=404),
        record("/invented", code=404),
        record("/api/v1/namespaces/a/pods/x/invented", resource=PODS, code=404),
        RequestRecord(audit_id="id", method="INVENTED", target=b"/invented", code=405),
    ) == {("404", "", "list"), ("404", "", "get"), ("404", "pods/other", "get"), ("405", "", "")}


@pytest.mark.parametrize(
    ("decision", "forbidden", "kind"),
    [
        (ALLOWED, False, DecisionKind.ALLOW),
        (PART, False, DecisionKind.FILTERED),
        (PART, True, DecisionKind.DENY),
        (DENIED, True, DecisionKind.DENY),
        (None, True, DecisionKind.DENY),
        (Undecided(message=""), False, DecisionKind.UNDECIDED),
        (None, False, None),
    ],
)
def test_every_decision_is_of_one_kind(decision: Decision | None, forbidden: bool, kind: DecisionKind | None) -> None:
    assert decision_kind(record(decision=decision, forbidden=forbidden)) is kind


def test_a_refused_credential_is_counted_by_what_is_wrong_with_it() -> None:
    metrics = Metrics()
    metrics.finished(record(refusal=RefusalKind.BEARER_EXPIRED, code=401))
    kind = ("watchkeeper_authentication_failures_total", (("kind", "bearer_expired"),))
    assert series(metrics)[kind] == 1


def test_a_policy_that_cannot_be_used_leaves_the_time_of_the_last_good_one() -> None:
    metrics = Metrics()
    metrics.policy_read(in_force=True, now=7.0)
    metrics.policy_read(in_force=False, now=9.0)
    assert series(metrics) == {("watchkeeper_policy_last_reload_success_timestamp_seconds", ()): 7.0}


class Watches:
    """Open watches and a collector that looks at them."""

    def __init__(self) -> None:
        self.open: list[OpenWatch] = []
        self.metrics = Metrics()
        self.collector = StateCollector(
            StateSources(
                open_watches=lambda: self.open,
                caches=lambda: [CacheFigures("pods", "table", 3, 4096, 1.5)],
                relists=lambda: [RelistFigures("pods", "table", 2)],
                evictions=lambda: 5,
                policy_revision=lambda: "abc",
                tasks=lambda: 7,
                audit_log=None,
            )
        )
        self.metrics.registry.register(self.collector)

    def opened(self, delivered: int) -> WatchCounts:
        counts = WatchCounts(filtered=True)
        session = Session(sink=KeepingSink(), position=0, floor="", wants_bookmarks=False, on_wake=counts.woken)
        session.delivered = delivered
        counts.begin(session, WatchCache(retention_seconds=1.0, max_changes=1))
        counts.initial(delivered)
        self.open.append(OpenWatch("pods", counts))
        return counts

    def close(self, counts: WatchCounts, reason: str) -> None:
        counts.ended_because = reason
        self.open.remove(OpenWatch("pods", counts))
        self.collector.watch_ended("pods", counts)

    def of(self, name: str, **labels: str) -> float:
        return series(self.metrics).get((name, tuple(sorted(labels.items()))), 0.0)


def test_what_watches_delivered_never_goes_back_when_they_end() -> None:
    watches = Watches()
    first, _ = watches.opened(3), watches.opened(4)
    watches.open.append(OpenWatch("pods", None))
    assert watches.of("watchkeeper_open_watches", resource="pods") == 3
    assert watches.of("watchkeeper_watch_events_delivered_total", resource="pods") == 7
    watches.close(first, "slow client")
    assert watches.of("watchkeeper_open_watches", resource="pods") == 2
    assert watches.of("watchkeeper_watch_events_delivered_total", resource="pods") == 7
    assert watches.of("watchkeeper_watches_ended_total", reason="slow_client", resource="pods") == 1


def test_a_resource_that_nobody_watches_any_more_stays_listed_with_zero() -> None:
    watches = Watches()
    watches.close(watches.opened(1), "timeout")
    assert 'watchkeeper_open_watches{resource="pods"} 0.0' in watches.metrics.exposition().decode()


def test_caches_policy_and_tasks_are_looked_up() -> None:
    watches = Watches()
    assert watches.of("watchkeeper_cache_objects", form="table", resource="pods") == 3
    assert watches.of("watchkeeper_cache_bytes", form="table", resource="pods") == 4096
    assert watches.of("watchkeeper_cache_evictions_total") == 5
    assert watches.of("watchkeeper_cache_lag_seconds", form="table", resource="pods") == 1.5
    assert watches.of("watchkeeper_cache_relists_total", form="table", resource="pods") == 2
    assert watches.of("watchkeeper_policy_info", revision="abc") == 1
    assert watches.of("watchkeeper_tasks") == 7


def test_the_api_server_was_heard_until_it_fails_or_falls_silent() -> None:
    now = 0.0
    metrics = Metrics()
    meter = UpstreamMeter(metrics.registry, lambda: now)
    assert not meter.heard_within(10)
    meter.answered("GET", 404)
    now = 10.0
    assert meter.heard_within(10)
    now = 10.5
    assert not meter.heard_within(10)
    for broken in (lambda: meter.failed(FailureKind.CONNECT), lambda: meter.answered("GET", 500),
                   lambda: meter.answered("GET", 401)):  # fmt: skip
        meter.answered("GET", 200)
        broken()
        assert not meter.heard_within(10)
    meter.answered("GET", 200)
    meter.failed(FailureKind.QUEUE_FULL)
    assert meter.heard_within(10), "the proxy's own queue says nothing about the API server"
    assert series(metrics)["watchkeeper_upstream_requests_total", (("code", "200"), ("method", "GET"))] == 4
    assert series(metrics)["watchkeeper_upstream_errors_total", (("kind", "connect"),)] == 1
