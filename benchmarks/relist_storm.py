"""A relist storm: many clients that list at once, as after a break, and how often the API server lists for it.

The callers see one pod in a hundred by a label. The baseline is the same storm directly at the API server, which
answers each of them; what reaches it through the proxy is read from its audit log.

Run: `python -m benchmarks.relist_storm`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

from benchmarks.support.pods import PODS, fetch, fill, scoped
from benchmarks.support.report import Figure, Report, RowResult
from benchmarks.support.stage import Stage, stage
from tests.support.identities import ADMIN, Identity

QUICK = "--pods 60 --namespaces 3 --clients 5 --repetitions 1"
"""The smallest run that still does everything; its figures mean nothing."""

MINUTES = 1.0
"""What it takes on a quiet machine with two cores."""

CALLER = Identity(name="few")
DIRECT = f"{PODS}?labelSelector=few%3Dyes"


def run(arguments: Sequence[str]) -> RowResult:
    """Prints the whole lists that the API server served, and the time and CPU of both sides."""
    options = _options(arguments)
    report = Report("relist_storm", vars(options))
    clients = options.clients
    lists: list[float] = []
    whole: list[float] = []
    seconds: dict[str, list[float]] = {"proxied": [], "direct": []}
    cpu: dict[str, list[float]] = {"proxied": [], "direct": []}
    with stage({"benchmark.yaml": scoped(CALLER.name, labelSelector={"matchLabels": {"few": "yes"}})}) as processes:
        fill(processes, pods=options.pods, namespaces=options.namespaces, size_bytes=options.bytes)
        for _ in range(options.repetitions):
            for side, url, who, target in (
                ("direct", processes.cluster.url, ADMIN, DIRECT),
                ("proxied", processes.proxy.url, CALLER, PODS),
            ):
                begun, before = len(processes.cluster.audit_events()), processes.cpu()
                answered = fetch(processes, url, who, target, clients, connections=clients)
                used = processes.cpu() - before
                seconds[side].append(answered.seconds)
                cpu[side].append(1000 * (used.proxy + used.kube_apiserver))
                if side == "proxied":
                    asked = _lists_upstream(processes, begun)
                    lists.append(len(asked))
                    whole.append(sum("continue" not in query and query.get("limit") != ["1"] for query in asked))
    for side in seconds:
        report.figure(f"until the last client has its list, {side}", Figure(seconds[side]), "s")
        report.figure(f"CPU of all that serve, {side}", Figure(cpu[side]), "ms")
    report.figure("list requests upstream, pages counted", Figure(lists), "")
    report.limit(f"whole lists upstream for {clients} clients", Figure(whole), "lists", bar=4)
    return report.result


def _lists_upstream(processes: Stage, begun: int) -> list[dict[str, list[str]]]:
    """The queries of the cluster-wide lists of pods that the proxy has sent, by the audit log from event `begun`."""
    return [
        parse_qs(target.query)
        for event in processes.cluster.audit_events()[begun:]
        if event["verb"] == "list"
        and event["user"]["username"] == processes.cluster.proxy_identity.name
        and (target := urlsplit(event["requestURI"])).path == PODS
    ]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--namespaces", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=17_000, help="size of a pod")
    parser.add_argument("--clients", type=int, default=200, help="that list at once")
    parser.add_argument("--repetitions", type=int, default=3)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
