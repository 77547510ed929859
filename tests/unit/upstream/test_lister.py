"""Consistent reads, shared: the rules of a group commit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable

import httpx
import pytest

from proxy.api.status import Expired, ServiceUnavailable
from proxy.upstream.list_reader import ListQuestion, ReadForm, UpstreamList
from proxy.upstream.lister import MAX_NARROWED_READS, Lister, storage_key
from tests.support.fake_api_server import FakeApiServer
from tests.support.simulated_time import let_others_run, run_simulated
from tests.support.versions import PODS, pod

EVERYTHING = ListQuestion(resource=PODS, form=ReadForm.OBJECT)
TEAM_A = ListQuestion(resource=PODS, form=ReadForm.OBJECT, namespace="team-a")


def test_a_reader_that_comes_during_a_read_waits_for_the_next_one() -> None:
    """What is in flight may have been answered before the reader's own write."""

    async def talk() -> None:
        server = FakeApiServer()
        async with asyncio.TaskGroup() as tasks:
            lister = Lister(server.client, tasks)
            first = tasks.create_task(lister.read(EVERYTHING))
            in_flight = await server.next_call()
            late = [tasks.create_task(lister.read(EVERYTHING)) for _ in range(3)]
            await let_others_run()
            assert server.waiting == 0, "one read at a time"
            in_flight.answer_list(10)
            assert (await first).rv == "10"
            await let_others_run()
            assert not any(each.done() for each in late)
            (await server.next_call()).answer_list(20)
            assert [(await each).rv for each in late] == ["20"] * 3
            assert server.waiting == 0, "one read for all who waited"

    run_simulated(talk())


def test_readers_that_come_together_share_one_read() -> None:
    async def talk() -> None:
        server = FakeApiServer()
        async with asyncio.TaskGroup() as tasks:
            lister = Lister(server.client, tasks)
            readers = [tasks.create_task(lister.read(EVERYTHING)) for _ in range(5)]
            (await server.next_call()).answer_list(10, [pod("a", "x", 3)])
            results = [await each for each in readers]
            assert all(each is results[0] for each in results)
            assert server.waiting == 0

    run_simulated(talk())


def test_different_questions_do_not_wait_for_each_other() -> None:
    async def talk() -> None:
        server = FakeApiServer()
        async with asyncio.TaskGroup() as tasks:
            lister = Lister(server.client, tasks)
            everything = tasks.create_task(lister.read(EVERYTHING))
            in_flight = await server.next_call()
            team = tasks.create_task(lister.read(TEAM_A))
            call = await server.next_call()
            assert call.path == "/api/v1/namespaces/team-a/pods"
            call.answer_list(10)
            await team
            assert not everything.done()
            in_flight.answer_list(11)
            await everything

    run_simulated(talk())


def test_a_namespace_is_read_unread_with_one_request() -> None:
    async def talk() -> None:
        server = FakeApiServer()
        async with asyncio.TaskGroup() as tasks:
            lister = Lister(server.client, tasks)
            readers = [
                tasks.create_task(lister.read_namespaces_unread(EVERYTHING, namespaces))
                for namespaces in (["team-a"], ["team-a"])
            ]
            call = await server.next_call()
            assert call.path == "/api/v1/namespaces/team-a/pods"
            assert "resourceVersion" not in call.query
            call.answer_list(10, [pod("team-a", "x", 3)], continue_token="next")
            call = await server.next_call()
            assert call.query["continue"] == "next"
            call.answer_list(10, [pod("team-a", "y", 3)])
            for each in readers:
                listed = await each
                assert (listed.rv, listed.continue_token) == ("10", "")
                items = json.loads(b"[%b]" % b",".join(listed.texts))
                assert [item["metadata"]["name"] for item in items] == ["x", "y"]
            assert server.waiting == 0

    run_simulated(talk())


def test_several_namespaces_are_read_unread_at_one_resource_version() -> None:
    async def talk() -> None:
        server = FakeApiServer()
        async with asyncio.TaskGroup() as tasks:
            lister = Lister(server.client, tasks)
            reader = tasks.create_task(lister.read_namespaces_unread(EVERYTHING, ["a", "a-b"]))
            (await server.next_call()).answer_list(10)
            for namespace in ("a-b", "a"):  # the order of storage
                call = await server.next_call()
                assert call.path == f"/api/v1/namespaces/{namespace}/pods"
                assert (call.query["resourceVersion"], call.query["resourceVersionMatch"]) == ("10", "Exact")
                call.answer_list(10, [pod(namespace, "x", 3)])
            listed = await reader
            assert listed.rv == "10"
            items = json.loads(b"[%b]" % b",".join(listed.texts))
            assert [item["metadata"]["namespace"] for item in items] == ["a-b", "a"]

    run_simulated(talk())


def by_label(text: str) -> ListQuestion:
    return ListQuestion(resource=PODS, form=ReadForm.OBJECT, label_selector=text)


def test_readers_who_narrow_alike_share_one_read() -> None:
    async def talk() -> None:
        server = FakeApiServer()
        async with asyncio.TaskGroup() as tasks:
            lister = Lister(server.client, tasks)
            readers = [tasks.create_task(lister.read_narrowed(EVERYTHING, by_label("app=web"))) for _ in range(5)]
            call = await server.next_call()
            assert call.query["labelSelector"] == "app=web"
            call.answer_list(10)
            assert [(await each).rv for each in readers] == ["10"] * 5
            assert server.waiting == 0

    run_simulated(talk())


def test_many_who_narrow_differently_share_the_read_of_everything() -> None:
    """Or each of a thousand tenants who come back at once would have upstream look at every object."""

    async def talk() -> None:
        server = FakeApiServer()
        async with asyncio.TaskGroup() as tasks:
            lister = Lister(server.client, tasks)
            readers = [
                tasks.create_task(lister.read_narrowed(EVERYTHING, by_label(f"team={number}"))) for number in range(50)
            ]
            await let_others_run()
            calls = [await server.next_call() for _ in range(MAX_NARROWED_READS + 1)]
            assert server.waiting == 0
            asked = [call.query.get("labelSelector", "everything") for call in calls]
            assert sorted(asked) == ["everything", "team=0", "team=1"]
            for call in calls:
                call.answer_list(10)
            await asyncio.gather(*readers)

            tasks.create_task(lister.read_narrowed(EVERYTHING, by_label("team=7")))
            call = await server.next_call()
            assert call.query["labelSelector"] == "team=7", "the crowd is gone"
            call.answer_list(11)

    run_simulated(talk())


def test_a_reader_that_gives_up_harms_no_other() -> None:
    async def talk() -> None:
        server = FakeApiServer()
        async with asyncio.TaskGroup() as tasks:
            lister = Lister(server.client, tasks)
            impatient, patient = (tasks.create_task(lister.read(EVERYTHING)) for _ in range(2))
            call = await server.next_call()
            impatient.cancel()
            await let_others_run()
            call.answer_list(10)
            assert (await patient).rv == "10"
            assert impatient.cancelled()

    run_simulated(talk())


def test_when_all_who_wait_have_given_up_nothing_is_read_for_them() -> None:
    async def talk() -> None:
        server = FakeApiServer()
        async with asyncio.TaskGroup() as tasks:
            lister = Lister(server.client, tasks)
            first = tasks.create_task(lister.read(EVERYTHING))
            call = await server.next_call()
            late = tasks.create_task(lister.read(EVERYTHING))
            await let_others_run()
            late.cancel()
            await let_others_run()
            call.answer_list(10)
            await first
            await let_others_run()
            assert server.waiting == 0
            again = tasks.create_task(lister.read(EVERYTHING))
            (await server.next_call()).answer_list(11)
            assert (await again).rv == "11"

    run_simulated(talk())


def test_a_failure_is_told_to_all_its_readers_and_the_next_read_is_a_new_one() -> None:
    async def talk() -> None:
        server = FakeApiServer()
        async with asyncio.TaskGroup() as tasks:
            lister = Lister(server.client, tasks)
            readers = [tasks.create_task(refused(lister)) for _ in range(2)]
            call = await server.next_call()
            later = tasks.create_task(lister.read(EVERYTHING))
            await let_others_run()
            call.fail(httpx.ConnectError("refused"))
            assert "cannot be reached" in await readers[0]
            assert "cannot be reached" in await readers[1]
            (await server.next_call()).answer_list(10)
            assert (await later).rv == "10"

    run_simulated(talk())


async def refused(lister: Lister) -> str:
    with pytest.raises(ServiceUnavailable) as raised:
        await lister.read(EVERYTHING)
    return raised.value.message


def test_the_current_resource_version_is_a_consistent_read_of_one_object() -> None:
    async def talk() -> None:
        server = FakeApiServer()
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(Lister(server.client, tasks).current_rv(PODS))
            call = await server.next_call()
            assert (call.path, call.query) == ("/api/v1/pods", {"limit": "1"})
            call.answer_list(77, [pod("a", "x", 3)], continue_token="more")
            assert await asked == "77"

    run_simulated(talk())


async def read_namespaces(question: ListQuestion, *namespaces: str) -> UpstreamList:
    """Reads against a server where each namespace `n` holds the object `in-n`, and the resourceVersion is 40."""
    server = FakeApiServer()
    async with asyncio.TaskGroup() as tasks:
        read = tasks.create_task(Lister(server.client, tasks).read_namespaces(question, namespaces))
        while not read.done():
            call = await server.next_call()
            if call.path == "/api/v1/pods":
                call.answer_list(40, [pod("hidden", "x", 3)])
            else:
                namespace = call.path.split("/")[4]
                assert len(namespaces) == 1 or call.query["resourceVersion"] == (question.resource_version or "40")
                assert len(namespaces) == 1 or call.query["resourceVersionMatch"] == "Exact"
                call.answer_list(call.query.get("resourceVersion", "41"), [pod(namespace, f"in-{namespace}", 3)])
            await let_others_run()
    return read.result()


def test_namespaces_are_read_at_one_resource_version_and_joined_in_the_order_of_storage() -> None:
    listed = run_simulated(read_namespaces(EVERYTHING, "a", "a-b", "A", "b"))
    assert [each.name for each in listed.versions] == ["in-A", "in-a-b", "in-a", "in-b"]
    assert (listed.rv, listed.kind) == ("40", "PodList")


def test_one_namespace_alone_needs_no_resource_version() -> None:
    listed = run_simulated(read_namespaces(EVERYTHING, "a"))
    assert ([each.name for each in listed.versions], listed.rv) == (["in-a"], "41")


@pytest.mark.parametrize("compactions", [0, 1, 2, 3])
def test_namespaces_are_read_anew_when_a_compaction_overtakes_the_read(compactions: int) -> None:
    """The resourceVersion was the proxy's choice, so that its end is nothing the caller should hear of."""

    async def talk() -> None:
        server = FakeApiServer()
        read = None
        async with asyncio.TaskGroup() as tasks:
            read = tasks.create_task(outcome(Lister(server.client, tasks).read_namespaces(EVERYTHING, ("a", "b"))))
            for rv in range(40, 40 + compactions):
                (await server.next_call()).answer_list(rv)
                (await server.next_call()).refuse(410, "Expired")
            if compactions < 3:
                (await server.next_call()).answer_list(50)
                for name in "ab":
                    call = await server.next_call()
                    assert call.query["resourceVersion"] == "50"
                    call.answer_list(50, [pod(name, "x", 3)])
        assert read.result() == ("50" if compactions < 3 else "Expired")

    run_simulated(talk())


async def outcome(read: Awaitable[UpstreamList]) -> str:
    try:
        return (await read).rv
    except Expired:
        return "Expired"


def test_namespaces_are_read_at_the_resource_version_of_the_question() -> None:
    question = ListQuestion(resource=PODS, form=ReadForm.OBJECT, resource_version="7", resource_version_match="Exact")
    assert run_simulated(read_namespaces(question, "a", "b")).rv == "7"


def test_the_order_of_namespaces_is_that_of_keys_with_a_slash() -> None:
    assert sorted(["a", "a-b", "a.b", "ab", "a0"], key=storage_key) == ["a-b", "a.b", "a", "a0", "ab"]
