"""The discovery cache: when it asks, what it keeps, and that nobody can make it ask without end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence

import httpx
import pytest

from proxy.api.groups import GroupVersionResource
from proxy.api.status import ServiceUnavailable
from proxy.upstream.discovery import MIN_REFRESH_INTERVAL_SECONDS, REFRESH_SECONDS, DiscoveryCache
from proxy.upstream.errors import UpstreamUnavailable
from proxy.upstream.response import UpstreamResponse
from tests.support.scripted_upstream import until

pytestmark = pytest.mark.anyio

PODS = GroupVersionResource("", "v1", "pods")
WIDGETS = GroupVersionResource("example.com", "v1", "widgets")
V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class ManualClock:
    """Time passes only when somebody sleeps. A sleep of nothing does not even yield."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.slept.append(seconds)
            self.now += seconds
            await asyncio.sleep(0)
            self.on_sleep()


class FakeApiServer:
    """Serves `groups` ({group: [resource]}) in one of the two forms; `failing` paths give 503, `down` gives nothing."""

    def __init__(self, *, aggregated: bool = True) -> None:
        self.aggregated = aggregated
        self.groups: dict[str, list[str]] = {"": ["pods"]}
        self.failing: set[str] = set()
        self.down = False
        self.answers_garbage = False
        self.asked: list[str] = []
        self.not_modified = 0
        self.hold: asyncio.Event | None = None

    async def get(
        self,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        *,
        accept: str = "application/json",
        headers: Sequence[tuple[str, str]] = (),
        max_body_bytes: int,
        timeout_seconds: float = 60.0,
    ) -> UpstreamResponse:
        self.asked.append(path)
        groups = {group: list(resources) for group, resources in self.groups.items()}  # as of when it was asked
        await asyncio.sleep(0)
        if self.hold is not None:
            await self.hold.wait()
        if self.down:
            raise UpstreamUnavailable("the API server cannot be reached: connection refused")
        if self.answers_garbage:
            return _response(200, "<html>", {})
        if path in self.failing:
            return _response(503, "", {})
        if path not in ("/api", "/apis"):
            _, _, group = path.removesuffix("/v1").rpartition("/")
            resources = groups.get("" if group == "api" else group)
            return _response(404, "", {}) if resources is None else _response(200, _legacy_resources(resources), {})
        shown = {group: names for group, names in groups.items() if (path == "/api") == (group == "")}
        if not (self.aggregated and "apidiscovery.k8s.io" in accept):
            return _response(200, _legacy_root(path, list(shown)), {})
        body = _aggregated(shown)
        etag = f'"{hash(body)}"'
        if ("If-None-Match", etag) in headers:
            self.not_modified += 1
            return _response(304, "", {"ETag": etag})
        return _response(200, body, {"Content-Type": V2, "ETag": etag})


def _response(status: int, body: str, headers: dict[str, str]) -> UpstreamResponse:
    return UpstreamResponse(status=status, raw_headers=httpx.Headers(headers).raw, body=body.encode())


def _aggregated(groups: dict[str, list[str]]) -> str:
    def resource(name: str) -> dict[str, object]:
        status = {"subresource": "status", "responseKind": {"kind": name}, "verbs": ["get"]}
        body: dict[str, object] = {"resource": name, "scope": "Namespaced", "verbs": ["get"], "subresources": [status]}
        return {**body, "responseKind": {"kind": name}}

    items = [
        {"metadata": {"name": group}, "versions": [{"version": "v1", "resources": [resource(name) for name in names]}]}
        for group, names in groups.items()
    ]
    return json.dumps({"items": items})


def _legacy_root(path: str, groups: list[str]) -> str:
    if path == "/api":
        return json.dumps({"versions": ["v1"]})
    return json.dumps({"groups": [{"name": group, "versions": [{"version": "v1"}]} for group in groups]})


def _legacy_resources(names: list[str]) -> str:
    return json.dumps({"resources": [{"name": n, "namespaced": True, "kind": n, "verbs": ["get"]} for n in names]})


@pytest.fixture
def server() -> FakeApiServer:
    return FakeApiServer()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cache(server: FakeApiServer, clock: ManualClock) -> DiscoveryCache:
    return DiscoveryCache(server, clock)


async def test_a_known_resource_costs_no_request(cache: DiscoveryCache, server: FakeApiServer) -> None:
    await cache.refresh()
    asked = len(server.asked)
    for _ in range(5):
        assert (found := await cache.resource(PODS)) is not None
        assert found.kind == "pods"
        assert await cache.subresource(PODS, "status") is not None
    assert len(server.asked) == asked


async def test_the_first_question_fetches_the_catalog(cache: DiscoveryCache) -> None:
    assert cache.catalog.resource(PODS) is None
    assert await cache.resource(PODS) is not None
    assert cache.catalog.resource(PODS) is not None


async def test_a_resource_created_since_the_last_refresh_is_found(cache: DiscoveryCache, server: FakeApiServer) -> None:
    await cache.refresh()
    server.groups["example.com"] = ["widgets"]
    assert await cache.resource(WIDGETS) is not None


async def test_a_resource_created_while_a_refresh_is_under_way_is_found(
    cache: DiscoveryCache, server: FakeApiServer
) -> None:
    """A refresh that was sent before the question cannot say that a resource does not exist."""
    server.hold = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        under_way = tasks.create_task(cache.refresh())
        await until(lambda: server.asked == ["/api"])
        server.hold.set()
        await until(lambda: len(server.asked) == 2)
        server.groups["example.com"] = ["widgets"]
        assert await cache.resource(WIDGETS) is not None
        assert under_way.done()


async def test_nonsense_is_asked_for_once_a_second_however_many_ask(
    cache: DiscoveryCache, server: FakeApiServer, clock: ManualClock
) -> None:
    await cache.refresh()
    server.asked.clear()
    for _ in range(3):
        names = [GroupVersionResource("x", "v1", f"nonsense-{number}") for number in range(100)]
        async with asyncio.TaskGroup() as tasks:
            lookups = [tasks.create_task(cache.resource(gvr)) for gvr in names]
        assert [lookup.result() for lookup in lookups] == [None] * 100
    # Those who asked before the first of a hundred was served share its refresh; a straggler may need the next one.
    assert len(server.asked) <= 2 * 2 * 3
    assert set(clock.slept) == {MIN_REFRESH_INTERVAL_SECONDS}
    assert len(clock.slept) == len(server.asked) // 2


async def test_a_waiter_takes_over_when_the_one_that_refreshes_is_cancelled(
    cache: DiscoveryCache, server: FakeApiServer
) -> None:
    server.hold = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(cache.resource(PODS))
        second = tasks.create_task(cache.resource(PODS))
        await until(lambda: server.asked != [])
        first.cancel()
        server.hold.set()
    assert first.cancelled()
    assert second.result() is not None


async def test_an_unchanged_document_is_not_sent_again(cache: DiscoveryCache, server: FakeApiServer) -> None:
    await cache.refresh()
    before = cache.catalog
    await cache.refresh()
    assert cache.catalog == before
    assert server.not_modified == 2


async def test_removed_resources_are_told_after_the_catalog_changed(
    cache: DiscoveryCache, server: FakeApiServer
) -> None:
    server.groups["example.com"] = ["widgets"]
    told: list[tuple[frozenset[GroupVersionResource], bool]] = []
    cache.observe_removals(lambda removed: told.append((removed, cache.catalog.resource(WIDGETS) is None)))
    await cache.refresh()
    del server.groups["example.com"]
    await cache.refresh()
    await cache.refresh()
    assert told == [(frozenset({WIDGETS}), True)]


async def test_what_is_known_stays_known_while_upstream_is_away(cache: DiscoveryCache, server: FakeApiServer) -> None:
    await cache.refresh()
    server.down = True
    with pytest.raises(ServiceUnavailable):
        await cache.refresh()
    assert await cache.resource(PODS) is not None
    with pytest.raises(ServiceUnavailable, match="connection refused"):
        await cache.resource(WIDGETS)
    server.down = False
    assert await cache.resource(WIDGETS) is None


@pytest.mark.parametrize("path", ["/api", "/apis"])
async def test_half_of_discovery_is_no_discovery(cache: DiscoveryCache, server: FakeApiServer, path: str) -> None:
    await cache.refresh()
    server.failing.add(path)
    with pytest.raises(ServiceUnavailable):
        await cache.refresh()
    assert cache.catalog.resource(PODS) is not None


async def test_garbage_is_no_discovery(cache: DiscoveryCache, server: FakeApiServer) -> None:
    await cache.refresh()
    server.answers_garbage = True
    with pytest.raises(ServiceUnavailable, match="cannot be read"):
        await cache.refresh()
    assert cache.catalog.resource(PODS) is not None


async def test_a_server_without_aggregated_discovery_is_asked_version_by_version(clock: ManualClock) -> None:
    server = FakeApiServer(aggregated=False)
    server.groups["example.com"] = ["widgets"]
    cache = DiscoveryCache(server, clock)
    assert await cache.resource(PODS) is not None
    assert await cache.resource(WIDGETS) is not None
    assert sorted(server.asked) == ["/api", "/api/v1", "/apis", "/apis/example.com/v1"]


async def test_a_failing_group_takes_no_other_along_and_keeps_what_was_known(clock: ManualClock) -> None:
    server = FakeApiServer(aggregated=False)
    server.groups["example.com"] = ["widgets"]
    cache = DiscoveryCache(server, clock)
    await cache.refresh()
    server.failing.add("/apis/example.com/v1")
    server.groups[""].append("nodes")
    await cache.refresh()
    assert await cache.resource(WIDGETS) is not None
    assert await cache.resource(GroupVersionResource("", "v1", "nodes")) is not None


async def test_an_unknown_resource_of_a_group_that_fails_is_not_called_absent(clock: ManualClock) -> None:
    server = FakeApiServer(aggregated=False)
    server.groups["example.com"] = ["widgets"]
    server.failing.add("/apis/example.com/v1")
    cache = DiscoveryCache(server, clock)
    assert await cache.resource(PODS) is not None
    with pytest.raises(ServiceUnavailable, match=r"example\.com/v1"):
        await cache.resource(WIDGETS)


async def test_run_refreshes_for_ever_through_failures(
    cache: DiscoveryCache, server: FakeApiServer, clock: ManualClock
) -> None:
    """First upstream is away, then it is back with a new group: both rounds happen, half a minute apart."""

    class Enough(Exception):
        pass

    def between_rounds() -> None:
        server.down = len(clock.slept) == 1
        server.groups["example.com"] = ["widgets"]
        if len(clock.slept) == 3:
            raise Enough

    clock.on_sleep = between_rounds
    with pytest.raises(Enough):
        await cache.run()
    assert clock.slept == [REFRESH_SECONDS] * 3
    assert cache.catalog.resource(WIDGETS) is not None


async def test_a_refresh_that_is_asked_for_does_not_wait_for_the_next_round(
    cache: DiscoveryCache, server: FakeApiServer
) -> None:
    server.groups["example.com"] = ["widgets"]
    await cache.refresh()
    del server.groups["example.com"]
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(cache.run_when_asked())
        cache.ask()
        await until(lambda: cache.catalog.resource(WIDGETS) is None)
        server.down = True
        cache.ask()
        await until(lambda: server.asked[-1:] == ["/api"])
        server.down = False
        server.groups["example.com"] = ["widgets"]
        cache.ask()
        await until(lambda: cache.catalog.resource(WIDGETS) is not None)
        running.cancel()
