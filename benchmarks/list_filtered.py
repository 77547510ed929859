"""Large lists: what filtering one costs beside the API server's own answer.

Pods of 17 KB in many namespaces. A tenant of one namespace, and callers who see half of the pods by a label or
a field selector, list them across the cluster; the baseline is what the API server answers to the same question
without the proxy (the tenant's namespace; everything). Then a list with resourceVersion=0 by somebody who may see
everything, and what somebody else's watch feels meanwhile.

Run: `python -m benchmarks.list_filtered`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

from benchmarks.support.accounting import peak_bytes, reset_peak, resident_bytes
from benchmarks.support.fleet import Delivery, Fleet, Watcher
from benchmarks.support.load import Answered
from benchmarks.support.pods import PODS, fetch, fill, namespace, scoped
from benchmarks.support.report import Figure, Report, RowResult
from benchmarks.support.stage import Policies, Stage, cluster_role, cluster_role_binding, stage
from benchmarks.support.writer import marked_config_map
from tests.support.identities import ADMIN, Identity

QUICK = "--pods 60 --namespaces 3 --lists 1 --repetitions 1"
"""The smallest run that still does everything; its figures mean nothing."""

MINUTES = 2.5
"""What it takes on a quiet machine with two cores."""

TENANT = "tenant"
BY_LABEL = "by-label"
BY_FIELD = "by-field"
ALL = "all"
WATCHER = "watcher"
BUSY = "busy"

OTHERS = 20
"""Watchers of something else while the lists are served, at so many updates a second."""
UPDATES_PER_SECOND = 20.0

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Some lists one after the other, on average: their bytes, the CPU of the API server and of the proxy (0 where it
    was not asked), and the time until the client has read it all."""

    bytes: float
    api_server_cpu_ms: float
    proxy_cpu_ms: float
    wall_ms: float

    @property
    def cpu_ms(self) -> float:
        """Of both."""
        return self.api_server_cpu_ms + self.proxy_cpu_ms


def run(arguments: Sequence[str]) -> RowResult:
    """Prints each list beside its baseline."""
    options = _options(arguments)
    report = Report("list_filtered", vars(options))
    with stage(_policies()) as processes:
        fill(processes, pods=options.pods, namespaces=options.namespaces, size_bytes=options.bytes)
        everything = _compare_filtered(report, processes, options)
        _compare_tenant(report, processes, options)
        _measure_others(report, processes, options)
        _compare_cached(report, processes, options, everything)
    return report.result


def _policies() -> Policies:
    return {
        "benchmark.yaml": [
            cluster_role("reader", "pods"),
            cluster_role_binding(TENANT, "reader", ("User", TENANT), namespaces=[namespace(0)]),
            cluster_role_binding(ALL, "reader", ("User", ALL)),
            *scoped(BY_LABEL, labelSelector={"matchLabels": {"half": "0"}}),
            *scoped(BY_FIELD, fieldSelector="spec.nodeName=node-0"),
            cluster_role("config-reader", "configmaps"),
            cluster_role_binding(WATCHER, "config-reader", ("User", WATCHER), namespaces=[BUSY]),
        ]
    }


def _compare_filtered(report: Report, processes: Stage, options: argparse.Namespace) -> float:
    """By label and by field, and the proxy's peak memory; returns the size of the whole list."""
    direct: list[Measured] = []
    proxied: dict[str, list[Measured]] = {BY_LABEL: [], BY_FIELD: []}
    extra: list[float] = []
    for _ in range(options.repetitions):
        direct.append(_direct(processes, PODS, options.lists))
        for name, results in proxied.items():
            pid = processes.proxy_pid
            reset_peak(pid)
            before = resident_bytes(pid)
            results.append(_proxied(processes, name, PODS, options.lists))
            extra.append((peak_bytes(pid) - before) / _MEBIBYTE)
    everything = direct[0].bytes
    report.figure("list of everything", Figure([everything / _MEBIBYTE]), "MiB")
    _print_list(report, "direct, everything", direct)
    for name, results in proxied.items():
        report.figure(f"proxied, {name}", Figure([results[0].bytes / _MEBIBYTE]), "MiB")
        _print_list(report, f"proxied, {name}", results)
        _print_ratios(report, f"{name} to direct list of everything", results, direct, bar=1.3)
    report.limit(
        "peak extra memory of the proxy, most", Figure([max(extra)]), "MiB", bar=round(2 * everything / _MEBIBYTE, 1)
    )
    return everything


def _compare_tenant(report: Report, processes: Stage, options: argparse.Namespace) -> None:
    lists = options.lists * options.namespaces
    direct: list[Measured] = []
    proxied: list[Measured] = []
    for _ in range(options.repetitions):
        direct.append(_direct(processes, f"/api/v1/namespaces/{namespace(0)}/pods", lists))
        proxied.append(_proxied(processes, TENANT, PODS, lists))
    _print_list(report, "direct, one namespace", direct)
    _print_list(report, "proxied, tenant of one namespace", proxied)
    _print_ratios(report, "tenant to direct list of the namespace", proxied, direct, bar=1.5)


def _compare_cached(report: Report, processes: Stage, options: argparse.Namespace, everything: float) -> None:
    target = f"{PODS}?resourceVersion=0"
    _proxied(processes, ALL, target, 1)  # fills the cache
    direct: list[Measured] = []
    proxied: list[Measured] = []
    for _ in range(options.repetitions):
        direct.append(_direct(processes, target, options.lists))
        proxied.append(_proxied(processes, ALL, target, options.lists))
    if not 0.99 < proxied[0].bytes / everything < 1.01:
        raise SystemExit("the list with resourceVersion=0 is not whole")
    _print_list(report, "direct, resourceVersion=0", direct)
    _print_list(report, "proxied, resourceVersion=0", proxied)
    _print_ratios(report, "resourceVersion=0 to direct", proxied, direct, bar=0.5)


def _measure_others(report: Report, processes: Stage, options: argparse.Namespace) -> None:
    """What somebody else's watch feels while filtered lists are served one after the other."""
    processes.cluster.create_namespace(BUSY)
    busy = processes.create(marked_config_map("busy", BUSY, 1600))
    certificate = processes.cluster.client_certificate(WATCHER)
    watcher = Watcher(
        path="/api/v1/configmaps",
        object=busy.name,
        cert_file=str(certificate.cert_file),
        key_file=str(certificate.key_file),
    )
    url, ca_file = processes.proxy.url, processes.cluster.ca_file
    with processes.writer([busy]) as writer, Fleet(url, ca_file, [watcher] * OTHERS) as fleet:

        @contextmanager
        def updates() -> Iterator[None]:
            stopped = Event()

            def write() -> None:
                while not stopped.is_set():
                    writer.write(1, per_second=UPDATES_PER_SECOND)
                    stopped.wait(1 / UPDATES_PER_SECOND)

            with ThreadPoolExecutor(max_workers=1) as executor:
                written = executor.submit(write)
                yield
                stopped.set()
                written.result()

        def watch_while(url: str, identity: Identity) -> Delivery:
            fleet.reset()
            with updates():
                fetch(processes, url, identity, PODS, options.repetitions * options.lists)
            return fleet.settle(writer.expected())

        beside_direct = watch_while(processes.cluster.url, ADMIN)
        beside_filtered = watch_while(processes.proxy.url, Identity(name=BY_LABEL))
    report.figure("others' watch p99 beside direct lists", Figure([beside_direct.latency_ms(0.99)]), "ms")
    report.limit("others' watch p99 beside filtered lists", Figure([beside_filtered.latency_ms(0.99)]), "ms", bar=100)


def _direct(processes: Stage, target: str, lists: int) -> Measured:
    before = processes.cpu()
    answered = fetch(processes, processes.cluster.url, ADMIN, target, lists)
    used = processes.cpu() - before
    return _measured(answered, used.kube_apiserver, 0.0, lists)


def _proxied(processes: Stage, name: str, target: str, lists: int) -> Measured:
    before = processes.cpu()
    answered = fetch(processes, processes.proxy.url, Identity(name=name), target, lists)
    used = processes.cpu() - before
    return _measured(answered, used.kube_apiserver, used.proxy, lists)


def _measured(answered: Answered, api_server_seconds: float, proxy_seconds: float, lists: int) -> Measured:
    return Measured(
        bytes=answered.bytes / lists,
        api_server_cpu_ms=api_server_seconds * 1000 / lists,
        proxy_cpu_ms=proxy_seconds * 1000 / lists,
        wall_ms=answered.seconds * 1000 / lists,
    )


def _print_list(report: Report, name: str, results: Sequence[Measured]) -> None:
    report.figure(f"{name}, CPU", Figure([each.cpu_ms for each in results]), "ms")
    if any(each.proxy_cpu_ms for each in results):
        report.figure("  of it the proxy", Figure([each.proxy_cpu_ms for each in results]), "ms")
    report.figure(f"{name}, wall", Figure([each.wall_ms for each in results]), "ms")


def _print_ratios(
    report: Report, name: str, measured: Sequence[Measured], baseline: Sequence[Measured], *, bar: float
) -> None:
    cpu, base_cpu = Figure([each.cpu_ms for each in measured]), Figure([each.cpu_ms for each in baseline])
    report.ratio(f"{name}, CPU", cpu, base_cpu, bar=bar)
    wall, base_wall = Figure([each.wall_ms for each in measured]), Figure([each.wall_ms for each in baseline])
    report.ratio(f"{name}, wall", wall, base_wall, bar=bar)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--namespaces", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=17_000, help="size of a pod")
    parser.add_argument("--lists", type=int, default=3, help="of everything one after the other in each measurement")
    parser.add_argument("--repetitions", type=int, default=5)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
