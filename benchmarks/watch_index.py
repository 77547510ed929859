"""The index of views: an event that concerns one watcher, among few watchers and among many.

Every watcher follows pods across the cluster and has a scope of its own: its node, by the field selector of a policy
with a capture, or its namespace. A few pods are updated in turn; each is seen by exactly one watcher.

Run: `python -m benchmarks.watch_index`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.support.fleet import Fleet, Watcher
from benchmarks.support.report import Figure, Report, RowResult
from benchmarks.support.stage import WATCHKEEPER, Policies, Stage, cluster_role, cluster_role_binding, stage
from benchmarks.support.writer import Writer, marked_pod
from tests.support.identities import Identity

QUICK = "--few 3 --many 20 --busy 2 --warm-up 4 --updates 10 --repetitions 1"
"""The smallest run that still does everything; its figures mean nothing."""

MINUTES = 3.5
"""What it takes on a quiet machine with two cores."""

COLLECTION = "/api/v1/pods"
KINDS = ("node", "namespace")

POLICIES: Policies = {
    "node.yaml": [
        cluster_role("own-node", "pods", group=WATCHKEEPER, fieldSelector="spec.nodeName=${node}"),
        cluster_role_binding("own-node", "own-node", ("User", "node:{node}"), group=WATCHKEEPER),
    ],
    "namespace.yaml": [
        cluster_role("reader", "pods"),
        cluster_role_binding("own-namespace", "reader", ("User", "namespace:{namespace}"), namespaces=["${namespace}"]),
    ],
}


def run(arguments: Sequence[str]) -> RowResult:
    """Prints the proxy's CPU per event for each kind of scope, with few and many watchers, and the ratios."""
    options = _options(arguments)
    report = Report("watch_index", vars(options))
    users = {kind: [_user(kind, number) for number in range(options.many)] for kind in KINDS}
    with stage(POLICIES, tokens=[user for each in users.values() for user in each]) as processes:
        busy = []
        for number in range(options.busy):
            processes.cluster.create_namespace(_own("namespace", number))
            pod = marked_pod(f"pod-{number}", _own("namespace", number), _own("node", number))
            busy.append(processes.create(pod))
        with processes.writer(busy) as writer:
            for kind in KINDS:
                few: list[float] = []
                many: list[float] = []
                for repetition in range(options.repetitions):
                    sizes = [(options.few, few), (options.many, many)]
                    for size, results in sizes if repetition % 2 == 0 else reversed(sizes):
                        results.append(_measure(processes, writer, users[kind][:size], options))
                report.figure(f"proxy CPU per event, own {kind}, {options.few} watchers", Figure(few), "µs")
                report.figure(f"proxy CPU per event, own {kind}, {options.many} watchers", Figure(many), "µs")
                report.ratio(f"own {kind}, many to few", Figure(many), Figure(few), bar=1.3)
    return report.result


def _measure(processes: Stage, writer: Writer, users: Sequence[Identity], options: argparse.Namespace) -> float:
    watchers = [
        Watcher(path=COLLECTION, object=f"pod-{number}" if number < options.busy else "", token=user.token or "")
        for number, user in enumerate(users)
    ]
    with Fleet(processes.proxy.url, processes.cluster.ca_file, watchers) as fleet:
        writer.write(options.warm_up, per_second=options.rate)
        fleet.settle(writer.expected())
        fleet.reset()
        before = processes.cpu()
        writer.write(options.updates, per_second=options.rate)
        delivery = fleet.settle(writer.expected())
        return (processes.cpu() - before).proxy * 1e6 / delivery.delivered


def _user(kind: str, number: int) -> Identity:
    name = f"{kind}:{_own(kind, number)}"
    return Identity(name=name, token=f"token-of-{name}")


def _own(kind: str, number: int) -> str:
    return f"{kind}-{number}"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=50, help="watchers")
    parser.add_argument("--many", type=int, default=2000, help="watchers")
    parser.add_argument("--busy", type=int, default=20, help="pods that are updated, each seen by one watcher")
    parser.add_argument("--rate", type=float, default=150, help="updates a second")
    parser.add_argument("--warm-up", type=int, default=100, help="updates before the measurement")
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--repetitions", type=int, default=3)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
