"""The proxy's own health, in the words of kube-apiserver's `/livez` and `/readyz`.

Source: k8s.io/apiserver/pkg/server/healthz/healthz.go
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from proxy.api.status import StatusError
from proxy.telemetry.upstream_meter import UpstreamMeter

FRESH_SECONDS = 10.0
"""The API server counts as reachable this long after an answer; then it is asked."""

PROBE_AGAIN_SECONDS = 1.0
"""How long a probe that failed stands: many who ask at once cause one probe."""

_UNREACHABLE = "the API server does not answer"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One check. `problem` says in a few words what is wrong, or gives an empty text."""

    name: str
    problem: Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What all checks found. `text` is the answer's body."""

    healthy: bool
    text: str


async def examine(title: str, checks: Sequence[HealthCheck], *, verbose: bool) -> HealthReport:
    """Makes the checks. `title` is `livez` or `readyz`. What failed is always told check by check."""
    lines = []
    healthy = True
    for check in checks:
        problem = await check.problem()
        healthy = healthy and not problem
        lines.append(f"[-]{check.name} failed: {problem}" if problem else f"[+]{check.name} ok")
    if healthy and not verbose:
        return HealthReport(True, "ok")
    lines.append(f"{title} check {'passed' if healthy else 'failed'}")
    return HealthReport(healthy, "\n".join(lines) + "\n")


def simple_check(name: str, problem: Callable[[], str]) -> HealthCheck:
    """A check that need not wait."""

    async def check() -> str:
        return problem()

    return HealthCheck(name, check)


class Reachability:
    """Whether the API server can be reached: it was heard lately, or answers `probe` now.

    `probe` raises StatusError when no answer comes, within a bound of its own, and has the meter told of what came.
    """

    def __init__(self, meter: UpstreamMeter, probe: Callable[[], Awaitable[None]], clock: Callable[[], float]) -> None:
        self._meter = meter
        self._probe = probe
        self._clock = clock
        self._turn = asyncio.Lock()
        self._failed_at: float | None = None

    async def problem(self) -> str:
        """Empty when it can be reached."""
        async with self._turn:
            if self._meter.heard_within(FRESH_SECONDS):
                return ""
            if self._failed_at is not None and self._clock() - self._failed_at < PROBE_AGAIN_SECONDS:
                return _UNREACHABLE
            with contextlib.suppress(StatusError):
                await self._probe()
            if self._meter.heard_within(FRESH_SECONDS):
                return ""
            self._failed_at = self._clock()
            return _UNREACHABLE
