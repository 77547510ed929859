"""The longest step of the event loop, whatever one client asks for.

Everybody is served by one loop: a step that takes long holds up all of them. One caller asks for one thing after the
other that is large, deep or wide, and a monitor in the proxy's process tells how much CPU the loop used without a break
meanwhile, and where (`benchmarks/support/loop_monitor.py` says how, and how exactly). Beside it: nothing is asked.

Run: `python -m benchmarks.loop_steps`
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.support.loop_monitor import TOLD_FROM_MS
from benchmarks.support.pods import PODS, fill, namespace
from benchmarks.support.report import Figure, Report, RowResult
from benchmarks.support.stage import RBAC, WATCHKEEPER, Stage, stage
from tests.support.identities import Identity
from tests.support.manifests import config_map
from tests.support.realkube import PROXY_RULES

QUICK = "--pods 60 --namespaces 3 --repetitions 1"
"""The smallest run that still does everything; its figures mean nothing."""

MINUTES = 2.5
"""What it takes on a quiet machine with two cores."""

CALLER = Identity(name="caller")
CONFIG_MAPS = f"/api/v1/namespaces/{namespace(0)}/configmaps"
REVIEWS = "/apis/authorization.k8s.io/v1"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

_MEBIBYTE = 1024 * 1024
_REQUEST_SECONDS = 120.0
_PAGES = 30
_SETTLE_SECONDS = 0.2  # the last step is told of
_IDLE_SECONDS = 3.0

Ask = Callable[[httpx.Client], None]


def run(arguments: Sequence[str]) -> RowResult:
    """Prints the longest step of each question, and the longest of all with its place."""
    options = _options(arguments)
    report = Report("loop_steps", vars(options))
    longest: dict[str, list[float]] = {}
    places: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="watchkeeper-steps-") as directory:
        steps = Path(directory) / "steps"
        command = (sys.executable, "-m", "benchmarks.support.loop_monitor", str(steps))
        with stage({"benchmark.yaml": _policy()}, command=command) as processes:
            fill(processes, pods=options.pods, namespaces=options.namespaces, size_bytes=options.bytes)
            _allow_writes(processes)
            with processes.proxy.client(CALLER, timeout=httpx.Timeout(_REQUEST_SECONDS)) as client:
                for _ in range(options.repetitions):
                    for name, ask in _questions(options.pods).items():
                        told = steps.stat().st_size
                        ask(client)
                        time.sleep(_SETTLE_SECONDS)
                        step = max(_steps(steps, told), default=(TOLD_FROM_MS, ""))
                        longest.setdefault(name, []).append(step[0])
                        if step[0] >= max(longest[name]):
                            places[name] = step[1]
    for name, values in longest.items():
        report.figure(f"longest step, {name}", Figure(values), "ms of CPU", places[name])
    worst = max(longest, key=lambda name: Figure(longest[name]).median)
    report.limit(f"longest step of all: {worst}", Figure(longest[worst]), "ms", bar=50)
    return report.result


def _policy() -> Sequence[Mapping[str, Any]]:
    """The caller sees every pod, by a glob, so that it is served filtered; and may write ConfigMaps."""
    reads = {"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["get", "list", "watch", "create"]}
    return (
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "reader"},
            "rules": [reads, {"apiGroups": ["authorization.k8s.io"], "resources": ["*"], "verbs": ["create"]}],
        },
        {
            "apiVersion": f"{WATCHKEEPER}/v1alpha1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "globbed"},
            "namespaces": ["team-*"],
            "subjects": [{"kind": "User", "apiGroup": RBAC, "name": CALLER.name}],
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "reader"},
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "reviews"},
            "subjects": [{"kind": "User", "apiGroup": RBAC, "name": CALLER.name}],
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "reviewer"},
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "reviewer"},
            "rules": [{"apiGroups": ["authorization.k8s.io"], "resources": ["*"], "verbs": ["create"]}],
        },
    )


def _allow_writes(processes: Stage) -> None:
    cluster = processes.cluster
    impersonate = {"apiGroups": [""], "resources": ["users", "groups"], "verbs": ["impersonate"]}
    cluster.grant(cluster.proxy_identity, [*PROXY_RULES, impersonate])
    cluster.grant(CALLER, [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}])
    cluster.create(config_map("large", namespace(0), data={f"key-{n}": "x" * 1000 for n in range(1000)}))


def _questions(pods: int) -> Mapping[str, Ask]:
    """What one client asks, by name. `pods` are those it sees."""
    values = ",".join(f"v{n}" for n in range(1400))  # with its escapes just under the limit of a target
    terms = ",".join(f"l{n}!=v" for n in range(900))
    deep = b"[" * _MEBIBYTE + b"]" * _MEBIBYTE
    nested = b'{"a":' * 9_000 + b"1" + b"}" * 9_000
    groups = [f"group-{n}" for n in range(15_000)]
    large = json.dumps(config_map("new", namespace(0), data={"key": "x" * (3 * _MEBIBYTE - 1000)})).encode()
    wide = json.dumps(config_map("new", namespace(0), data={f"k{n}": "v" for n in range(150_000)})).encode()
    access = {"spec": {"user": "u", "groups": groups, "resourceAttributes": {"verb": "list", "resource": "pods"}}}
    return {
        "nothing": lambda client: time.sleep(_IDLE_SECONDS),
        "list": _get(PODS),
        "list, pretty": _get(f"{PODS}?pretty=1"),
        "list from the cache": _get(f"{PODS}?resourceVersion=0"),
        "list from the cache, pretty": _get(f"{PODS}?resourceVersion=0&pretty=true"),
        "list as Table": _get(PODS, TABLE),
        "list as Table from the cache": _get(f"{PODS}?resourceVersion=0", TABLE),
        "list as Table with objects": _get(f"{PODS}?includeObject=Object", TABLE),
        "list as metadata": _get(PODS, METADATA),
        "list, 1,400 label values": _get(f"{PODS}?labelSelector=half%20notin%20({values})"),
        "list from the cache, 1,400 label values": _get(
            f"{PODS}?resourceVersion=0&labelSelector=half%20notin%20({values})"
        ),
        "list from the cache, 900 label terms": _get(f"{PODS}?resourceVersion=0&labelSelector={terms}"),
        "list by pages of one": _pages,
        "watch with initial events": _watch(f"{PODS}?watch=1{_INITIAL_EVENTS}", pods),
        "watch with initial events, pretty": _watch(f"{PODS}?watch=1&pretty=1{_INITIAL_EVENTS}", pods),
        "watch as Table with initial events": _watch(f"{PODS}?watch=1{_INITIAL_EVENTS}", pods, TABLE),
        "watch with initial events, 900 label terms": _watch(
            f"{PODS}?watch=1&labelSelector={terms}{_INITIAL_EVENTS}", pods
        ),
        "get of 1 MB, pretty": _get(f"{CONFIG_MAPS}/large?pretty=1"),
        "create of 3 MiB": _post(f"{CONFIG_MAPS}?dryRun=All", large),
        "create of 150,000 keys, pretty": _post(f"{CONFIG_MAPS}?dryRun=All&pretty=1", wide),
        "create of deep JSON": _post(f"{CONFIG_MAPS}?dryRun=All", deep),
        "review of deep JSON": _post(f"{REVIEWS}/selfsubjectaccessreviews", deep[: 200 * 1024]),
        "review of nested objects": _post(f"{REVIEWS}/selfsubjectaccessreviews", nested),
        "review of 15,000 groups": _post(f"{REVIEWS}/subjectaccessreviews", json.dumps(access).encode()),
        "rules review": _post(
            f"{REVIEWS}/selfsubjectrulesreviews", json.dumps({"spec": {"namespace": namespace(0)}}).encode()
        ),
    }


_INITIAL_EVENTS = "&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"


def _get(target: str, accept: str = "application/json") -> Ask:
    def ask(client: httpx.Client) -> None:
        with client.stream("GET", target, headers={"accept": accept}) as answer:
            for _ in answer.iter_raw():
                pass
            answer.raise_for_status()

    return ask


def _post(target: str, body: bytes) -> Ask:
    """Whatever the answer is: many of these must be refused."""

    def ask(client: httpx.Client) -> None:
        client.post(target, content=body, headers={"content-type": "application/json"})

    return ask


def _watch(target: str, events: int, accept: str = "application/json") -> Ask:
    """Reads so many initial events."""

    def ask(client: httpx.Client) -> None:
        seen = 0
        with client.stream("GET", target, headers={"accept": accept}) as answer:
            if answer.is_error:
                raise SystemExit(f"{target[:80]}: {answer.status_code} {answer.read()[:500]!r}")
            for data in answer.iter_raw():
                seen += data.count(b"\n")
                if seen >= events:
                    return
        raise SystemExit(f"{target[:80]}: the watch ended after {seen} events")

    return ask


def _pages(client: httpx.Client) -> None:
    token = ""
    for _ in range(_PAGES):
        answer = client.get(PODS, params={"limit": "1", "continue": token})
        token = answer.raise_for_status().json()["metadata"]["continue"]


def _steps(file: Path, begun: int) -> Iterator[tuple[float, str]]:
    """The turns that were told of since the file was so long."""
    with file.open("rb") as lines:
        lines.seek(begun)
        for line in lines:
            told = json.loads(line)
            yield told["cpu_ms"], told["where"]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--namespaces", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=17_000, help="size of a pod")
    parser.add_argument("--repetitions", type=int, default=3)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
