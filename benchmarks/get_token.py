"""One object by name: what a get with a bearer token costs the proxy, beside nginx that relays without authorization.

The same pod over the same number of kept connections, one request at a time on each; the sides take turns.

Run: `python -m benchmarks.get_token`
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.accounting import cpu_seconds
from benchmarks.support.load import Answered, Load, Requests
from benchmarks.support.nginx import HOW_TO_GET_IT, is_nginx_there, nginx
from benchmarks.support.report import Figure, Report, RowResult
from benchmarks.support.stage import Stage, cluster_role, cluster_role_binding, stage
from benchmarks.support.writer import padded_pod
from tests.support.identities import Identity

QUICK = "--connections 2 --requests 20 --repetitions 1"
"""The smallest run that still does everything; its figures mean nothing."""

MINUTES = 1.0
"""What it takes on a quiet machine with two cores."""

NAMESPACE = "team"
USER = Identity(name="reader", token="token-of-reader")
TARGET = f"/api/v1/namespaces/{NAMESPACE}/pods/pod"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One side, once: CPU per request in µs, of the relay and of the API server behind it."""

    relay: float
    kube_apiserver: float
    answered: Answered


def run(arguments: Sequence[str]) -> RowResult:
    """Prints the CPU per request of both, and the ratio."""
    options = _options(arguments)
    report = Report("get_token", vars(options))
    policies = {
        "benchmark.yaml": [
            cluster_role("reader", "pods"),
            cluster_role_binding("reader", "reader", ("User", USER.name), namespaces=[NAMESPACE]),
        ]
    }
    if not is_nginx_there():
        raise SystemExit(HOW_TO_GET_IT)
    with (
        tempfile.TemporaryDirectory(prefix="watchkeeper-nginx-") as directory,
        stage(policies, tokens=[USER]) as processes,
        nginx(processes.cluster, Path(directory) / "nginx") as peer,
    ):
        processes.cluster.create_namespace(NAMESPACE)
        processes.cluster.create(padded_pod("pod", NAMESPACE, options.bytes))
        proxied: list[Measured] = []
        relayed: list[Measured] = []
        for repetition in range(options.repetitions):
            sides = [
                (processes.proxy.url, processes.proxy_pid, proxied),
                (peer.url, peer.pid, relayed),
            ]
            for url, pid, results in sides if repetition % 2 == 0 else reversed(sides):
                results.append(_measure(processes, url, pid, options))
    _tell(report, proxied, relayed)
    return report.result


def _measure(processes: Stage, url: str, pid: int, options: argparse.Namespace) -> Measured:
    asked = Requests(target=TARGET, connections=options.connections, requests=options.requests, token=USER.token or "")
    with Load(url, processes.cluster.ca_file, asked) as load:
        relay, kube_apiserver = cpu_seconds(pid), processes.cpu().kube_apiserver
        answered = load.run()
        return Measured(
            relay=(cpu_seconds(pid) - relay) * 1e6 / options.requests,
            kube_apiserver=(processes.cpu().kube_apiserver - kube_apiserver) * 1e6 / options.requests,
            answered=answered,
        )


def _tell(report: Report, proxied: Sequence[Measured], relayed: Sequence[Measured]) -> None:
    both = {"proxy": proxied, "nginx": relayed}
    sizes = [each.answered.bytes / len(each.answered.latencies_ms) for each in [*proxied, *relayed]]
    report.figure("answer", Figure(sizes), "bytes")
    for name, results in both.items():
        report.figure(f"CPU per request, {name}", Figure([each.relay for each in results]), "µs")
        report.figure(f"  API server behind {name}", Figure([each.kube_apiserver for each in results]), "µs")
        rates = [len(each.answered.latencies_ms) / each.answered.seconds for each in results]
        report.figure(f"  requests through {name}", Figure(rates), "/s")
        report.figure(f"  p99 through {name}", Figure([each.answered.latency_ms(0.99) for each in results]), "ms")
    proxy, peer = (Figure([each.relay for each in results]) for results in both.values())
    report.ratio("CPU per request, proxy to nginx", proxy, peer, bar=3)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--bytes", type=int, default=7000, help="size of the pod")
    parser.add_argument("--repetitions", type=int, default=3)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
