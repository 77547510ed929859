"""The labels of namespaces as policies see them: live, and unknown rather than outdated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from proxy.upstream.cacher import CacherSettings
from proxy.upstream.cachers import Cachers
from proxy.upstream.namespace_follower import STALENESS_SECONDS, Labels, NamespaceFollower
from tests.support.fake_api_server import FakeApiServer, Feed
from tests.support.simulated_time import let_others_run, loop_time, run_simulated

Reported = dict[str, dict[str, str]] | None


def namespace(name: str, rv: int, **labels: str) -> dict[str, Any]:
    return {
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": {"name": name, "resourceVersion": str(rv), "labels": labels},
    }


class Stage:
    """A follower whose reports are kept, as an authority that looks at it again after each of them."""

    def __init__(self, server: FakeApiServer, cachers: Cachers, keys: frozenset[str] | None) -> None:
        self.server = server
        self.cachers = cachers
        self.keys = keys
        self.reports: list[Reported] = []
        self.follower = NamespaceFollower(cachers, clock=loop_time, wanted_keys=lambda: self.keys, report=self._report)

    def _report(self, labels: Labels | None) -> None:
        self.reports.append(None if labels is None else {name: dict(values) for name, values in labels.items()})
        self.follower.check()

    def use_policy(self, *keys: str) -> None:
        """Another policy takes effect, which selects by these keys; by none: which selects no namespaces."""
        self.keys = frozenset(keys) or None
        self.follower.check()

    async def listed(self, rv: int, *namespaces: dict[str, Any]) -> Feed:
        call = await self.server.next_call()
        assert (call.path, "watch" in call.query) == ("/api/v1/namespaces", False)
        call.answer_list(rv, namespaces)
        return await self.watched()

    async def watched(self) -> Feed:
        call = await self.server.next_call()
        assert call.query["watch"] == "true"
        feed = call.stream()
        await let_others_run()
        return feed

    def take(self) -> list[Reported]:
        taken, self.reports = self.reports, []
        return taken


@asynccontextmanager
async def stage(*keys: str) -> AsyncIterator[Stage]:
    server = FakeApiServer()
    async with asyncio.TaskGroup() as tasks:
        cachers = Cachers(server.client, tasks, clock=loop_time, settings=CacherSettings())
        staged = Stage(server, cachers, frozenset(keys) or None)
        following = tasks.create_task(staged.follower.run())
        await let_others_run()
        yield staged
        cachers.stop()
        following.cancel()


def test_nothing_is_followed_until_a_policy_asks_for_it() -> None:
    async def talk() -> None:
        async with stage() as staged:
            await asyncio.sleep(10)
            assert staged.server.waiting == 0
            staged.use_policy("team")
            await staged.listed(10, namespace("x", 5, team="a"))
            assert staged.take() == [{"x": {"team": "a"}}]

    run_simulated(talk())


def test_labels_that_a_policy_looks_at_are_reported_as_they_change() -> None:
    async def talk() -> None:
        async with stage("team") as staged:
            feed = await staged.listed(10, namespace("x", 5, team="a"))
            staged.take()
            await feed.send_events(("MODIFIED", namespace("x", 11, team="b")))
            assert staged.take() == [{"x": {"team": "b"}}]
            await feed.send_events(("ADDED", namespace("y", 12)), ("DELETED", namespace("x", 13, team="b")))
            assert staged.take() == [{"x": {"team": "b"}, "y": {}}, {"y": {}}]

    run_simulated(talk())


def test_other_labels_are_not_worth_a_report() -> None:
    async def talk() -> None:
        async with stage("team") as staged:
            feed = await staged.listed(10, namespace("x", 5, team="a"))
            staged.take()
            await feed.send_events(("MODIFIED", namespace("x", 11, team="a", other="1")))
            await asyncio.sleep(5)
            assert staged.take() == []

    run_simulated(talk())


def test_a_policy_that_looks_at_other_labels_is_told_what_they_are_now() -> None:
    async def talk() -> None:
        async with stage("team") as staged:
            feed = await staged.listed(10, namespace("x", 5, team="a", stage="test"))
            await feed.send_events(("MODIFIED", namespace("x", 11, team="a", stage="live")))
            staged.take()
            staged.use_policy("stage")
            assert staged.take() == [{"x": {"team": "a", "stage": "live"}}]

    run_simulated(talk())


def test_a_policy_that_looks_at_labels_again_is_told_what_they_are_now() -> None:
    async def talk() -> None:
        async with stage("team") as staged:
            feed = await staged.listed(10, namespace("x", 5, team="a"))
            staged.use_policy()
            await feed.send_events(("MODIFIED", namespace("x", 11, team="b")))
            staged.take()
            staged.use_policy("team")
            assert staged.take()[-1:] == [{"x": {"team": "b"}}]

    run_simulated(talk())


def test_what_no_policy_asks_for_any_more_is_not_followed_any_more() -> None:
    async def talk() -> None:
        async with stage("team") as staged:
            await staged.listed(10, namespace("x", 5, team="a"))
            (cacher,) = staged.cachers
            assert not cacher.is_idle
            staged.take()
            staged.use_policy()
            assert cacher.is_idle
            assert staged.take() == [None]
            await asyncio.sleep(5)
            assert staged.take() == []
            staged.use_policy("team")
            assert (cacher.is_idle, staged.take()) == (False, [{"x": {"team": "a"}}])

    run_simulated(talk())


def test_a_policy_that_selects_every_namespace_is_told_which_there_are_now() -> None:
    """A selector without conditions names no key, and still depends on the namespaces that exist."""

    async def talk() -> None:
        async with stage("team") as staged:
            feed = await staged.listed(10, namespace("x", 5))
            staged.use_policy()
            await feed.send_events(("ADDED", namespace("y", 11)))
            staged.take()
            staged.keys = frozenset()
            staged.follower.check()
            assert staged.take()[-1:] == [{"x": {}, "y": {}}]

    run_simulated(talk())


def test_labels_are_unknown_once_nobody_has_vouched_for_them_in_a_while() -> None:
    async def talk() -> None:
        async with stage("team") as staged:
            feed = await staged.listed(10, namespace("x", 5, team="a"))
            staged.take()
            await asyncio.sleep(STALENESS_SECONDS - 1)
            assert staged.take() == []
            await asyncio.sleep(3)
            assert staged.take() == [None]
            await feed.send_events(("BOOKMARK", namespace("", 20)))
            await asyncio.sleep(2)
            assert staged.take() == [{"x": {"team": "a"}}]

    run_simulated(talk())


def test_labels_stay_known_while_upstream_says_that_nothing_changes() -> None:
    async def talk() -> None:
        async with stage("team") as staged:
            feed = await staged.listed(10, namespace("x", 5, team="a"))
            staged.take()
            for rv in range(11, 16):
                await asyncio.sleep(60)
                await feed.send_events(("BOOKMARK", namespace("", rv)))
            assert staged.take() == []

    run_simulated(talk())


def test_labels_are_unknown_when_their_cacher_is_lost_and_it_is_begun_anew_once() -> None:
    async def talk() -> None:
        async with stage("team") as staged:
            feed = await staged.listed(10, namespace("x", 5, team="a"))
            staged.take()
            staged.cachers.stop()
            await asyncio.sleep(2)
            assert staged.take() == [None]
            feed = await staged.listed(20, namespace("x", 5, team="c"))
            assert staged.take() == [{"x": {"team": "c"}}]
            await feed.send_events(("ADDED", namespace("y", 21)))
            assert len(staged.take()) == 1, "one report a change: it is observed once"

    run_simulated(talk())


def test_labels_are_unknown_until_the_first_list() -> None:
    async def talk() -> None:
        async with stage("team") as staged:
            (await staged.server.next_call()).fail(httpx.ConnectError("refused"))
            await asyncio.sleep(0.05)
            assert staged.take() == []
            await staged.listed(10)
            assert staged.take() == [{}]

    run_simulated(talk())
