"""Large lists: what filtering one costs beside the API server's own answer.

Pods of 17 KB in many namespaces. A tenant of one namespace, and callers who see half of the pods by a label or
a field selector, list them across the cluster; the baseline is what the API server answers to the same question
without the proxy (the tenant's namespace; everything). Then many clients relist at once, and a list with
resourceVersion=0 by somebody who may see everything.

Run: `python -m benchmarks.list_filtered`
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from urllib.parse import parse_qs, urlsplit

from benchmarks.support.accounting import peak_bytes, reset_peak, resident_bytes
from benchmarks.support.fleet import Delivery, Fleet, Watcher
from benchmarks.support.load import Answered, Load, Requests
from benchmarks.support.report import Figure, print_figure, print_heading, print_limit, print_ratio
from benchmarks.support.stage import WATCHKEEPER, Policies, Stage, cluster_role, cluster_role_binding, stage
from benchmarks.support.writer import marked_config_map, padded_pod
from tests.support.identities import ADMIN, Identity

PODS = "/api/v1/pods"
TENANT = "tenant"
BY_LABEL = "by-label"
BY_FIELD = "by-field"
FEW = "few"
ALL = "all"
WATCHER = "watcher"
BUSY = "busy"

OTHERS = 20
"""Watchers of something else while the lists are served, at so many updates a second."""
UPDATES_PER_SECOND = 20.0

_MEBIBYTE = 1024 * 1024
_CREATORS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Some lists one after the other, on average: their bytes, the CPU of the API server (and the proxy, where it was
    asked), and the time until the client has read it all."""

    bytes: float
    cpu_ms: float
    wall_ms: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints each list beside its baseline."""
    options = _options(arguments)
    print_heading("list_filtered", vars(options))
    with stage(_policies()) as processes:
        _fill(processes, options)
        everything = _compare_filtered(processes, options)
        _compare_tenant(processes, options)
        _measure_others(processes, options)
        _measure_relist(processes, options)
        _compare_cached(processes, options, everything)


def _policies() -> Policies:
    return {
        "benchmark.yaml": [
            cluster_role("reader", "pods"),
            cluster_role_binding(TENANT, "reader", ("User", TENANT), namespaces=[_namespace(0)]),
            cluster_role_binding(ALL, "reader", ("User", ALL)),
            *_scoped(BY_LABEL, labelSelector={"matchLabels": {"half": "0"}}),
            *_scoped(BY_FIELD, fieldSelector="spec.nodeName=node-0"),
            *_scoped(FEW, labelSelector={"matchLabels": {"few": "yes"}}),
            cluster_role("config-reader", "configmaps"),
            cluster_role_binding(WATCHER, "config-reader", ("User", WATCHER), namespaces=[BUSY]),
        ]
    }


def _scoped(name: str, **selectors: object) -> Sequence[dict[str, object]]:
    return (
        cluster_role(name, "pods", group=WATCHKEEPER, **selectors),
        cluster_role_binding(name, name, ("User", name), group=WATCHKEEPER),
    )


def _fill(processes: Stage, options: argparse.Namespace) -> None:
    """The pods: every second has the label and the node of the callers who see half, one in a hundred is of the few."""
    for number in range(options.namespaces):
        processes.cluster.create_namespace(_namespace(number))

    def create(number: int) -> None:
        labels = {"half": str(number % 2), "few": "yes" if number % 100 == 0 else "no"}
        namespace = _namespace(number % options.namespaces)
        node = f"node-{number % 2}"
        processes.cluster.create(padded_pod(f"pod-{number}", namespace, options.bytes, node=node, labels=labels))

    create(0)  # the kind is discovered before there are threads
    with ThreadPoolExecutor(max_workers=_CREATORS) as creators:
        list(creators.map(create, range(1, options.pods)))


def _compare_filtered(processes: Stage, options: argparse.Namespace) -> float:
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
    print_figure("list of everything", Figure([everything / _MEBIBYTE]), "MiB")
    _print_list("direct, everything", direct)
    for name, results in proxied.items():
        print_figure(f"proxied, {name}", Figure([results[0].bytes / _MEBIBYTE]), "MiB")
        _print_list(f"proxied, {name}", results)
        _print_ratios(f"{name} to direct list of everything", results, direct, bar=1.3)
    print_limit(
        "peak extra memory of the proxy, most", Figure([max(extra)]), "MiB", bar=round(2 * everything / _MEBIBYTE, 1)
    )
    return everything


def _compare_tenant(processes: Stage, options: argparse.Namespace) -> None:
    lists = options.lists * options.namespaces
    direct: list[Measured] = []
    proxied: list[Measured] = []
    for _ in range(options.repetitions):
        direct.append(_direct(processes, f"/api/v1/namespaces/{_namespace(0)}/pods", lists))
        proxied.append(_proxied(processes, TENANT, PODS, lists))
    _print_list("direct, one namespace", direct)
    _print_list("proxied, tenant of one namespace", proxied)
    _print_ratios("tenant to direct list of the namespace", proxied, direct, bar=1.5)


def _compare_cached(processes: Stage, options: argparse.Namespace, everything: float) -> None:
    target = f"{PODS}?resourceVersion=0"
    _proxied(processes, ALL, target, 1)  # fills the cache
    direct: list[Measured] = []
    proxied: list[Measured] = []
    for _ in range(options.repetitions):
        direct.append(_direct(processes, target, options.lists))
        proxied.append(_proxied(processes, ALL, target, options.lists))
    if not 0.99 < proxied[0].bytes / everything < 1.01:
        raise SystemExit("the list with resourceVersion=0 is not whole")
    _print_list("direct, resourceVersion=0", direct)
    _print_list("proxied, resourceVersion=0", proxied)
    _print_ratios("resourceVersion=0 to direct", proxied, direct, bar=0.5)


def _measure_relist(processes: Stage, options: argparse.Namespace) -> None:
    begun = len(processes.cluster.audit_events())
    answered = _fetch(
        processes, processes.proxy.url, Identity(name=FEW), PODS, options.clients, connections=options.clients
    )
    lists = list(_lists_upstream(processes, begun))
    whole = [query for query in lists if "continue" not in query and query.get("limit") != ["1"]]
    print_figure("clients that relist at once, until the last has its list", Figure([answered.seconds]), "s")
    print_figure("  list requests upstream, pages counted", Figure([len(lists)]), "")
    print_limit("  whole lists upstream", Figure([len(whole)]), "", bar=4)


def _measure_others(processes: Stage, options: argparse.Namespace) -> None:
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
                _fetch(processes, url, identity, PODS, options.repetitions * options.lists)
            return fleet.settle(writer.expected())

        beside_direct = watch_while(processes.cluster.url, ADMIN)
        beside_filtered = watch_while(processes.proxy.url, Identity(name=BY_LABEL))
    print_figure("others' watch p99 beside direct lists", Figure([beside_direct.latency_ms(0.99)]), "ms")
    print_limit("others' watch p99 beside filtered lists", Figure([beside_filtered.latency_ms(0.99)]), "ms", bar=100)


def _lists_upstream(processes: Stage, begun: int) -> Iterator[dict[str, list[str]]]:
    """The queries of the cluster-wide lists of pods that the proxy has sent, by the audit log from event `begun`."""
    for event in processes.cluster.audit_events()[begun:]:
        target = urlsplit(event["requestURI"])
        if (
            event["verb"] == "list"
            and event["user"]["username"] == processes.cluster.proxy_identity.name
            and target.path == PODS
        ):
            yield parse_qs(target.query)


def _direct(processes: Stage, target: str, lists: int) -> Measured:
    before = processes.cpu()
    answered = _fetch(processes, processes.cluster.url, ADMIN, target, lists)
    used = processes.cpu() - before
    return _measured(answered, used.kube_apiserver, lists)


def _proxied(processes: Stage, name: str, target: str, lists: int) -> Measured:
    before = processes.cpu()
    answered = _fetch(processes, processes.proxy.url, Identity(name=name), target, lists)
    used = processes.cpu() - before
    return _measured(answered, used.kube_apiserver + used.proxy, lists)


def _measured(answered: Answered, cpu_seconds: float, lists: int) -> Measured:
    return Measured(
        bytes=answered.bytes / lists, cpu_ms=cpu_seconds * 1000 / lists, wall_ms=answered.seconds * 1000 / lists
    )


def _fetch(processes: Stage, url: str, identity: Identity, target: str, lists: int, connections: int = 1) -> Answered:
    certificate = processes.cluster.client_certificate(identity.name, identity.groups)
    asked = Requests(
        target=target,
        connections=connections,
        requests=lists,
        cert_file=str(certificate.cert_file),
        key_file=str(certificate.key_file),
    )
    with Load(url, processes.cluster.ca_file, asked) as load:
        return load.run()


def _print_list(name: str, results: Sequence[Measured]) -> None:
    print_figure(f"{name}, CPU", Figure([each.cpu_ms for each in results]), "ms")
    print_figure(f"{name}, wall", Figure([each.wall_ms for each in results]), "ms")


def _print_ratios(name: str, measured: Sequence[Measured], baseline: Sequence[Measured], *, bar: float) -> None:
    cpu, base_cpu = Figure([each.cpu_ms for each in measured]), Figure([each.cpu_ms for each in baseline])
    print_ratio(f"{name}, CPU", cpu, base_cpu, bar=bar)
    wall, base_wall = Figure([each.wall_ms for each in measured]), Figure([each.wall_ms for each in baseline])
    print_ratio(f"{name}, wall", wall, base_wall, bar=bar)


def _namespace(number: int) -> str:
    return f"team-{number}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--namespaces", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=17_000, help="size of a pod")
    parser.add_argument("--clients", type=int, default=200, help="that relist at once")
    parser.add_argument("--lists", type=int, default=3, help="of everything one after the other in each measurement")
    parser.add_argument("--repetitions", type=int, default=5)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
