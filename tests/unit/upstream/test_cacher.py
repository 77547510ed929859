"""A cacher against an API server that answers word by word: what sessions are told, and when they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from proxy.api.groups import GroupVersionResource
from proxy.api.status import NotFound, ServiceUnavailable, StatusError
from proxy.authz.scope import EVERYTHING
from proxy.authz.visibility import Visibility
from proxy.upstream.cacher import (
    UPSTREAM_LOSS_GRACE_SECONDS,
    Cacher,
    CacherSettings,
)
from proxy.upstream.list_reader import ReadForm
from proxy.upstream.watch_reader import MAX_EVENT_BYTES, UPSTREAM_SILENCE_SECONDS
from proxy.watch.encoding import ObjectEncoder, TableEncoder
from proxy.watch.history import TooOld
from proxy.watch.session import EndReason, Phase, Session
from proxy.watch.view import Encoder, Question
from tests.support.fake_api_server import Call, FakeApiServer, Feed
from tests.support.simulated_time import let_others_run, loop_time, run_simulated
from tests.support.versions import POD_PREFIX, PODS, KeepingSink, compact, pod

ALL = Visibility(scope=EVERYTHING, namespace="", name="", namespace_is_name=False)
A_ONLY = Visibility(scope=EVERYTHING, namespace="a", name="", namespace_is_name=False)
BOOKMARK = ("BOOKMARK", {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "50"}})
EXPIRED = ("ERROR", {"kind": "Status", "reason": "Expired", "message": "too old", "code": 410})


class Stage:
    """A running cacher, and sessions on it."""

    def __init__(self, form: ReadForm = ReadForm.OBJECT, *, start_rv: str = "") -> None:
        self.server = FakeApiServer()
        self.cacher = Cacher(
            self.server.client, PODS, form, clock=loop_time, settings=CacherSettings(), start_rv=start_rv
        )

    async def filled(self, rv: int, *items: dict[str, Any]) -> Feed:
        """Answers the list, and opens the watch that follows."""
        (await self.server.next_call()).answer_list(rv, items)
        return await self.watch_opened(rv)

    async def watch_opened(self, rv: int | str) -> Feed:
        call = await self.next_watch(rv)
        feed = call.stream()
        await let_others_run()
        return feed

    async def next_watch(self, rv: int | str) -> Call:
        """The next watch; the look at how far upstream is that comes before one that is taken up again finds `rv`."""
        call = await self.server.next_call()
        if call.query.get("limit") == "1":
            call.answer_list(rv)
            call = await self.server.next_call()
        assert call.path == "/api/v1/pods"
        assert (call.query["watch"], call.query["resourceVersion"]) == ("true", str(rv))
        assert call.query["allowWatchBookmarks"] == "true"
        return call

    def session(self, visible: Visibility = ALL, encoder: Encoder | None = None) -> tuple[Session, KeepingSink]:
        """A live session from now on."""
        sink = KeepingSink()
        history = self.cacher.cache.history
        session = Session(
            sink=sink,
            position=history.last_sequence,
            floor=self.cacher.cache.rv,
            wants_bookmarks=True,
            on_wake=lambda: None,
        )
        self.cacher.join(session, Question(visible, encoder or ObjectEncoder(POD_PREFIX), http_line))
        self.cacher.go_live(session)
        return session, sink


def http_line(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[Stage]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(stage.cacher.run())
        try:
            yield stage
        finally:
            task.cancel()


def told(sink: KeepingSink) -> list[tuple[str, str, str]]:
    """(type, name, resourceVersion) of what was written since the last look."""
    return [
        (event["type"], event["object"]["metadata"].get("name", ""), event["object"]["metadata"]["resourceVersion"])
        for event in sink.take()
    ]


def conversation(talk: Coroutine[Any, Any, None]) -> None:
    run_simulated(talk)


# --- events ---


def test_changes_reach_live_sessions_in_order_each_as_it_concerns_them() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            feed = await stage.filled(10, pod("a", "x", 5))
            (_, everything), (_, only_a) = stage.session(), stage.session(A_ONLY)
            await feed.send_events(
                ("MODIFIED", pod("a", "x", 11)), ("ADDED", pod("b", "y", 12)), ("DELETED", pod("a", "x", 13))
            )
            assert told(everything) == [("MODIFIED", "x", "11"), ("ADDED", "y", "12"), ("DELETED", "x", "13")]
            assert told(only_a) == [("MODIFIED", "x", "11"), ("DELETED", "x", "13")]
            assert [each.name for each in stage.cacher.cache.objects()] == ["y"]

    conversation(talk())


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_events_do_not_depend_on_how_the_stream_is_cut(size: int) -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            feed = await stage.filled(10)
            _, sink = stage.session()
            events = [("ADDED", pod("a", f"x{rv}", rv, note="ünïcode \n")) for rv in range(11, 20)]
            data = b"".join(compact({"type": kind, "object": shown}) + b"\n" for kind, shown in events)
            await feed.send(*(data[start : start + size] for start in range(0, len(data), size)))
            assert told(sink) == [("ADDED", f"x{rv}", str(rv)) for rv in range(11, 20)]

    conversation(talk())


def test_upstreams_bookmarks_move_the_cache_and_are_not_the_clients() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            feed = await stage.filled(10)
            _, sink = stage.session()
            await feed.send_events(BOOKMARK)
            assert stage.cacher.cache.rv == "50"
            assert told(sink) == []

    conversation(talk())


def test_sessions_get_bookmarks_of_their_own_every_interval() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            feed = await stage.filled(10)
            _, sink = stage.session()
            await feed.send_events(("ADDED", pod("a", "x", 11)), BOOKMARK)
            await asyncio.sleep(61)
            assert told(sink) == [("ADDED", "x", "11"), ("BOOKMARK", "", "50")]
            await asyncio.sleep(60)
            assert told(sink) == [("BOOKMARK", "", "50")]

    conversation(talk())


def test_bookmarks_are_not_piled_up_for_a_client_that_does_not_read() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            await stage.filled(10)
            _, sink = stage.session()
            sink.writable = False
            await asyncio.sleep(90)
            assert not sink.data

    conversation(talk())


def test_a_session_that_is_behind_gets_no_bookmark() -> None:
    """It would overtake the events that the session has not got."""

    async def talk() -> None:
        async with running(Stage()) as stage:
            feed = await stage.filled(10)
            session, sink = stage.session()
            sink.writable = False
            await feed.send_events(("ADDED", pod("a", "x", 11)), ("ADDED", pod("a", "y", 12)))
            assert session.phase is Phase.CATCHING_UP
            sink.writable = True
            await asyncio.sleep(90)
            assert told(sink) == [("ADDED", "x", "11")]

    conversation(talk())


def test_a_session_that_has_left_is_told_nothing_and_the_cacher_is_idle_from_then_on() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            feed = await stage.filled(10)
            session, sink = stage.session()
            assert not stage.cacher.is_idle
            await asyncio.sleep(30)
            stage.cacher.leave(session)
            assert (stage.cacher.is_idle, stage.cacher.idle_since) == (True, loop_time())
            await feed.send_events(("ADDED", pod("a", "x", 11)))
            assert not sink.data

    conversation(talk())


# --- the end of the upstream watch ---


def test_a_watch_that_ends_is_reopened_where_it_was_and_nobody_notices() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            feed = await stage.filled(10)
            session, sink = stage.session()
            await feed.send_events(("ADDED", pod("a", "x", 11)))
            await feed.send(b'{"type":"ADDED","obj')
            feed.end()
            feed = await stage.watch_opened(11)
            await feed.send_events(("ADDED", pod("a", "y", 12)))
            assert told(sink) == [("ADDED", "x", "11"), ("ADDED", "y", "12")]
            assert session.phase is Phase.LIVE

    conversation(talk())


GARBAGE = {
    "no JSON": b"oops\n",
    "an unknown type": b'{"type":"RENAMED","object":{"metadata":{"name":"x","resourceVersion":"11"}}}\n',
    "no object": b'{"type":"ADDED"}\n',
    "an object without metadata": b'{"type":"ADDED","object":{}}\n',
    "an object without a name": b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"11"}}}\n',
    "no resourceVersion": b'{"type":"ADDED","object":{"metadata":{"name":"x"}}}\n',
    "going back": compact({"type": "ADDED", "object": pod("a", "x", 9)}) + b"\n",
    "standing still": compact({"type": "ADDED", "object": pod("a", "x", 10)}) + b"\n",
    "an event that expired": compact({"type": EXPIRED[0], "object": EXPIRED[1]}) + b"\n",
    "another error": b'{"type":"ERROR","object":{"code":500,"message":"etcd"}}\n',
    "an error that is no Status": b'{"type":"ERROR","object":"oops"}\n',
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_after_what_cannot_be_trusted_everything_is_listed_anew_and_all_streams_end(garbage: bytes) -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            feed = await stage.filled(10)
            session, sink = stage.session()
            await feed.send(garbage)
            relist = await stage.server.next_call()
            assert ("watch" in relist.query, "resourceVersion" in relist.query) == (False, False)
            assert session.phase is Phase.LIVE, "until the new list is there"
            assert not sink.data
            relist.answer_list(20, [pod("a", "z", 15)])
            await stage.watch_opened(20)
            assert session.ended_because is EndReason.RELIST
            assert [each.name for each in stage.cacher.cache.objects()] == ["z"]
            assert stage.cacher.cache.history.locate("19") == TooOld(20)
            assert feed.closed

    conversation(talk())


def test_events_before_the_garbage_count() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            feed = await stage.filled(10)
            _, sink = stage.session()
            await feed.send(compact({"type": "ADDED", "object": pod("a", "x", 11)}) + b"\noops\n")
            assert told(sink) == [("ADDED", "x", "11")]

    conversation(talk())


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            feed = await stage.filled(10)
            piece = b"x" * (MAX_EVENT_BYTES // 4)
            await feed.send(*[piece] * 5)
            assert "watch" not in (await stage.server.next_call()).query

    conversation(talk())


def test_an_api_server_whose_every_watch_is_garbage_is_left_alone_between_lists() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            began = loop_time()
            feed = await stage.filled(10)
            for _ in range(12):
                await feed.send(b"oops\n")
                feed = await stage.filled(10)
            assert loop_time() - began > 30

    conversation(talk())


def test_an_http_410_for_the_watch_is_a_relist() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            (await stage.server.next_call()).answer_list(10)
            (await stage.next_watch(10)).refuse(410, "Expired")
            assert "watch" not in (await stage.server.next_call()).query

    conversation(talk())


def test_a_watch_is_given_up_after_more_silence_than_upstreams_bookmarks_leave() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            (await stage.server.next_call()).answer_list(10)
            assert (await stage.next_watch(10)).timeouts["read"] == UPSTREAM_SILENCE_SECONDS > 60

    conversation(talk())


# --- an API server that has gone back ---


def test_an_api_server_that_has_gone_back_is_listed_anew_instead_of_being_waited_for() -> None:
    """Its etcd was restored: at what is of its future a watch would be silent."""

    async def talk() -> None:
        async with running(Stage()) as stage:
            gone_back: list[GroupVersionResource] = []
            stage.server.client.revisions.observe(gone_back.append)
            feed = await stage.filled(10, pod("a", "x", 5))
            session, sink = stage.session()
            await feed.send_events(("ADDED", pod("a", "y", 30)))
            feed.end()
            look = await stage.server.next_call()
            assert (look.query["limit"], "resourceVersion" in look.query) == ("1", False)
            look.answer_list(20)
            relist = await stage.server.next_call()
            assert "watch" not in relist.query
            assert gone_back == [PODS.gvr]
            relist.answer_list(20, [pod("a", "x", 5)])
            await stage.watch_opened(20)
            assert session.ended_because is EndReason.RELIST
            assert told(sink) == [("ADDED", "y", "30")]
            assert [each.name for each in stage.cacher.cache.objects()] == ["x"]
            assert gone_back == [PODS.gvr], "told once"

    conversation(talk())


@pytest.mark.parametrize("reached", [30, 31])
def test_an_api_server_that_is_as_far_as_the_cache_is_watched_from_there(reached: int) -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            feed = await stage.filled(10)
            session, sink = stage.session()
            await feed.send_events(("ADDED", pod("a", "y", 30)))
            feed.end()
            (await stage.server.next_call()).answer_list(reached)
            feed = await stage.watch_opened(30)
            await feed.send_events(("ADDED", pod("a", "z", 32)))
            assert told(sink) == [("ADDED", "y", "30"), ("ADDED", "z", "32")]
            assert session.phase is Phase.LIVE

    conversation(talk())


# --- losing the API server ---


def test_streams_outlast_a_short_loss_of_the_api_server() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            feed = await stage.filled(10)
            session, sink = stage.session()
            feed.fail(httpx.ReadError("reset"))
            for _ in range(3):
                (await stage.next_watch(10)).fail(httpx.ConnectError("refused"))
            feed = await stage.watch_opened(10)
            await feed.send_events(("ADDED", pod("a", "x", 11)))
            assert told(sink) == [("ADDED", "x", "11")]
            assert session.phase is Phase.LIVE
            await stage.cacher.wait_ready()

    conversation(talk())


def test_streams_end_when_the_api_server_stays_away_and_new_ones_are_told_so_until_it_is_back() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            feed = await stage.filled(10)
            session, _ = stage.session()
            lost_at = loop_time()
            feed.fail(httpx.ReadError("reset"))
            while session.phase is Phase.LIVE:
                assert loop_time() - lost_at < UPSTREAM_LOSS_GRACE_SECONDS + 10.0
                (await stage.next_watch(10)).fail(httpx.ConnectError("refused"))
                await let_others_run()
            assert loop_time() - lost_at >= UPSTREAM_LOSS_GRACE_SECONDS
            assert session.ended_because is EndReason.UPSTREAM_LOST
            with pytest.raises(ServiceUnavailable):
                await stage.cacher.wait_ready()
            await stage.watch_opened(10)
            await stage.cacher.wait_ready()

    conversation(talk())


def test_whoever_waits_for_a_cacher_that_cannot_be_filled_is_told_why_and_later_ones_wait_for_the_list() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage, asyncio.TaskGroup() as tasks:
            early = [tasks.create_task(refusal(stage.cacher)) for _ in range(2)]
            (await stage.server.next_call()).refuse(403, "Forbidden", "the proxy may not")
            for each in early:
                error = await each
                assert isinstance(error, ServiceUnavailable)
                assert "may not" not in error.message
            await stage.filled(10)
            await stage.cacher.wait_ready()
            assert stage.cacher.is_filled

    conversation(talk())


async def refusal(cacher: Cacher) -> StatusError:
    with pytest.raises(StatusError) as raised:
        await cacher.wait_ready()
    return raised.value


def test_upstreams_wish_to_be_left_alone_is_honoured() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            status = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "details": {"retryAfterSeconds": 30}}
            (await stage.server.next_call()).answer(status, status=429)
            refused_at = loop_time()
            await stage.server.next_call()
            assert loop_time() - refused_at >= 30

    conversation(talk())


def test_a_resource_that_is_gone_ends_the_cacher_and_its_streams() -> None:
    async def talk() -> None:
        stage = Stage()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stage.cacher.run())
            feed = await stage.filled(10)
            session, _ = stage.session()
            feed.end()
            (await stage.next_watch(10)).refuse(404, "NotFound")
        assert stage.cacher.stopped
        assert session.ended_because is EndReason.UPSTREAM_LOST

    conversation(talk())


def test_a_resource_that_is_not_served_is_told_as_upstream_tells_it() -> None:
    async def talk() -> None:
        stage = Stage()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stage.cacher.run())
            waiting = tasks.create_task(refusal(stage.cacher))
            (await stage.server.next_call()).refuse(404, "NotFound", "no such thing")
        error = waiting.result()
        assert isinstance(error, NotFound)
        assert error.message == "no such thing"

    conversation(talk())


def test_whoever_waits_for_a_cacher_that_is_ended_does_not_wait_for_ever() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage, asyncio.TaskGroup() as tasks:
            run = tasks.create_task(stage.cacher.run())
            waiting = tasks.create_task(refusal(stage.cacher))
            await let_others_run()
            run.cancel()
            assert isinstance(await waiting, ServiceUnavailable)

    conversation(talk())


# --- where it begins ---


def test_a_cacher_begins_at_exactly_the_resource_version_of_who_started_it() -> None:
    async def talk() -> None:
        async with running(Stage(start_rv="7")) as stage:
            call = await stage.server.next_call()
            assert (call.query["resourceVersion"], call.query["resourceVersionMatch"]) == ("7", "Exact")
            call.answer_list(7)
            await stage.watch_opened(7)
            assert stage.cacher.cache.history.locate("7") == stage.cacher.cache.history.last_sequence

    conversation(talk())


@pytest.mark.parametrize(
    ("status", "reason"), [(410, "Expired"), (504, "Timeout"), (400, "BadRequest"), (422, "Invalid")]
)
def test_where_upstream_does_not_have_it_the_cacher_begins_now(status: int, reason: str) -> None:
    async def talk() -> None:
        async with running(Stage(start_rv="7")) as stage:
            (await stage.server.next_call()).refuse(status, reason)
            call = await stage.server.next_call()
            assert "resourceVersion" not in call.query
            call.answer_list(20)
            feed = await stage.watch_opened(20)
            await feed.send(b"oops\n")
            assert "resourceVersion" not in (await stage.server.next_call()).query, "the start is asked for once"

    conversation(talk())


def test_a_list_is_read_page_by_page_and_taken_over_whole() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            (await stage.server.next_call()).answer_list(10, [pod("a", "x", 5)], continue_token="more")
            second = await stage.server.next_call()
            assert second.query["continue"] == "more"
            assert not stage.cacher.is_filled
            second.answer_list(10, [pod("b", "y", 6)])
            await stage.watch_opened(10)
            assert [each.name for each in stage.cacher.cache.objects()] == ["x", "y"]

    conversation(talk())


# --- tables ---

COLUMNS = [{"name": "Name", "type": "string"}]


def table(rv: str, *shown: dict[str, Any], indent: int | None = None, columns: Any = COLUMNS) -> bytes:
    rows = [{"cells": [each["metadata"]["name"]], "object": each} for each in shown]
    whole = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": rv}}
    return json.dumps({**whole, "columnDefinitions": columns, "rows": rows}, indent=indent).encode()


@pytest.mark.parametrize("indent", [None, 2])
def test_printed_rows_are_followed_too_however_upstream_prints_them(indent: int | None) -> None:
    async def talk() -> None:
        async with running(Stage(ReadForm.TABLE)) as stage:
            call = await stage.server.next_call()
            assert "as=Table" in call.accept
            assert call.query["includeObject"] == "Object"
            call.answer(table("10", pod("a", "x", 5), indent=indent))
            watch = await stage.next_watch(10)
            assert watch.query["includeObject"] == "Object"
            feed = watch.stream()
            await let_others_run()
            _, sink = stage.session(A_ONLY, TableEncoder("v1", "None", stage.cacher.columns))
            for kind, name, rv in (("DELETED", "x", 11), ("ADDED", "y", 12)):
                line = table(str(rv), pod("a", name, rv), columns=None)
                await feed.send(b'{"type":"%b","object":%b}\n' % (kind.encode(), line))
            await feed.send(b'{"type":"BOOKMARK","object":%b}\n' % table("30", columns=None))
            first, second = sink.take()
            assert first["object"]["columnDefinitions"] == COLUMNS
            assert first["object"]["rows"] == [{"cells": ["x"], "object": None}]
            assert second["object"]["rows"] == [{"cells": ["y"], "object": None}]
            assert stage.cacher.cache.rv == "30"

    conversation(talk())


def test_a_list_that_is_no_table_where_one_was_asked_for_is_not_an_empty_table() -> None:
    async def talk() -> None:
        async with running(Stage(ReadForm.TABLE)) as stage, asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(refusal(stage.cacher))
            (await stage.server.next_call()).answer_list(10, [pod("a", "x", 5)])
            assert isinstance(await waiting, ServiceUnavailable)

    conversation(talk())


def test_an_event_that_is_no_row_is_not_to_be_trusted() -> None:
    async def talk() -> None:
        async with running(Stage(ReadForm.TABLE)) as stage:
            (await stage.server.next_call()).answer(table("10"))
            feed = await stage.watch_opened(10)
            await feed.send_events(("ADDED", pod("a", "x", 11)))
            assert "watch" not in (await stage.server.next_call()).query

    conversation(talk())


# --- observers ---


class Following:
    """Notes what it is told, and what the sessions had been told by then."""

    def __init__(self, sink: KeepingSink | None = None) -> None:
        self.heard: list[str] = []
        self.sink = sink

    def listed(self, cacher: Cacher) -> None:
        self.heard.append("list " + cacher.cache.rv)

    def changed(self, cacher: Cacher, change: Any) -> None:
        assert self.sink is None or not self.sink.data
        self.heard.append(f"{change.rv} of {cacher.cache.rv}")


def test_observers_are_told_of_lists_and_of_changes_before_the_sessions_are() -> None:
    async def talk() -> None:
        async with running(Stage()) as stage:
            early = Following()
            stage.cacher.observe(early)
            feed = await stage.filled(10)
            _, sink = stage.session()
            late = Following(sink)
            stage.cacher.observe(late)
            await feed.send_events(("ADDED", pod("a", "x", 11)), BOOKMARK)
            assert (early.heard, late.heard) == (["list 10", "11 of 11"], ["11 of 11"])
            assert not stage.cacher.is_idle

    conversation(talk())
