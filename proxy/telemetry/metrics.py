"""Metrics for Prometheus, in a registry of their own: what is counted as it happens.

Labels come from closed sets or from discovery, never from what a client wrote: a client cannot make new series.
"""

from __future__ import annotations

from enum import Enum

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector

from proxy.api.groups import ApiResource
from proxy.authn.outcome import RefusalKind
from proxy.authz.decision import Denied, Permit, Undecided
from proxy.telemetry.request_record import RequestRecord

CONTENT_TYPE = CONTENT_TYPE_LATEST

disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the series, and say nothing new

_SUBRESOURCES = frozenset(
    ("approval", "attach", "binding", "ephemeralcontainers", "eviction", "exec", "finalize", "log", "portforward",
     "proxy", "resize", "scale", "status", "token")
)  # fmt: skip


class DecisionKind(Enum):
    """What authorization said. `filtered` allows a part of what was asked."""

    ALLOW = "allow"
    FILTERED = "filtered"
    DENY = "deny"
    UNDECIDED = "undecided"


def resource_label(group: str, resource: str) -> str:
    """`pods`, `deployments.apps`."""
    return f"{resource}.{group}" if group else resource


class Metrics:
    """All metrics that are counted; `registry` takes collectors for what is looked up when it is asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "watchkeeper_requests",
            "Requests by verb, resource and HTTP code; code 0: the client left before an answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self._counted: dict[tuple[str, str, int], Counter] = {}  # the series: to look one up by `labels` costs more
        decisions = Counter(
            "watchkeeper_authorization_decisions",
            "Decisions about requests: allow, filtered (a part), deny, undecided (namespace labels not known).",
            ["decision"],
            registry=self.registry,
        )
        self._decisions = {kind: decisions.labels(kind.value) for kind in DecisionKind}
        refusals = Counter(
            "watchkeeper_authentication_failures",
            "Requests that were answered 401, by what was wrong with the credentials.",
            ["kind"],
            registry=self.registry,
        )
        self._refusals = {kind: refusals.labels(kind.value) for kind in RefusalKind}
        self._policy_read = Gauge(
            "watchkeeper_policy_last_reload_successful",
            "1 when the policy folder, as it was read last, is in force; 0 while an older policy is kept.",
            registry=self.registry,
        )
        self._policy_read_at = Gauge(
            "watchkeeper_policy_last_reload_success_timestamp_seconds",
            "When the policy folder was last read and is what is in force.",
            registry=self.registry,
        )

    def finished(self, record: RequestRecord) -> None:
        """Counts a request at its end."""
        labels = (_verb_label(record), _resource_label(record), record.code)
        counted = self._counted.get(labels)
        if counted is None:
            counted = self._counted[labels] = self._requests.labels(*labels)
        counted.inc()
        if record.refusal is not None:
            self.refused(record.refusal)
        kind = decision_kind(record)
        if kind is not None:
            self._decisions[kind].inc()

    def refused(self, kind: RefusalKind) -> None:
        """Counts a caller that was not authenticated."""
        self._refusals[kind].inc()

    def policy_read(self, *, in_force: bool, now: float) -> None:
        """The policy folder was read. `now` is in seconds since the epoch."""
        self._policy_read.set(in_force)
        if in_force:
            self._policy_read_at.set(now)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def decision_kind(record: RequestRecord) -> DecisionKind | None:
    """What became of authorization; None for a request that did not come to it."""
    if record.forbidden:
        return DecisionKind.DENY
    match record.decision:
        case Permit(scope=scope):
            return DecisionKind.ALLOW if scope.everything else DecisionKind.FILTERED
        case Denied():
            return DecisionKind.DENY
        case Undecided():
            return DecisionKind.UNDECIDED
        case None:
            return None


def _verb_label(record: RequestRecord) -> str:
    """Empty for what could not be parsed: its method may be anything."""
    return record.request.info.verb if record.request is not None else ""


def _resource_label(record: RequestRecord) -> str:
    """Empty for what is no resource that discovery knows."""
    if record.request is None or record.resource is None:
        return ""
    label = label_of(record.resource)
    subresource = record.request.info.subresource
    if not subresource:
        return label
    return f"{label}/{subresource if subresource in _SUBRESOURCES else 'other'}"


def label_of(resource: ApiResource) -> str:
    """The label of a resource."""
    return resource_label(resource.gvr.group, resource.gvr.resource)
