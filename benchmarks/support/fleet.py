"""Watchers in processes of their own, commanded from here: opened, waited for, counted, closed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.support.watch_stream import LATENCY_STEP_NS
from benchmarks.support.worker import VoidRun, WorkerProcess

_POLL_SECONDS = 0.05
_SETTLE_SECONDS = 30.0  # long against the delivery of one update, even on a machine that is busy


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """One watch: `path` is that of the collection, `object` the busy object it must see (empty for none)."""

    path: str
    object: str
    cert_file: str = ""
    key_file: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What all watchers got since `reset`. `latencies` counts events by steps of LATENCY_STEP_NS."""

    delivered: int
    event_bytes: float
    latencies: Counter[int]

    def latency_ms(self, share: float) -> float:
        """The quantile of the delivery latency: from before the update was sent until the watcher has read it."""
        rest = share * self.delivered
        for step, count in sorted(self.latencies.items()):
            rest -= count
            if rest <= 0:
                return (step + 1) * LATENCY_STEP_NS / 1e6
        return float("nan")


class Fleet:
    """Open watches against one server, until the `with` block ends."""

    def __init__(self, url: str, ca_file: Path, watchers: Sequence[Watcher], *, processes: int = 1) -> None:
        host, _, port = url.removeprefix("https://").partition(":")
        self._workers = [
            WorkerProcess(
                "benchmarks.support.watch_worker",
                {
                    "host": host,
                    "port": int(port),
                    "ca_file": str(ca_file),
                    "watchers": [asdict(each) for each in watchers[share::processes]],
                },
            )
            for share in range(processes)
        ]

    def __enter__(self) -> Self:
        try:
            for worker in self._workers:
                worker.answer()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    @property
    def pids(self) -> list[int]:
        """The processes of the watchers."""
        return [worker.pid for worker in self._workers]

    def reset(self) -> None:
        """Counts from here."""
        self._command({"do": "reset", "expected": {}})

    def settle(self, expected: Mapping[str, int]) -> Delivery:
        """Returns when every watcher has the last update of its object. Raises VoidRun
        when one never gets it, or saw a gap, a double, a wrong order, or an object of somebody else."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            reports = self._command({"do": "report", "expected": expected})
            behind = sum(report["behind"] for report in reports)
            if not behind or time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
        faults = [fault for report in reports for fault in report["faults"]]
        if faults or behind:
            raise VoidRun("\n".join([f"{behind} watchers did not get the last update", *faults]))
        latencies: Counter[int] = Counter()
        for report in reports:
            latencies.update({int(step): count for step, count in report["latencies"].items()})
        delivered = sum(report["delivered"] for report in reports)
        received = sum(report["bytes"] for report in reports)
        return Delivery(delivered=delivered, event_bytes=received / max(delivered, 1), latencies=latencies)

    def _command(self, command: Mapping[str, Any]) -> list[dict[str, Any]]:
        for worker in self._workers:
            worker.send(command)
        return [worker.answer() for worker in self._workers]

    def _close(self) -> None:
        for worker in self._workers:
            worker.close()
