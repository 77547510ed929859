"""Lists read from upstream: page by page, whole or not at all."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from proxy.api.status import BadRequest, Expired, ServiceUnavailable, StatusError
from proxy.upstream.list_reader import PAGE_SIZE, ListQuestion, ReadForm, UpstreamList, read_list, read_page
from tests.support.fake_api_server import Call, FakeApiServer
from tests.support.simulated_time import run_simulated
from tests.support.versions import PODS, pod

QUESTION = ListQuestion(
    resource=PODS,
    form=ReadForm.OBJECT,
    namespace="a",
    label_selector="app in (x,y)",
    field_selector="spec.nodeName=n&1",
    resource_version="7",
    resource_version_match="Exact",
)
PLAIN = ListQuestion(resource=PODS, form=ReadForm.OBJECT)
TABLE = ListQuestion(resource=PODS, form=ReadForm.TABLE)


def read(question: ListQuestion, *answers: Any, paged: bool = False) -> tuple[UpstreamList, list[Call]]:
    """Reads against a server that answers in this order; each answer is called with the Call."""

    async def talk() -> tuple[UpstreamList, list[Call]]:
        server, calls = FakeApiServer(), []
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(
                read_page(server.client, question, limit=3) if paged else read_list(server.client, question)
            )
            for answer in answers:
                calls.append(await server.next_call())
                answer(calls[-1])
        assert server.waiting == 0
        return reading.result(), calls

    return run_simulated(talk())


def failure(question: ListQuestion, *answers: Any) -> StatusError:
    with pytest.raises(BaseExceptionGroup) as raised:
        read(question, *answers)
    (error,) = raised.value.exceptions
    assert isinstance(error, StatusError)
    return error


def page(rv: int, *names: str, more: str = "") -> Any:
    return lambda call: call.answer_list(rv, [pod("a", name, 5) for name in names], continue_token=more)


def refuse(status: int, reason: str) -> Any:
    return lambda call: call.refuse(status, reason)


def test_a_question_is_asked_in_upstreams_words() -> None:
    _, (call,) = read(QUESTION, page(7))
    assert call.path == "/api/v1/namespaces/a/pods"
    assert call.query == {
        "limit": str(PAGE_SIZE),
        "resourceVersion": "7",
        "resourceVersionMatch": "Exact",
        "labelSelector": "app in (x,y)",
        "fieldSelector": "spec.nodeName=n&1",
    }


def test_pages_are_joined_and_the_later_ones_name_no_resource_version() -> None:
    listed, calls = read(QUESTION, page(7, "x", more="t1"), page(7, more="t2"), page(7, "z"))
    assert [each.name for each in listed.versions] == ["x", "z"]
    assert (listed.rv, listed.continue_token, listed.kind, listed.api_version) == ("7", "", "PodList", "v1")
    assert [call.query.get("continue") for call in calls] == [None, "t1", "t2"]
    assert all("resourceVersion" not in call.query for call in calls[1:])
    assert all(call.query["labelSelector"] == QUESTION.label_selector for call in calls)


def test_a_list_that_upstream_forgets_half_way_is_begun_again() -> None:
    listed, _ = read(PLAIN, page(7, "x", more="t1"), refuse(410, "Expired"), page(9, "y", more="t2"), page(9, "z"))
    assert ([each.name for each in listed.versions], listed.rv) == (["y", "z"], "9")


def test_a_list_that_is_forgotten_over_and_over_fails() -> None:
    answers = (page(7, "x", more="t1"), refuse(410, "Expired")) * 3
    assert isinstance(failure(PLAIN, *answers), ServiceUnavailable)


def test_an_exact_resource_version_that_is_gone_is_told() -> None:
    assert isinstance(failure(QUESTION, refuse(410, "Expired")), Expired)


@pytest.mark.parametrize(
    ("status", "reason", "error"), [(400, "BadRequest", BadRequest), (403, "X", ServiceUnavailable)]
)
def test_a_refusal_is_upstreams_own_but_for_the_proxys_identity(
    status: int, reason: str, error: type[StatusError]
) -> None:
    assert isinstance(failure(PLAIN, refuse(status, reason)), error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"oops",
        b"[]",
        b'{"items":[{}]}',
        b'{"items":[1]}',
        b'{"items":{}}',
        b'{"metadata":{"resourceVersion":1}}',
        b'{"kind":"\xff"}',
        b'{"items":[{"metadata":{"name":"\xff"}}]}',
        b'{"items":[{"metadata":{},"data":"\xff"}]}',
        b'{"items":' + b"[" * 100_000,
    ],
)
def test_a_list_that_cannot_be_read_is_no_list(body: bytes) -> None:
    assert isinstance(failure(PLAIN, lambda call: call.answer(body)), ServiceUnavailable)


def test_items_may_be_null() -> None:
    listed, _ = read(
        PLAIN, lambda call: call.answer(b'{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":null}')
    )
    assert (listed.versions, listed.rv) == ([], "7")


def test_a_page_tells_where_the_next_one_begins() -> None:
    listed, (call,) = read(PLAIN, page(7, "x", more="t1"), paged=True)
    assert (listed.continue_token, call.query["limit"]) == ("t1", "3")


def rows(*shown: dict[str, Any], indent: int | None = None, **members: Any) -> Any:
    body = {
        "kind": "Table",
        "metadata": {"resourceVersion": "7"},
        "columnDefinitions": [{"name": "Name"}],
        "rows": [{"cells": [each["metadata"]["name"], 1], "object": each, **members} for each in shown],
    }
    return lambda call: call.answer(json.dumps(body, indent=indent).encode())


@pytest.mark.parametrize("indent", [None, 2])
def test_rows_keep_their_cells_on_one_line_with_whole_objects(indent: int | None) -> None:
    listed, (call,) = read(TABLE, rows(pod("a", "x", 5), indent=indent))
    (version,) = listed.versions
    assert call.query["includeObject"] == "Object"
    assert b"\n" not in version.row_head + version.raw + listed.columns
    assert json.loads(version.row_head + b"null}") == {"cells": ["x", 1], "object": None}
    assert json.loads(version.raw) == pod("a", "x", 5)
    assert json.loads(listed.columns) == [{"name": "Name"}]


def test_the_conditions_of_a_row_are_kept() -> None:
    done = [{"type": "Completed", "status": "True"}]
    listed, _ = read(TABLE, rows(pod("a", "x", 5), conditions=done))
    row = json.loads(listed.versions[0].row_head + b"null}")
    assert row == {"cells": ["x", 1], "conditions": done, "object": None}


def test_a_list_where_a_table_was_asked_for_is_refused_and_not_taken_for_an_empty_one() -> None:
    assert isinstance(failure(TABLE, page(7, "x")), ServiceUnavailable)


def test_a_row_without_its_object_is_refused() -> None:
    body = b'{"kind":"Table","metadata":{"resourceVersion":"7"},"rows":[{"cells":["x"],"object":null}]}'
    assert isinstance(failure(TABLE, lambda call: call.answer(body)), ServiceUnavailable)


def test_others_get_the_loop_within_a_page() -> None:
    async def talk() -> int:
        server, turns = FakeApiServer(), 0
        reading = asyncio.ensure_future(read_page(server.client, PLAIN, limit=PAGE_SIZE))
        call = await server.next_call()
        call.answer_list(7, [pod("a", f"p{n:04}", 5) for n in range(PAGE_SIZE)])
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        assert [each.name for each in reading.result().versions] == [f"p{n:04}" for n in range(PAGE_SIZE)]
        return turns

    assert run_simulated(talk()) > PAGE_SIZE // 100
