"""How the cost of a watch grows: with the number of watchers, and with the size of the event.

The same fan-out as in `watch_fanout`, at each point on both sides. The rate falls as the watchers grow, so that one
core suffices. At a point the watchers are opened once for each side; repetitions are intervals of updates.

Run: `python -m benchmarks.watch_curves`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.support.accounting import resident_bytes
from benchmarks.support.fanout import Measured, busy_object, measure, policies_of, prepare, users_of, watchers_of
from benchmarks.support.fleet import Fleet
from benchmarks.support.report import Curve, Figure, Report, RowResult
from benchmarks.support.stage import Stage, stage
from tests.support.identities import Identity

QUICK = "--watchers 5 20 --bytes 500 2000 --repetitions 1 --seconds 1 --scopes 2 --watchers-of-sizes 10"
"""The smallest run that still does everything; its figures mean nothing."""

MINUTES = 6.5
"""What it takes on a quiet machine with two cores."""

_KIBIBYTE = 1024
_USUAL_BYTES = 1600
_MAX_UPDATES_PER_SECOND = 20.0

_DIRECT, _PROXIED, _PROXY = "API server alone", "proxy + API server", "proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Both sides with so many watchers and events of such a size; memory in KiB for each watcher."""

    direct: Sequence[Measured]
    proxied: Sequence[Measured]
    direct_memory: float
    proxied_memory: float


def run(arguments: Sequence[str]) -> RowResult:
    """Prints every point of the curves."""
    options = _options(arguments)
    report = Report("watch_curves", vars(options))
    users = users_of(options.scopes)
    with stage(policies_of(users)) as processes:
        prepare(processes)
        by_watchers = {
            count: _point(processes, users, count, _USUAL_BYTES, options) for count in sorted(options.watchers)
        }
        of_sizes = [
            _point(processes, users, options.watchers_of_sizes, size, options) for size in sorted(options.bytes)
        ]
        by_bytes = {round(point.proxied[0].event_bytes): point for point in of_sizes}
    for name, points in (("watchers", by_watchers), ("bytes", by_bytes)):
        for x, point in points.items():
            report.figure(f"CPU per event, {_DIRECT}, {x} {name}", Figure(_cpu(point.direct)), "µs")
            report.figure(f"CPU per event, {_PROXIED}, {x} {name}", Figure(_cpu(point.proxied)), "µs")
    _draw(report, "watchers, events of 1.6 KB", by_watchers)
    report.curve(
        Curve(
            title="Memory per mTLS watcher",
            x="watchers",
            y="KiB",
            series={
                "API server": [(count, [point.direct_memory]) for count, point in by_watchers.items()],
                "proxy": [(count, [point.proxied_memory]) for count, point in by_watchers.items()],
            },
        )
    )
    _draw(report, f"bytes of an event, {options.watchers_of_sizes} watchers", by_bytes)
    return report.result


def _point(
    processes: Stage, users: Sequence[Identity], count: int, size_bytes: int, options: argparse.Namespace
) -> Point:
    rate = min(_MAX_UPDATES_PER_SECOND, options.deliveries / count)
    updates = max(int(rate * options.seconds), 3)
    busy = busy_object(processes, size_bytes)
    watchers = watchers_of(processes, users, busy, count)

    def side(url: str, pid: int) -> tuple[list[Measured], float]:
        with Fleet(url, processes.cluster.ca_file, watchers[:1]):
            before = resident_bytes(pid)
        with Fleet(url, processes.cluster.ca_file, watchers) as fleet:
            writer.write(updates // 2, per_second=rate)
            fleet.settle(writer.expected())
            results = [
                measure(processes, fleet, writer, updates=updates, rate=rate) for _ in range(options.repetitions)
            ]
            return results, (resident_bytes(pid) - before) / count / _KIBIBYTE

    with processes.writer([busy]) as writer:
        direct, direct_memory = side(processes.cluster.url, processes.kube_apiserver_pid)
        proxied, proxied_memory = side(processes.proxy.url, processes.proxy_pid)
    processes.cluster.admin.delete(busy.path).raise_for_status()
    return Point(direct=direct, proxied=proxied, direct_memory=direct_memory, proxied_memory=proxied_memory)


def _draw(report: Report, what: str, points: Mapping[int, Point]) -> None:
    def series(of: Callable[[Point], Sequence[float]]) -> list[tuple[float, list[float]]]:
        return [(x, list(of(point))) for x, point in points.items()]

    report.curve(
        Curve(
            title="CPU per delivered event",
            x=what,
            y="µs",
            series={
                _DIRECT: series(lambda point: _cpu(point.direct)),
                _PROXIED: series(lambda point: _cpu(point.proxied)),
                _PROXY: series(lambda point: [each.microseconds(each.cpu.proxy) for each in point.proxied]),
            },
        )
    )
    report.curve(
        Curve(
            title="Delivery latency, p99",
            x=what,
            y="ms",
            series={
                "direct": series(lambda point: [each.p99_ms for each in point.direct]),
                "proxied": series(lambda point: [each.p99_ms for each in point.proxied]),
            },
        )
    )


def _cpu(results: Sequence[Measured]) -> list[float]:
    return [each.served for each in results]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, nargs="+", default=[50, 200, 1000, 2000, 5000])
    parser.add_argument("--bytes", type=int, nargs="+", default=[500, 2000, 5000, 10_000, 20_000], help="of the object")
    parser.add_argument("--watchers-of-sizes", type=int, default=200, help="with events of different sizes")
    parser.add_argument("--scopes", type=int, default=20, help="users with different policies")
    parser.add_argument("--deliveries", type=float, default=10_000, help="a second, at most")
    parser.add_argument("--seconds", type=float, default=3, help="of an interval")
    parser.add_argument("--repetitions", type=int, default=3)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
