"""Memory of an idle mTLS watcher after traffic: of the proxy, and of the API server with the same watchers directly.

Each side is a fresh process for every repetition: its memory with one watcher is taken away from its memory with all,
both after the same updates.

Run: `python -m benchmarks.watch_memory`
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks.support.accounting import proportional_bytes, resident_bytes
from benchmarks.support.fleet import Fleet, Watcher
from benchmarks.support.report import Figure, Report, RowResult
from benchmarks.support.stage import Stage, cluster_role, cluster_role_binding, stage
from benchmarks.support.writer import Writer, marked_config_map
from tests.support.identities import Identity

QUICK = "--watchers 10 --updates 4 --repetitions 1"
"""The smallest run that still does everything; its figures mean nothing."""

MINUTES = 2.5
"""What it takes on a quiet machine with two cores."""

COLLECTION = "/api/v1/configmaps"
BUSY = "busy"
USER = Identity(name="watcher")

_KIBIBYTE = 1024
_IDLE_SECONDS = 3.0  # a garbage collection and its return of pages are over


def run(arguments: Sequence[str]) -> RowResult:
    """Prints the growth per watcher of each side, and the ratio."""
    options = _options(arguments)
    report = Report("watch_memory", vars(options))
    role = [
        cluster_role("reader", "configmaps"),
        cluster_role_binding("reader", "reader", ("User", USER.name)),
    ]
    growth: dict[str, list[tuple[float, float]]] = {"proxy": [], "kube-apiserver": []}
    with stage({"benchmark.yaml": role}) as processes:
        processes.cluster.create_namespace(BUSY)
        for each in role:
            processes.cluster.apply(each)
        busy = processes.create(marked_config_map("busy", BUSY, options.bytes))
        for _ in range(options.repetitions):
            processes.cluster.restart()
            with processes.writer([busy]) as writer:
                url = processes.cluster.url
                growth["kube-apiserver"].append(
                    _growth(processes, url, lambda: processes.kube_apiserver_pid, busy.name, writer, options)
                )
                processes.proxy.stop()
                processes.proxy.start()
                url = processes.proxy.url
                growth["proxy"].append(_growth(processes, url, lambda: processes.proxy_pid, busy.name, writer, options))
    for name, results in growth.items():
        report.figure(f"RSS per watcher, {name}", Figure([rss for rss, _ in results]), "KiB")
        report.figure(f"PSS per watcher, {name}", Figure([pss for _, pss in results]), "KiB")
    proxy, kube_apiserver = (Figure([rss for rss, _ in results]) for results in growth.values())
    report.ratio("RSS per watcher", proxy, kube_apiserver, bar=0.5)
    return report.result


def _growth(
    processes: Stage, url: str, pid: Callable[[], int], name: str, writer: Writer, options: argparse.Namespace
) -> tuple[float, float]:
    """RSS and PSS in KiB per watcher beyond the first."""
    certificate = processes.cluster.client_certificate(USER.name, USER.groups)
    watcher = Watcher(
        path=COLLECTION, object=name, cert_file=str(certificate.cert_file), key_file=str(certificate.key_file)
    )

    def measure(watchers: int) -> tuple[int, int]:
        with Fleet(url, processes.cluster.ca_file, [watcher] * watchers) as fleet:
            writer.write(options.updates, per_second=options.rate)
            fleet.settle(writer.expected())
            time.sleep(_IDLE_SECONDS)
            return resident_bytes(pid()), proportional_bytes(pid())

    (rss_one, pss_one), (rss_all, pss_all) = measure(1), measure(options.watchers)
    beyond = (options.watchers - 1) * _KIBIBYTE
    return (rss_all - rss_one) / beyond, (pss_all - pss_one) / beyond


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=20, help="updates a second")
    parser.add_argument("--bytes", type=int, default=1600, help="size of the object")
    parser.add_argument("--updates", type=int, default=100, help="before memory is measured")
    parser.add_argument("--repetitions", type=int, default=3)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
