"""Cachers are started on demand, one for each resource and form, and ended a while after the last session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.api.status import ServiceUnavailable
from proxy.authz.scope import EVERYTHING
from proxy.authz.visibility import Visibility
from proxy.upstream.cache_budget import REMEMBERED_SECONDS, CacheFull
from proxy.upstream.cacher import Cacher, CacherSettings
from proxy.upstream.cachers import IDLE_SECONDS, Cachers
from proxy.upstream.list_reader import ReadForm
from proxy.watch.encoding import ObjectEncoder
from proxy.watch.session import EndReason, Session
from proxy.watch.view import Question
from tests.support.fake_api_server import FakeApiServer
from tests.support.simulated_time import let_others_run, loop_time, run_simulated
from tests.support.versions import POD_PREFIX, PODS, KeepingSink, pod

ALL = Visibility(scope=EVERYTHING, namespace="", name="", namespace_is_name=False)


@asynccontextmanager
async def stage(max_bytes: int | None = None) -> AsyncIterator[tuple[FakeApiServer, Cachers]]:
    server = FakeApiServer()
    async with asyncio.TaskGroup() as tasks:
        cachers = Cachers(server.client, tasks, clock=loop_time, settings=CacherSettings(), max_bytes=max_bytes)
        reaping = tasks.create_task(cachers.run())
        yield server, cachers
        cachers.stop()
        reaping.cancel()


def join(cacher: Cacher) -> Session:
    session = Session(sink=KeepingSink(), position=0, floor="", wants_bookmarks=False, on_wake=lambda: None)
    cacher.join(session, Question(ALL, ObjectEncoder(POD_PREFIX), bytes))
    return session


async def fill(server: FakeApiServer) -> None:
    (await server.next_call()).answer_list(10)
    (await server.next_call()).stream()
    await let_others_run()


def test_there_is_one_cacher_for_each_resource_and_form() -> None:
    async def talk() -> None:
        async with stage() as (server, cachers):
            assert cachers.running(PODS, ReadForm.OBJECT) is None
            one = cachers.start(PODS, ReadForm.OBJECT)
            assert cachers.start(PODS, ReadForm.OBJECT, start_rv="3") is one
            assert cachers.running(PODS, ReadForm.OBJECT) is one
            assert cachers.start(PODS, ReadForm.TABLE) is not one
            await let_others_run()
            assert server.waiting == 2

    run_simulated(talk())


def test_a_cacher_outlives_its_last_session_for_a_while() -> None:
    async def talk() -> None:
        async with stage() as (server, cachers):
            cacher = cachers.start(PODS, ReadForm.OBJECT)
            await fill(server)
            session = join(cacher)
            await asyncio.sleep(2 * IDLE_SECONDS)
            assert not cacher.stopped
            cacher.leave(session)
            await asyncio.sleep(IDLE_SECONDS - 1)
            assert not cacher.stopped
            await asyncio.sleep(60)
            assert cacher.stopped
            assert cachers.running(PODS, ReadForm.OBJECT) is None
            assert cachers.start(PODS, ReadForm.OBJECT) is not cacher

    run_simulated(talk())


def test_the_cachers_of_a_resource_that_is_not_served_any_more_end_with_their_streams() -> None:
    async def talk() -> None:
        async with stage() as (server, cachers):
            cacher = cachers.start(PODS, ReadForm.OBJECT)
            await fill(server)
            session = join(cacher)
            cachers.remove(frozenset({PODS.gvr}))
            await let_others_run()
            assert (cacher.stopped, session.ended_because) == (True, EndReason.UPSTREAM_LOST)
            assert cachers.running(PODS, ReadForm.OBJECT) is None

    run_simulated(talk())


def test_relists_are_counted_beyond_the_end_of_their_cacher() -> None:
    """The first list of a cacher is none."""

    async def talk() -> None:
        key = (PODS.gvr, ReadForm.OBJECT)
        async with stage() as (server, cachers):
            cachers.start(PODS, ReadForm.OBJECT)
            (await server.next_call()).answer_list(10)
            watch = (await server.next_call()).stream()
            await let_others_run()
            assert cachers.relists() == {key: 0}
            await watch.send_events(("ERROR", {"kind": "Status", "code": 410}))
            await fill(server)
            assert cachers.relists() == {key: 1}
            assert [cacher.form for cacher in cachers] == [ReadForm.OBJECT]
            cachers.remove(frozenset({PODS.gvr}))
            await let_others_run()
            assert (list(cachers), cachers.relists()) == ([], {key: 1})
            cachers.start(PODS, ReadForm.OBJECT)
            await fill(server)
            assert cachers.relists() == {key: 1}

    run_simulated(talk())


LARGE = [pod("a", f"x{number}", 3, note="n" * 1000) for number in range(5)]


def test_a_cache_that_does_not_fit_ends_before_anybody_is_served_from_it() -> None:
    """Who waits for it is told; for a while it is not even begun again."""

    async def talk() -> None:
        async with stage(max_bytes=5_000) as (server, cachers):
            cacher = cachers.start(PODS, ReadForm.OBJECT)
            waiting = asyncio.ensure_future(cacher.wait_ready())
            (await server.next_call()).answer_list(10, LARGE)
            with pytest.raises(CacheFull):
                await waiting
            await let_others_run()
            assert (cacher.stopped, list(cachers), cachers.evictions, server.waiting) == (True, [], 1, 0)
            await asyncio.sleep(REMEMBERED_SECONDS - 1)
            with pytest.raises(CacheFull):
                cachers.start(PODS, ReadForm.OBJECT)
            await asyncio.sleep(1)
            cachers.start(PODS, ReadForm.OBJECT)

    run_simulated(talk())


def test_what_the_proxy_itself_needs_is_begun_whether_it_fits_or_not() -> None:
    async def talk() -> None:
        async with stage(max_bytes=5_000) as (server, cachers):
            cachers.start(PODS, ReadForm.OBJECT)
            (await server.next_call()).answer_list(10, LARGE)
            await let_others_run()
            with pytest.raises(CacheFull):
                cachers.start(PODS, ReadForm.OBJECT)
            cachers.start(PODS, ReadForm.OBJECT, is_essential=True)

    run_simulated(talk())


def test_caches_that_nobody_uses_make_room_for_others() -> None:
    async def talk() -> None:
        async with stage(max_bytes=12_000) as (server, cachers):
            idle = cachers.start(PODS, ReadForm.OBJECT)
            (await server.next_call()).answer_list(10, LARGE)
            (await server.next_call()).stream()
            await let_others_run()
            used = cachers.start(PODS, ReadForm.TABLE)
            join(used)
            (await server.next_call()).answer({"kind": "Table", "metadata": {"resourceVersion": "10"}, "rows": [
                {"cells": [], "object": each} for each in LARGE]})  # fmt: skip
            await let_others_run()
            assert (idle.stopped, used.stopped) == (True, False)

    run_simulated(talk())


def test_a_cache_that_grows_beyond_the_bound_ends_with_its_streams() -> None:
    """The versions of the past count too."""

    async def talk() -> None:
        async with stage(max_bytes=20_000) as (server, cachers):
            cacher = cachers.start(PODS, ReadForm.OBJECT)
            (await server.next_call()).answer_list(10)
            feed = (await server.next_call()).stream()
            await let_others_run()
            session = join(cacher)
            for rv in range(11, 16):
                await feed.send_events(("ADDED", pod("a", "x", rv, note="n" * 1000)))
            await asyncio.sleep(10)
            assert not cacher.stopped
            for rv in range(16, 26):
                await feed.send_events(("MODIFIED", pod("a", "x", rv, note="n" * 1000)))
            await asyncio.sleep(10)
            assert (cacher.stopped, session.ended_because) == (True, EndReason.UPSTREAM_LOST)

    run_simulated(talk())


class Buggy:
    """An observer with a bug."""

    def listed(self, cacher: Cacher) -> None:
        raise RuntimeError("a bug")

    def changed(self, cacher: Cacher, change: object) -> None:
        raise AssertionError


def test_a_bug_in_one_cacher_ends_that_one_only(caplog: pytest.LogCaptureFixture) -> None:
    async def talk() -> None:
        async with stage() as (server, cachers):
            other = cachers.start(PODS, ReadForm.TABLE)
            await let_others_run()
            buggy = cachers.start(PODS, ReadForm.OBJECT)
            buggy.observe(Buggy())
            waiting = asyncio.ensure_future(buggy.wait_ready())
            await server.next_call()
            (await server.next_call()).answer_list(10)
            with pytest.raises(ServiceUnavailable):
                await waiting
            assert (buggy.stopped, other.stopped) == (True, False)
            assert cachers.start(PODS, ReadForm.OBJECT) is not buggy

    run_simulated(talk())
    assert "ended by a bug" in caplog.text


def test_a_resource_that_is_not_served_any_more_is_told_and_an_idle_cacher_is_not() -> None:
    async def talk() -> None:
        async with stage() as (server, cachers):
            told: list[str] = []
            cachers.observe_ends(lambda: told.append("gone"))
            idle = cachers.start(PODS, ReadForm.TABLE)
            await server.next_call()
            cachers.remove(frozenset([PODS.gvr]))
            await let_others_run()
            assert (idle.stopped, told) == (True, [])
            gone = cachers.start(PODS, ReadForm.OBJECT)
            (await server.next_call()).refuse(404, "NotFound")
            await let_others_run()
            assert (gone.stopped, told) == (True, ["gone"])

    run_simulated(talk())
