"""Many mTLS watchers of one busy object: through the proxy of several scopes, directly allowed to see everything.

Each scope is a set of namespaces of its own that holds the busy one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.support.accounting import cpu_seconds, waiting_seconds
from benchmarks.support.fleet import Fleet, Watcher
from benchmarks.support.stage import Cpu, Policies, Stage, cluster_role, cluster_role_binding
from benchmarks.support.writer import BusyObject, Writer, marked_config_map
from tests.support.identities import Identity

_COLLECTION = "/api/v1/configmaps"
_GROUP = "watchers"
_BUSY = "busy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One side, once. Times per delivered event are in µs, latencies in ms.

    `waited` is the share of the time that the clients and the proxy were ready and had no core: it makes latencies lie.
    """

    cpu: Cpu
    load_cpu: float
    delivered: int
    event_bytes: float
    updates_per_second: float
    waited: float
    p50_ms: float
    p99_ms: float

    def microseconds(self, cpu_seconds: float) -> float:
        """Per delivered event."""
        return cpu_seconds * 1e6 / self.delivered

    @property
    def served(self) -> float:
        """What the proxy and the API server used together, per event."""
        return self.microseconds(self.cpu.proxy + self.cpu.kube_apiserver)


def users_of(scopes: int) -> Sequence[Identity]:
    """A user for each scope."""
    return [Identity(name=f"user-{number}", groups=(_GROUP,)) for number in range(scopes)]


def policies_of(users: Sequence[Identity]) -> Policies:
    """The proxy's policy for them."""
    bindings = (
        cluster_role_binding(each.name, "reader", ("User", each.name), namespaces=[_BUSY, f"of-{each.name}"])
        for each in users
    )
    return {"benchmark.yaml": [cluster_role("reader", "configmaps"), *bindings]}


def prepare(processes: Stage) -> None:
    """The namespace of busy objects, and RBAC for those who watch directly."""
    processes.cluster.create_namespace(_BUSY)
    processes.cluster.apply(cluster_role("reader", "configmaps"))
    processes.cluster.apply(cluster_role_binding("reader", "reader", ("Group", _GROUP)))


def busy_object(processes: Stage, size_bytes: int) -> BusyObject:
    """A new object of about this size. An earlier one must be deleted before."""
    return processes.create(marked_config_map("busy", _BUSY, size_bytes))


def watchers_of(
    processes: Stage, users: Sequence[Identity], busy: BusyObject, count: int, *, slow: int = 0
) -> Sequence[Watcher]:
    """So many watchers, of the users in turn; the first `slow` of them can be stopped."""
    certificates = [processes.cluster.client_certificate(each.name, each.groups) for each in users]
    return [
        Watcher(
            path=_COLLECTION,
            object=busy.name,
            cert_file=str(certificates[number % len(users)].cert_file),
            key_file=str(certificates[number % len(users)].key_file),
            slow=number < slow,
        )
        for number in range(count)
    ]


def measure(processes: Stage, fleet: Fleet, writer: Writer, *, updates: int, rate: float) -> Measured:
    """So many updates to all watchers, until the last has the last one."""
    fleet.reset()
    ready = [processes.proxy_pid, fleet.pid]
    started, waited = time.monotonic(), sum(map(waiting_seconds, ready))
    before, load_before = processes.cpu(), cpu_seconds(fleet.pid)
    reached = writer.write(updates, per_second=rate)
    delivery = fleet.settle(writer.expected())
    cpu, load_cpu = processes.cpu() - before, cpu_seconds(fleet.pid) - load_before
    return Measured(
        cpu=cpu,
        load_cpu=load_cpu,
        delivered=delivery.delivered,
        event_bytes=delivery.event_bytes,
        updates_per_second=reached,
        waited=(sum(map(waiting_seconds, ready)) - waited) / (time.monotonic() - started),
        p50_ms=delivery.latency_ms(0.5),
        p99_ms=delivery.latency_ms(0.99),
    )
