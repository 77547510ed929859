"""One upstream watch for all: CPU and latency of a busy object's watchers, through the proxy and directly.

Many mTLS watchers follow ConfigMaps across the cluster. Through the proxy they are of several scopes, each a different
set of namespaces that holds the busy one; directly they may see everything. The sides take turns in one run, and each
watcher checks its own sequence.

Run: `python -m benchmarks.watch_fanout`
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.support.accounting import waiting_seconds
from benchmarks.support.fleet import Fleet, Watcher
from benchmarks.support.report import Figure, print_figure, print_heading, print_ratio
from benchmarks.support.stage import Cpu, Stage, cluster_role, cluster_role_binding, stage
from benchmarks.support.writer import BusyObject, Writer, marked_config_map
from tests.support.identities import Identity

COLLECTION = "/api/v1/configmaps"
GROUP = "watchers"
BUSY = "busy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One side, once. Times per delivered event are in µs, latencies in ms.

    `waited` is the share of the time that the clients and the proxy were ready and had no core: it makes latencies lie.
    """

    cpu: Cpu
    delivered: int
    event_bytes: float
    updates_per_second: float
    waited: float
    p50_ms: float
    p99_ms: float

    def microseconds(self, cpu_seconds: float) -> float:
        """Per delivered event."""
        return cpu_seconds * 1e6 / self.delivered


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints both sides and their ratios."""
    options = _options(arguments)
    print_heading("watch_fanout", vars(options))
    users = [Identity(name=f"user-{number}", groups=(GROUP,)) for number in range(options.scopes)]
    policies = {
        "benchmark.yaml": [
            cluster_role("reader", "configmaps"),
            *(
                cluster_role_binding(each.name, "reader", ("User", each.name), namespaces=[BUSY, f"of-{each.name}"])
                for each in users
            ),
        ]
    }
    with stage(policies) as processes:
        processes.cluster.create_namespace(BUSY)
        processes.cluster.apply(cluster_role("reader", "configmaps"))
        processes.cluster.apply(cluster_role_binding("reader", "reader", ("Group", GROUP)))
        busy = processes.create(marked_config_map("busy", BUSY, options.bytes))
        direct: list[Measured] = []
        through: list[Measured] = []
        with processes.writer([busy]) as writer:
            for repetition in range(options.repetitions):
                sides = [(processes.cluster.url, direct), (processes.proxy.url, through)]
                for url, results in sides if repetition % 2 == 0 else reversed(sides):
                    results.append(_measure(processes, url, users, busy, writer, options))
        _report(direct, through)


def _measure(
    processes: Stage, url: str, users: Sequence[Identity], busy: BusyObject, writer: Writer, options: argparse.Namespace
) -> Measured:
    certificates = [processes.cluster.client_certificate(each.name, each.groups) for each in users]
    watchers = [
        Watcher(path=COLLECTION, object=busy.name, cert_file=str(each.cert_file), key_file=str(each.key_file))
        for each in (certificates[number % len(certificates)] for number in range(options.watchers))
    ]
    with Fleet(url, processes.cluster.ca_file, watchers, processes=options.processes) as fleet:
        writer.write(options.warm_up, per_second=options.rate)
        fleet.settle(writer.expected())
        fleet.reset()
        single_threaded = [processes.proxy_pid, *fleet.pids]
        started, waited = time.monotonic(), sum(map(waiting_seconds, single_threaded))
        before = processes.cpu()
        reached = writer.write(options.updates, per_second=options.rate)
        delivery = fleet.settle(writer.expected())
        cpu = processes.cpu() - before
        waited = (sum(map(waiting_seconds, single_threaded)) - waited) / (time.monotonic() - started)
    return Measured(
        cpu=cpu,
        delivered=delivery.delivered,
        event_bytes=delivery.event_bytes,
        updates_per_second=reached,
        waited=waited,
        p50_ms=delivery.latency_ms(0.5),
        p99_ms=delivery.latency_ms(0.99),
    )


def _report(direct: Sequence[Measured], through: Sequence[Measured]) -> None:
    both = [*direct, *through]
    print_figure("event", Figure([each.event_bytes for each in both]), "bytes")
    print_figure("updates reached", Figure([each.updates_per_second for each in both]), "/s")
    print_figure("events delivered each time", Figure([each.delivered for each in both]), "")
    alone = Figure([each.microseconds(each.cpu.kube_apiserver) for each in direct])
    pair = Figure([each.microseconds(each.cpu.proxy + each.cpu.kube_apiserver) for each in through])
    print_figure("CPU per event, direct: API server", alone, "µs")
    print_figure("  etcd beside it", Figure([each.microseconds(each.cpu.etcd) for each in direct]), "µs")
    print_figure("CPU per event, proxied: proxy + API server", pair, "µs")
    print_figure("  proxy", Figure([each.microseconds(each.cpu.proxy) for each in through]), "µs")
    print_figure("  API server", Figure([each.microseconds(each.cpu.kube_apiserver) for each in through]), "µs")
    print_figure("  etcd beside it", Figure([each.microseconds(each.cpu.etcd) for each in through]), "µs")
    for name, results in (("direct", direct), ("proxied", through)):
        print_figure(f"latency p50, {name}", Figure([each.p50_ms for each in results]), "ms")
        print_figure(f"latency p99, {name}", Figure([each.p99_ms for each in results]), "ms")
        waited = [each.waited * 100 for each in results]
        print_figure(f"  clients and proxy without a core, {name}", Figure(waited), "% of the time")
    print_ratio("CPU of proxy + API server per event", pair, alone, bar=0.9)
    print_ratio(
        "latency p99",
        Figure([each.p99_ms for each in through]),
        Figure([each.p99_ms for each in direct]),
        bar=1.2,
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--scopes", type=int, default=20, help="users with different policies")
    parser.add_argument("--rate", type=float, default=20, help="updates a second")
    parser.add_argument("--bytes", type=int, default=1600, help="size of the object")
    parser.add_argument("--warm-up", type=int, default=60, help="updates before the measurement")
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1, help="of watchers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
