"""Slow clients: a fifth of the watchers stop reading, and what the others and the proxy's memory feel of it.

The slow ones have small buffers, as behind an Ethernet. Intervals of updates with all reading and with the slow ones
stopped take turns. Then they stay stopped until the proxy has ended them all (its metrics tell), and read on: each must
be able to resume where it was, without a gap, which is so only when it was ended before the ring had passed it.

Run: `python -m benchmarks.slow_clients`
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from benchmarks.support.accounting import peak_bytes, reset_peak, resident_bytes
from benchmarks.support.fanout import Measured, busy_object, measure, policies_of, prepare, users_of, watchers_of
from benchmarks.support.fleet import Fleet
from benchmarks.support.load_process import VoidRun
from benchmarks.support.report import Figure, Report, RowResult
from benchmarks.support.stage import Stage, stage
from benchmarks.support.writer import Writer
from tests.support.telemetry import ADMIN_FLAGS, metric

QUICK = "--watchers 20 --slow 4 --scopes 2 --updates 10 --repetitions 1 --rate 10 --bytes 20000"
"""The smallest run that still does everything; its figures mean nothing."""

MINUTES = 2.5
"""What it takes on a quiet machine with two cores."""

_KIBIBYTE = 1024
_HISTORY_SECONDS = 75  # what the ring keeps, whoever reads
_ENDED_SECONDS = 150.0  # twice what the ring holds
_LOOK_SECONDS = 1.0


def run(arguments: Sequence[str]) -> RowResult:
    """Prints the latency of the others, the memory, and how the slow ones were ended and came back."""
    options = _options(arguments)
    report = Report("slow_clients", vars(options))
    users = users_of(options.scopes)
    reading: list[Measured] = []
    stopped: list[Measured] = []
    with stage(policies_of(users), flags=ADMIN_FLAGS) as processes:
        prepare(processes)
        busy = busy_object(processes, options.bytes)
        watchers = watchers_of(processes, users, busy, options.watchers, slow=options.slow)
        url, ca_file = processes.proxy.url, processes.cluster.ca_file
        with processes.writer([busy]) as writer, Fleet(url, ca_file, watchers) as fleet:
            writer.write(options.updates, per_second=options.rate)
            fleet.settle(writer.expected())
            before = resident_bytes(processes.proxy_pid)
            reset_peak(processes.proxy_pid)
            for _ in range(options.repetitions):
                fleet.let_slow_go_on()
                fleet.settle(writer.expected())
                reading.append(measure(processes, fleet, writer, updates=options.updates, rate=options.rate))
                fleet.stop_slow()
                stopped.append(measure(processes, fleet, writer, updates=options.updates, rate=options.rate))
            ended = _until_all_are_ended(processes, writer, options)
            extra = peak_bytes(processes.proxy_pid) - before
            fleet.let_slow_go_on()
            resumed = fleet.settle(writer.expected()).resumed
            if resumed != options.slow:
                raise VoidRun(f"{resumed} of {options.slow} slow clients had to resume")
    report.figure("p99 of the others, all read", Figure([each.p99_ms for each in reading]), "ms")
    report.figure("p99 of the others, the slow ones stopped", Figure([each.p99_ms for each in stopped]), "ms")
    report.figure("until all slow ones were ended, from the last stop", Figure([ended]), "s")
    report.figure(f"of {options.slow} slow ones resumed without a gap", Figure([resumed]), "")
    report.ratio(
        "p99 of the others, slow ones stopped to all read",
        Figure([each.p99_ms for each in stopped]),
        Figure([each.p99_ms for each in reading]),
        bar=1.2,
    )
    history = options.rate * _HISTORY_SECONDS * reading[0].event_bytes
    report.figure("what the ring of changes holds", Figure([history / _KIBIBYTE]), "KiB")
    beyond = max(extra - history, 0) / options.slow / _KIBIBYTE
    report.limit("peak extra memory beyond the ring, for a slow client", Figure([beyond]), "KiB", bar=256)
    return report.result


def _until_all_are_ended(processes: Stage, writer: Writer, options: argparse.Namespace) -> float:
    """Goes on with updates; returns the seconds it took. Raises VoidRun when they are not ended."""
    started = time.monotonic()
    while (ended := _ended(processes)) < options.slow:
        if time.monotonic() - started > _ENDED_SECONDS:
            raise VoidRun(f"only {ended:g} of {options.slow} slow clients were ended")
        writer.write(max(int(options.rate * _LOOK_SECONDS), 1), per_second=options.rate)
    return time.monotonic() - started


def _ended(processes: Stage) -> float:
    name = "watchkeeper_watches_ended_total"
    return metric(processes.proxy, name, resource="configmaps", reason="slow_client")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--slow", type=int, default=200, help="of the watchers")
    parser.add_argument("--scopes", type=int, default=20, help="users with different policies")
    parser.add_argument("--rate", type=float, default=20, help="updates a second")
    parser.add_argument("--bytes", type=int, default=1600, help="size of the object")
    parser.add_argument("--updates", type=int, default=160, help="of an interval")
    parser.add_argument("--repetitions", type=int, default=3)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
