"""Counts what is asked of the API server, and knows whether it was heard lately."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from prometheus_client import CollectorRegistry, Counter


class FailureKind(Enum):
    """Why a request got no answer, or not all of it. The value is a metric label."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    QUEUE_FULL = "queue_full"


class UpstreamMeter:
    """`clock` gives seconds that never go back."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard_at: float | None = None
        self._requests = Counter(
            "watchkeeper_upstream_requests",
            "Requests to the API server that were answered, by method and HTTP code.",
            ["method", "code"],
            registry=registry,
        )
        self._answered: dict[tuple[str, int], Counter] = {}  # the series: to look one up by `labels` costs more
        failures = Counter(
            "watchkeeper_upstream_errors",
            "Requests to the API server that got no answer, or not all of it.",
            ["kind"],
            registry=registry,
        )
        self._failures = {kind: failures.labels(kind.value) for kind in FailureKind}

    def answered(self, method: str, code: int) -> None:
        """The head of an answer came."""
        counted = self._answered.get((method, code))
        if counted is None:
            counted = self._answered[method, code] = self._requests.labels(method, code)
        counted.inc()
        # 401: the API server does not know the proxy. It serves nobody then, as little as one that is broken.
        self._heard_at = self._clock() if code < 500 and code != 401 else None

    def failed(self, kind: FailureKind) -> None:
        """No answer came, or it broke off."""
        self._failures[kind].inc()
        if kind is not FailureKind.QUEUE_FULL:  # that says nothing about the API server
            self._heard_at = None

    def heard_within(self, seconds: float) -> bool:
        """True when the last thing that came was an answer, and came within `seconds`."""
        return self._heard_at is not None and self._clock() - self._heard_at <= seconds
