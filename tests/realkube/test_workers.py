"""`--workers 2`: two processes on one port serve as one."""

import os
import secrets
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.identities import Identity
from tests.support.manifests import Manifest, config_map, role, role_binding
from tests.support.polling import poll
from tests.support.processes import log_tail
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.watching import WatchEvent, WatchStream

SEEN, LATER = "workers-seen", "workers-later"
VIEWER = Identity(name="viewer")
CONFIG_MAPS = "/api/v1/configmaps"
READS = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]
POLICY: list[Manifest] = [role("viewer", READS, SEEN), role_binding("viewer", user="viewer", namespace=SEEN)]
WIDER: list[Manifest] = [*POLICY, role("viewer", READS, LATER), role_binding("viewer", user="viewer", namespace=LATER)]
WATCHERS = 24
"""Connections are spread by a hash of their ports: all of so many go to one worker once in 8 million times."""
WAIT_SECONDS = 20.0


class Workers:
    """The two processes behind a proxy."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self._proxy = proxy

    def pids(self) -> set[int]:
        """Those that listen."""
        children = Path(f"/proc/{self._proxy.pid}/task/{self._proxy.pid}/children").read_text().split()
        return {int(pid) for pid in children}

    def wait_until_serving(self, times: int) -> None:
        """Returns when workers have begun to serve so often."""
        poll(
            lambda: self._proxy.log.read_text().count("serving on https") >= times,
            timeout_seconds=WAIT_SECONDS,
            failure=lambda: log_tail(self._proxy.log),
        )

    def connections(self, pid: int) -> int:
        """Sockets that the process holds."""
        links = Path(f"/proc/{pid}/fd").iterdir()
        return sum(str(link.readlink()).startswith("socket:") for link in links if link.is_symlink())


@pytest.fixture(scope="module")
def namespaces(real_cluster: RealCluster) -> Iterator[None]:
    for namespace in (SEEN, LATER):
        real_cluster.create_namespace(namespace)
        for number in range(5):
            real_cluster.create(config_map(f"first-{number}", namespace, data={"n": str(number)}))
    yield
    for namespace in (SEEN, LATER):
        real_cluster.delete_namespace(namespace)


@pytest.fixture
def proxy(real_cluster: RealCluster, namespaces: None, tmp_path: Path) -> Iterator[ProxyProcess]:
    flags = ("--workers", "2", "--audit-log-path", str(tmp_path / "audit.log"))
    with ProxyProcess(real_cluster, tmp_path / "proxy", {"p.yaml": POLICY}, flags=flags) as process:
        Workers(process).wait_until_serving(2)
        yield process


def open_watches(proxy: ProxyProcess, stack: ExitStack, rv: str) -> Sequence[WatchStream]:
    """Each on a connection of its own."""
    streams = []
    for _ in range(WATCHERS):
        client = stack.enter_context(proxy.client(VIEWER))
        streams.append(stack.enter_context(WatchStream(client, CONFIG_MAPS, {"resourceVersion": rv})))
    return streams


def listed_rv(proxy: ProxyProcess, cluster: RealCluster) -> str:
    """Of a list after both workers have read the resource, and it moved on: from then on each knows what was shown."""
    for _ in range(WATCHERS):
        list_of(proxy)
    create(cluster, f"moved-{secrets.token_hex(4)}")
    rv: str = list_of(proxy)["metadata"]["resourceVersion"]
    return rv


def list_of(proxy: ProxyProcess, **parameters: str) -> Any:
    """A list on a connection of its own."""
    with proxy.client(VIEWER) as client:
        return client.get(CONFIG_MAPS, params=parameters).raise_for_status().json()


def is_about(name: str) -> Callable[[WatchEvent], bool]:
    return lambda event: name_of(event) == name


def name_of(event: WatchEvent) -> str | None:
    name: str | None = event["object"]["metadata"].get("name")
    return name


def names(stream: WatchStream) -> list[str | None]:
    return [name_of(event) for event in stream.events if event["type"] != "BOOKMARK"]


def create(cluster: RealCluster, name: str, namespace: str = SEEN) -> None:
    cluster.create(config_map(name, namespace, data={}))


def test_watchers_are_spread_over_both_workers_and_all_see_the_same(
    proxy: ProxyProcess, real_cluster: RealCluster
) -> None:
    workers = Workers(proxy)
    idle = {pid: workers.connections(pid) for pid in workers.pids()}
    with ExitStack() as stack:
        streams = open_watches(proxy, stack, listed_rv(proxy, real_cluster))
        held = {pid: workers.connections(pid) - idle[pid] for pid in idle}
        assert len(held) == 2
        assert all(count > 0 for count in held.values()), held
        for number in range(5):
            create(real_cluster, f"spread-{number}")
            create(real_cluster, f"hidden-{number}", LATER)
        for stream in streams:
            stream.take_until(is_about("spread-4"))
            assert names(stream) == [f"spread-{number}" for number in range(5)]


def test_a_list_is_paged_over_both_workers(proxy: ProxyProcess, real_cluster: RealCluster) -> None:
    for number in range(WATCHERS):
        create(real_cluster, f"page-{number:02}")
    whole = [item["metadata"]["name"] for item in list_of(proxy)["items"]]
    paged: list[str] = []
    page = list_of(proxy, limit="1")
    while token := page["metadata"].get("continue"):
        paged += [item["metadata"]["name"] for item in page["items"]]
        page = list_of(proxy, **{"limit": "1", "continue": token})
    assert [*paged, page["items"][0]["metadata"]["name"]] == whole


def test_a_new_policy_reaches_both_workers(proxy: ProxyProcess, real_cluster: RealCluster) -> None:
    with ExitStack() as stack:
        streams = open_watches(proxy, stack, listed_rv(proxy, real_cluster))
        proxy.write_policies({"p.yaml": WIDER})
        for stream in streams:
            assert stream.wait_ended(timeout=WAIT_SECONDS) is None
    poll(
        lambda: all(sees_both(proxy) for _ in range(WATCHERS)),
        timeout_seconds=WAIT_SECONDS,
        failure=lambda: log_tail(proxy.log),
    )


def sees_both(proxy: ProxyProcess) -> bool:
    return {item["metadata"]["namespace"] for item in list_of(proxy)["items"]} >= {SEEN, LATER}


def test_what_was_listed_before_a_new_policy_is_resumed_at_no_worker(
    proxy: ProxyProcess, real_cluster: RealCluster
) -> None:
    rv = listed_rv(proxy, real_cluster)
    proxy.write_policies({"p.yaml": WIDER})
    for _ in range(WATCHERS):
        with proxy.client(VIEWER) as client:
            with WatchStream(client, CONFIG_MAPS, {"resourceVersion": rv}) as stream:
                (event,) = stream.take_until(lambda event: True)
                assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_a_killed_worker_is_started_anew_and_no_client_that_resumes_has_lost_anything(
    proxy: ProxyProcess, real_cluster: RealCluster
) -> None:
    workers = Workers(proxy)
    with ExitStack() as stack:
        streams = open_watches(proxy, stack, listed_rv(proxy, real_cluster))
        create(real_cluster, "before")
        for stream in streams:
            stream.take_until(is_about("before"))
        victim, other = sorted(workers.pids())
        os.kill(victim, signal.SIGKILL)
        create(real_cluster, "meanwhile")
        workers.wait_until_serving(3)
        create(real_cluster, "after")
        broken = 0
        for stream in streams:
            try:
                stream.take_until(is_about("after"))
            except EOFError:
                broken += 1
                assert resumed(proxy, stack, stream) >= {"before", "meanwhile", "after"}
            else:
                assert names(stream) == ["before", "meanwhile", "after"]
        assert 0 < broken < WATCHERS
        assert other in workers.pids()
        assert len(workers.pids() - {victim}) == 2


def resumed(proxy: ProxyProcess, stack: ExitStack, ended: WatchStream) -> set[str | None]:
    """All a client has seen once it has gone on where it was, or has listed because it was told to."""
    seen = {"resourceVersion": ended.events[-1]["object"]["metadata"]["resourceVersion"]}
    stream = stack.enter_context(WatchStream(stack.enter_context(proxy.client(VIEWER)), CONFIG_MAPS, seen))
    events = stream.take_until(lambda event: event["type"] == "ERROR" or name_of(event) == "after")
    if events[-1]["type"] == "ERROR":
        assert events[-1]["object"]["code"] == 410
        return {item["metadata"]["name"] for item in list_of(proxy)["items"]}
    return {*names(ended), *names(stream)}


def test_a_worker_that_finds_a_bad_policy_when_it_is_started_anew_is_tried_again_and_the_other_serves(
    proxy: ProxyProcess,
) -> None:
    workers = Workers(proxy)
    bad = proxy.policies / "bad.yaml"
    bad.write_text("kind: [")
    os.kill(min(workers.pids()), signal.SIGKILL)
    poll(
        lambda: proxy.log.read_text().count("started anew") >= 2,
        timeout_seconds=WAIT_SECONDS,
        failure=lambda: log_tail(proxy.log),
    )
    assert list_of(proxy)["items"]
    bad.unlink()
    workers.wait_until_serving(3)
    assert len(workers.pids()) == 2


def test_both_workers_drain_and_the_status_is_0(proxy: ProxyProcess, real_cluster: RealCluster) -> None:
    pids = Workers(proxy).pids()
    with ExitStack() as stack:
        streams = open_watches(proxy, stack, listed_rv(proxy, real_cluster))
        proxy.signal(signal.SIGTERM)
        for stream in streams:
            assert stream.wait_ended(timeout=WAIT_SECONDS) is None
    assert proxy.wait_ended() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_workers_do_not_outlive_the_process_that_started_them(proxy: ProxyProcess) -> None:
    pids = Workers(proxy).pids()
    proxy.signal(signal.SIGKILL)
    proxy.wait_ended()
    poll(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids),
        timeout_seconds=WAIT_SECONDS,
        failure=lambda: log_tail(proxy.log),
    )
