"""One upstream watch for all: CPU and latency of a busy object's watchers, through the proxy and directly.

Many mTLS watchers follow ConfigMaps across the cluster. Through the proxy they are of several scopes; directly they may
see everything. The sides take turns in one run, and each watcher checks its own sequence.

Run: `python -m benchmarks.watch_fanout`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.support.fanout import Measured, busy_object, measure, policies_of, prepare, users_of, watchers_of
from benchmarks.support.fleet import Fleet
from benchmarks.support.report import Figure, Report, RowResult
from benchmarks.support.stage import stage

QUICK = "--watchers 40 --scopes 4 --warm-up 2 --updates 10 --repetitions 1"
"""The smallest run that still does everything; its figures mean nothing."""

MINUTES = 3.0
"""What it takes on a quiet machine with two cores."""


def run(arguments: Sequence[str]) -> RowResult:
    """Prints both sides and their ratios."""
    options = _options(arguments)
    report = Report("watch_fanout", vars(options))
    users = users_of(options.scopes)
    direct: list[Measured] = []
    through: list[Measured] = []
    with stage(policies_of(users)) as processes:
        prepare(processes)
        busy = busy_object(processes, options.bytes)
        watchers = watchers_of(processes, users, busy, options.watchers)
        with processes.writer([busy]) as writer:
            for repetition in range(options.repetitions):
                sides = [(processes.cluster.url, direct), (processes.proxy.url, through)]
                for url, results in sides if repetition % 2 == 0 else reversed(sides):
                    with Fleet(url, processes.cluster.ca_file, watchers) as fleet:
                        writer.write(options.warm_up, per_second=options.rate)
                        fleet.settle(writer.expected())
                        measured = measure(processes, fleet, writer, updates=options.updates, rate=options.rate)
                    results.append(measured)
    _tell(report, direct, through)
    return report.result


def _tell(report: Report, direct: Sequence[Measured], through: Sequence[Measured]) -> None:
    both = [*direct, *through]
    report.figure("event", Figure([each.event_bytes for each in both]), "bytes")
    report.figure("updates reached", Figure([each.updates_per_second for each in both]), "/s")
    report.figure("events delivered each time", Figure([each.delivered for each in both]), "")
    alone = Figure([each.microseconds(each.cpu.kube_apiserver) for each in direct])
    pair = Figure([each.served for each in through])
    report.figure("CPU per event, direct: API server", alone, "µs")
    report.figure("  etcd beside it", Figure([each.microseconds(each.cpu.etcd) for each in direct]), "µs")
    report.figure("CPU per event, proxied: proxy + API server", pair, "µs")
    report.figure("  proxy", Figure([each.microseconds(each.cpu.proxy) for each in through]), "µs")
    report.figure("  API server", Figure([each.microseconds(each.cpu.kube_apiserver) for each in through]), "µs")
    report.figure("  etcd beside it", Figure([each.microseconds(each.cpu.etcd) for each in through]), "µs")
    for name, results in (("direct", direct), ("proxied", through)):
        report.figure(f"latency p50, {name}", Figure([each.p50_ms for each in results]), "ms")
        report.figure(f"latency p99, {name}", Figure([each.p99_ms for each in results]), "ms")
        waited = [each.waited * 100 for each in results]
        report.figure(f"  clients and proxy without a core, {name}", Figure(waited), "% of the time")
        load = [each.microseconds(each.load_cpu) for each in results]
        report.figure(f"  the clients' own CPU per event, {name}", Figure(load), "µs")
    report.ratio("CPU of proxy + API server per event", pair, alone, bar=0.9)
    report.ratio(
        "latency p99",
        Figure([each.p99_ms for each in through]),
        Figure([each.p99_ms for each in direct]),
        bar=1.2,
    )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--scopes", type=int, default=20, help="users with different policies")
    parser.add_argument("--rate", type=float, default=20, help="updates a second")
    parser.add_argument("--bytes", type=int, default=1600, help="size of the object")
    parser.add_argument("--warm-up", type=int, default=60, help="updates before the measurement")
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--repetitions", type=int, default=3)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
