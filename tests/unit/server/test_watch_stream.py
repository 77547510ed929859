"""A watch stream on a real cacher: from its head to each of its ends, whatever its client does."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.api.objects import ObjectVersion
from proxy.api.status import too_old_resource_version
from proxy.api.watch_event import INITIAL_EVENTS_END, error_frame
from proxy.authn.user import User
from proxy.authz.decision import Decision, Permit
from proxy.authz.scope import EVERYTHING, NOTHING
from proxy.authz.visibility import Visibility
from proxy.server.open_streams import OpenStreams
from proxy.server.watch_stream import STALLED_CLIENT_SECONDS, WatchStream, http_chunk
from proxy.upstream.cacher import Cacher, CacherSettings
from proxy.upstream.list_reader import ReadForm
from proxy.watch.encoding import ObjectEncoder
from proxy.watch.history import MIN_CHANGES, TooOld
from proxy.watch.view import Question
from tests.support.fake_api_server import FakeApiServer
from tests.support.fake_connection import FakeExchange
from tests.support.policies import asking
from tests.support.simulated_time import let_others_run, loop_time, run_simulated
from tests.support.versions import POD_PREFIX, PODS, pod

HISTORY_SECONDS = 20.0
EVERY_POD = asking("watch", "pods")
PERMIT = Permit(user=User(name="alice"), attributes=EVERY_POD, scope=EVERYTHING, activation=1, reason="")
ALL = Visibility(scope=EVERYTHING, namespace="", name="", namespace_is_name=False)
TEAM_A = Visibility(scope=EVERYTHING, namespace="team-a", name="", namespace_is_name=False)


class Stage:
    """A cacher at resourceVersion 10 whose upstream watch is fed."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.tasks = tasks
        self.server = FakeApiServer()
        self.streams = OpenStreams()
        settings = CacherSettings(history_seconds=HISTORY_SECONDS)
        self.cacher = Cacher(self.server.client, PODS, ReadForm.OBJECT, clock=loop_time, settings=settings)

    async def fill(self, *items: dict[str, Any]) -> None:
        (await self.server.next_call()).answer_list(10, items)
        self.feed = (await self.server.next_call()).stream()
        await let_others_run()

    async def open(
        self,
        *,
        visible: Visibility = ALL,
        rv: str = "10",
        initial: Sequence[ObjectVersion] | None = None,
        bookmarks: bool = True,
        timeout_seconds: float = 1800.0,
        expires_at: float | None = None,
    ) -> tuple[FakeExchange, asyncio.Task[None]]:
        client = FakeExchange(expires_at=expires_at)
        stream = WatchStream(client.exchange, PERMIT, streams=self.streams, clock=loop_time)
        position = self.cacher.cache.history.locate(rv)
        assert not isinstance(position, TooOld)
        running = self.tasks.create_task(
            stream.run(
                self.cacher,
                Question(visible, ObjectEncoder(POD_PREFIX), http_chunk),
                position=position,
                rv=rv,
                initial=initial,
                wants_bookmarks=bookmarks,
                timeout_seconds=timeout_seconds,
                on_shown=lambda: None,
                on_end=lambda rv: None,
            )
        )
        await let_others_run()
        return client, running

    async def change(self, *rvs: int, namespace: str = "team-a") -> None:
        await self.feed.send_events(*(("ADDED", pod(namespace, f"x{rv}", rv)) for rv in rvs))
        await let_others_run()

    def revoke(self) -> None:
        self.streams.reconsider(lambda user, attributes: nothing())


def nothing() -> Decision:
    return Permit(user=User(name="alice"), attributes=EVERY_POD, scope=NOTHING, activation=2, reason="")


@asynccontextmanager
async def stage(*items: dict[str, Any]) -> AsyncIterator[Stage]:
    async with asyncio.TaskGroup() as tasks:
        staged = Stage(tasks)
        following = tasks.create_task(staged.cacher.run())
        await staged.fill(*items)
        yield staged
        following.cancel()


def told(client: FakeExchange) -> list[str]:
    return [f"{event['type']} {event['object']['metadata']['resourceVersion']}" for event in client.connection.take()]


def test_the_head_is_sent_at_once_though_nothing_happens() -> None:
    async def talk() -> None:
        async with stage() as staged:
            client, _ = await staged.open()
            (head,) = client.messages
            assert head["status"] == 200
            assert (b"transfer-encoding", b"chunked") in head["headers"]
            assert not client.connection.data

    run_simulated(talk())


def test_a_stream_from_the_past_catches_up_and_goes_on_live() -> None:
    async def talk() -> None:
        async with stage() as staged:
            await staged.change(11, 12, 13)
            client, _ = await staged.open(rv="11")
            assert told(client) == ["ADDED 12", "ADDED 13"]
            await staged.change(14)
            assert told(client) == ["ADDED 14"]

    run_simulated(talk())


def test_initial_events_are_the_visible_objects_and_their_end_is_marked_once() -> None:
    async def talk() -> None:
        async with stage(pod("other", "x", 9), pod("team-a", "x", 3), pod("team-a", "y", 7)) as staged:
            client, _ = await staged.open(visible=TEAM_A, initial=staged.cacher.cache.objects())
            first, second, end = client.connection.take()
            assert [each["object"]["metadata"]["resourceVersion"] for each in (first, second, end)] == ["3", "7", "10"]
            assert end["object"]["metadata"]["annotations"] == {INITIAL_EVENTS_END: "true"}
            await staged.change(11)
            assert told(client) == ["ADDED 11"]

    run_simulated(talk())


def test_who_wants_no_bookmarks_gets_none() -> None:
    async def talk() -> None:
        async with stage(pod("team-a", "x", 3)) as staged:
            client, _ = await staged.open(initial=staged.cacher.cache.objects(), bookmarks=False, timeout_seconds=200)
            await asyncio.sleep(199)
            assert told(client) == ["ADDED 3"]

    run_simulated(talk())


def test_many_initial_events_come_whole() -> None:
    async def talk() -> None:
        items = [pod("team-a", f"x{number:04}", 1 + number % 9, note="n" * 900) for number in range(700)]
        async with stage(*items) as staged:
            client, _ = await staged.open(initial=staged.cacher.cache.objects())
            for _ in range(20):
                await let_others_run()
            events = client.connection.take()
            assert [event["object"]["metadata"].get("name") for event in events] == [
                *(f"x{number:04}" for number in range(700)), None,
            ]  # fmt: skip

    run_simulated(talk())


def test_a_client_that_reads_slowly_loses_nothing() -> None:
    async def talk() -> None:
        async with stage() as staged:
            client, _ = await staged.open()
            client.connection.stop_reading()
            await staged.change(*range(11, 400))
            assert told(client) == ["ADDED 11"], "the rest is not kept for it in memory"
            client.connection.read_on()
            for _ in range(20):
                await let_others_run()
            assert told(client) == [f"ADDED {rv}" for rv in range(12, 400)]
            await staged.change(400)
            assert told(client) == ["ADDED 400"]

    run_simulated(talk())


def test_a_client_that_the_history_has_moved_past_is_ended_without_a_gap() -> None:
    async def talk() -> None:
        async with stage() as staged:
            client, running = await staged.open()
            client.connection.stop_reading()
            await staged.change(11, 12)
            await asyncio.sleep(HISTORY_SECONDS + 1)
            await staged.change(*range(13, 14 + MIN_CHANGES))
            client.connection.read_on()
            await let_others_run()
            assert told(client) == ["ADDED 11"]
            assert running.done()
            assert client.ended

    run_simulated(talk())


def test_a_client_that_reads_nothing_at_all_is_dropped() -> None:
    async def talk() -> None:
        async with stage() as staged:
            client, running = await staged.open()
            client.connection.stop_reading()
            await staged.change(11, 12)
            await asyncio.sleep(STALLED_CLIENT_SECONDS - 1)
            assert not running.done()
            await asyncio.sleep(2)
            assert running.done()
            assert client.connection.aborted

    run_simulated(talk())


def test_a_connection_that_is_closing_does_not_make_the_loop_spin() -> None:
    """A close takes until its last bytes are out, which may be long: the stream must not wait for room meanwhile."""

    async def talk() -> None:
        async with stage() as staged:
            client, running = await staged.open()
            client.connection.close()
            await staged.change(11)
            assert running.done()
            assert len(staged.streams) == 0

    run_simulated(talk())


def test_a_client_that_goes_away_takes_its_session_with_it() -> None:
    async def talk() -> None:
        async with stage() as staged:
            client, running = await staged.open()
            client.connection.lose()
            await let_others_run()
            assert running.done()
            assert staged.cacher.is_idle
            assert len(staged.streams) == 0
            assert not client.ended

    run_simulated(talk())


def test_a_stream_ends_at_its_timeout_after_a_last_bookmark() -> None:
    async def talk() -> None:
        async with stage() as staged:
            client, running = await staged.open(timeout_seconds=30)
            await staged.change(11)
            await asyncio.sleep(29)
            assert told(client) == ["ADDED 11", "BOOKMARK 11"]
            await asyncio.sleep(2)
            assert running.done()
            assert client.ended
            assert not client.connection.data

    run_simulated(talk())


def test_a_stream_ends_when_its_credential_does() -> None:
    async def talk() -> None:
        async with stage() as staged:
            client, running = await staged.open(expires_at=loop_time() + 5)
            await asyncio.sleep(4.9)
            assert not running.done()
            await asyncio.sleep(0.2)
            assert running.done()
            assert client.ended

    run_simulated(talk())


@pytest.mark.parametrize("expired_seconds", [0.0, 10.0])
def test_a_credential_that_expired_meanwhile_shows_nothing_more(expired_seconds: float) -> None:
    async def talk() -> None:
        async with stage() as staged:
            client, running = await staged.open(expires_at=loop_time() - expired_seconds)
            await asyncio.sleep(0.1)
            await staged.change(11)
            assert running.done()
            assert told(client) == []

    run_simulated(talk())


def test_no_event_reaches_a_stream_after_its_scope_has_changed() -> None:
    async def talk() -> None:
        async with stage() as staged:
            client, running = await staged.open()
            staged.revoke()
            await staged.change(11)
            assert told(client) == []
            assert running.done()
            assert client.ended

    run_simulated(talk())


def test_a_scope_that_changes_before_the_session_has_begun_ends_it_too() -> None:
    async def talk() -> None:
        async with stage(pod("team-a", "x", 3)) as staged:
            client = FakeExchange()
            stream = WatchStream(client.exchange, PERMIT, streams=staged.streams, clock=loop_time)
            staged.revoke()
            await stream.run(
                staged.cacher,
                Question(ALL, ObjectEncoder(POD_PREFIX), http_chunk),
                position=0,
                rv="10",
                initial=staged.cacher.cache.objects(),
                wants_bookmarks=True,
                timeout_seconds=60,
                on_shown=lambda: None,
                on_end=lambda rv: None,
            )
            assert told(client) == []
            assert client.ended

    run_simulated(talk())


def test_a_scope_that_changes_while_a_client_does_not_read_ends_its_stream_at_once() -> None:
    async def talk() -> None:
        async with stage() as staged:
            client, running = await staged.open()
            client.connection.stop_reading()
            await staged.change(11, 12)
            staged.revoke()
            await let_others_run()
            assert running.done()
            assert client.connection.aborted

    run_simulated(talk())


def test_a_relist_ends_a_stream_cleanly() -> None:
    async def talk() -> None:
        async with stage() as staged:
            client, running = await staged.open()
            await staged.feed.send(b"oops\n")
            (await staged.server.next_call()).answer_list(50)
            (await staged.server.next_call()).stream()
            await let_others_run()
            assert running.done()
            assert client.ended
            assert told(client) == []

    run_simulated(talk())


def test_a_drain_ends_all_streams_and_waits_for_their_goodbyes() -> None:
    async def talk() -> None:
        async with stage() as staged:
            clients = [await staged.open() for _ in range(3)]
            began = loop_time()
            await staged.streams.drain()
            assert loop_time() == began
            assert all(client.ended for client, _ in clients)
            assert len(staged.streams) == 0

    run_simulated(talk())


def test_a_stream_that_fails_is_one_error_event_and_its_end() -> None:
    async def talk() -> None:
        async with stage() as staged:
            client = FakeExchange()
            stream = WatchStream(client.exchange, PERMIT, streams=staged.streams, clock=loop_time)
            await stream.fail(error_frame(too_old_resource_version(3, 10)))
            (event,) = client.connection.take()
            assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
            assert client.ended
            assert len(staged.streams) == 0

    run_simulated(talk())


class Snapshot(list[ObjectVersion]):
    """A list that can be watched for its end."""


def test_what_was_shown_at_the_beginning_is_not_held_for_as_long_as_the_client_watches() -> None:
    """A thousand informers would keep a thousand pasts."""

    async def talk() -> None:
        async with stage(pod("team-a", "x", 5)) as staged:
            initial = Snapshot(staged.cacher.cache.objects())
            held = weakref.ref(initial)
            client, running = await staged.open(initial=initial)
            del initial
            assert told(client)[0] == "ADDED 5"
            assert not running.done()
            assert held() is None
            client.connection.lose()

    run_simulated(talk())
