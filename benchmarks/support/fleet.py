"""Watchers in a process of their own, commanded from here: opened, waited for, counted, closed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.support.load_process import LoadProcess, VoidRun

_LATENCY_STEP_MS = 0.1  # of the histogram. Go: benchmarks/load/fleet.go
_POLL_SECONDS = 0.05
_SETTLE_SECONDS = 30.0  # long against the delivery of one update, even on a machine that is busy


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """One watch: `path` is that of the collection, `object` the busy object it must see (empty for none).

    A slow one can be stopped; its buffers are small, and it resumes when its stream is ended.
    """

    path: str
    object: str
    cert_file: str = ""
    key_file: str = ""
    token: str = ""
    slow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What all watchers got since `reset`. `latencies` counts events by steps of 0.1 ms, without the slow watchers'."""

    delivered: int
    event_bytes: float
    resumed: int
    latencies: Counter[int]

    def latency_ms(self, share: float) -> float:
        """The quantile of the delivery latency: from before the update was sent until the watcher has read it."""
        rest = share * self.latencies.total()
        for step, count in sorted(self.latencies.items()):
            rest -= count
            if rest <= 0:
                return (step + 1) * _LATENCY_STEP_MS
        return float("nan")


class Fleet:
    """Open watches against one server, until the `with` block ends."""

    def __init__(self, url: str, ca_file: Path, watchers: Sequence[Watcher]) -> None:
        self._process = LoadProcess("watch", url, ca_file, {"watchers": [asdict(each) for each in watchers]})

    def __enter__(self) -> Self:
        try:
            self._process.answer()
        except BaseException:
            self._process.close()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.close()

    @property
    def pid(self) -> int:
        """The process of the watchers."""
        return self._process.pid

    def reset(self) -> None:
        """Counts from here."""
        self._command("reset")

    def stop_slow(self) -> None:
        """The slow ones read nothing from now on, and are not waited for."""
        self._command("stop")

    def let_slow_go_on(self) -> None:
        """The slow ones read on."""
        self._command("go")

    def settle(self, expected: Mapping[str, int]) -> Delivery:
        """Returns when every watcher has the last update of its object. Raises VoidRun
        when one never gets it, or saw a gap, a double, a wrong order, or an object of somebody else."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            report = self._command("report", expected)
            if not report["behind"] or report["faults"] or time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
        if report["faults"] or report["behind"]:
            raise VoidRun("\n".join([f"{report['behind']} watchers did not get the last update", *report["faults"]]))
        return Delivery(
            delivered=report["delivered"],
            event_bytes=report["bytes"] / max(report["delivered"], 1),
            resumed=report["resumed"],
            latencies=Counter({int(step): count for step, count in report["latencies"].items()}),
        )

    def _command(self, do: str, expected: Mapping[str, int] | None = None) -> dict[str, Any]:
        self._process.send({"do": do, "expected": expected or {}})
        return self._process.answer()
