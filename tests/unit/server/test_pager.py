"""Pages of a filtered list: joined they are the whole list, however upstream and the client cut it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.api.objects import ObjectVersion
from proxy.api.status import BadRequest, Expired
from proxy.authz.scope import EVERYTHING, Grant, Scope
from proxy.authz.visibility import Visibility
from proxy.policy.namespace_set import NamespaceSet
from proxy.server.continue_token import KEY_BYTES, ContinueTokens
from proxy.server.pager import Pager
from proxy.upstream.list_reader import ListQuestion, ReadForm, UpstreamList
from tests.support.fake_api_server import Call, FakeApiServer
from tests.support.simulated_time import run_simulated
from tests.support.versions import PODS, compact, pod
from tests.support.visibilities import LABEL_SETS, NAMES, NAMESPACES, NODES, scopes

T = TypeVar("T")
RV = "40"
ALICE = b"alice"
Pod = dict[str, Any]


def key(of: Pod) -> str:
    return f"{of['metadata']['namespace']}/{of['metadata']['name']}"


class PagedServer:
    """Answers lists of pods at one resourceVersion in pages of `page_size`, whatever limit is asked for."""

    def __init__(self, pods: Sequence[Pod], page_size: int) -> None:
        self.pods = sorted(pods, key=key)
        self.page_size = page_size
        self.forgotten = False
        self.calls: list[Call] = []

    def answer(self, call: Call) -> None:
        self.calls.append(call)
        if self.forgotten:
            call.refuse(410, "Expired", "a token of upstream's own is in here")
            return
        assert call.query.get("resourceVersion", RV) == RV
        assert call.query.get("resourceVersionMatch", "Exact") == "Exact"
        namespace = call.path.split("/")[4] if "/namespaces/" in call.path else ""
        pods = [each for each in self.pods if namespace in ("", each["metadata"]["namespace"])]
        start = call.query.get("continue", "")
        rest = [each for each in pods if key(each) > start]
        page, more = rest[: self.page_size], rest[self.page_size :]
        call.answer_list(RV, page, continue_token=key(page[-1]) if more else "")

    async def serve(self, server: FakeApiServer) -> None:
        while True:
            self.answer(await server.next_call())


def against(upstream: PagedServer, work: Callable[[Pager], Coroutine[Any, Any, T]]) -> T:
    async def talk() -> T:
        server = FakeApiServer()
        serving = asyncio.ensure_future(upstream.serve(server))
        try:
            return await work(Pager(server.client, ContinueTokens(bytes(KEY_BYTES))))
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving

    return run_simulated(talk())


QUESTION = ListQuestion(resource=PODS, form=ReadForm.OBJECT)
AT_RV = ListQuestion(resource=PODS, form=ReadForm.OBJECT, resource_version=RV, resource_version_match="Exact")


def seeing(scope: Scope) -> Visibility:
    return Visibility(scope=scope, namespace="", name="", namespace_is_name=False)


async def read(
    pager: Pager,
    visible: Visibility,
    *,
    parts: Sequence[str] = ("",),
    limit: int = 2,
    token: str = "",
    user: bytes = ALICE,
) -> UpstreamList:
    start = pager.position(token, user, visible) if token else None
    question = QUESTION if list(parts) == [""] else AT_RV
    return await pager.read(question, parts, visible, limit=limit, start=start, bound_to=user)


async def read_all(pager: Pager, visible: Visibility, parts: Sequence[str], limit: int) -> list[UpstreamList]:
    pages = [await read(pager, visible, parts=parts, limit=limit)]
    while pages[-1].continue_token:
        pages.append(await read(pager, visible, parts=parts, limit=limit, token=pages[-1].continue_token))
    return pages


worlds = st.dictionaries(
    st.tuples(st.sampled_from((*NAMESPACES, "team-a-b")), st.sampled_from((*NAMES, "w", "v", "u"))),
    st.tuples(st.sampled_from(LABEL_SETS), st.sampled_from(NODES)),
    max_size=24,
)


@settings(max_examples=150, deadline=None)
@given(
    worlds,
    scopes,
    st.lists(st.sampled_from((*NAMESPACES, "team-a-b", "empty")), unique=True, max_size=4),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_pages_joined_are_the_filtered_list_and_each_but_the_last_is_full(
    world: dict[tuple[str, str], tuple[dict[str, str], str]],
    scope: Scope,
    namespaces: list[str],
    limit: int,
    page_size: int,
) -> None:
    pods = [pod(*where, 3, labels=labels, node=node) for where, (labels, node) in world.items()]
    parts = sorted(namespaces, key=lambda each: f"{each}/") or [""]
    visible = seeing(scope)
    expected = [
        key(each)
        for each in sorted(pods, key=key)
        if parts == [""] or each["metadata"]["namespace"] in parts
        if visible.sees(ObjectVersion(compact(each)))
    ]
    pages = against(PagedServer(pods, page_size), lambda pager: read_all(pager, visible, parts, limit))
    assert ["/".join(each.key) for page in pages for each in page.versions] == expected
    assert [len(page.versions) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert len(pages) == max(1, -(-len(expected) // limit)), "no empty page at the end"
    assert {page.rv for page in pages} == {RV}


FIVE = [pod("team-a", name, 3) for name in ("a", "b", "c", "d", "e")]


def test_what_is_hidden_between_pages_is_not_counted_and_not_named() -> None:
    """Upstream's token names the last key it scanned, in base64 that anybody can read."""
    hidden = [pod("secret-place", f"secret-name-{number}", 3) for number in range(9)]
    visible = seeing(
        Scope(
            False,
            frozenset(
                {
                    Grant(
                        namespaces=NamespaceSet(frozenset(), frozenset({"team-*"})),
                        names=None,
                        field_selector=None,
                        label_selector=None,
                    )
                }
            ),
        )
    )
    pages = against(PagedServer([*hidden, *FIVE], 3), lambda pager: read_all(pager, visible, [""], 2))
    assert [[each.name for each in page.versions] for page in pages] == [["a", "b"], ["c", "d"], ["e"]]
    for page in pages:
        assert "secret" not in page.continue_token
        assert "secret" not in decoded(page.continue_token)
        assert "team-a" not in decoded(page.continue_token)


def decoded(token: str) -> str:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("latin-1")


def test_a_page_is_read_at_the_resource_version_of_the_first_from_the_page_it_goes_on_in() -> None:
    upstream = PagedServer(FIVE, 2)
    pages = against(upstream, lambda pager: read_all(pager, seeing(EVERYTHING), [""], 3))
    assert [len(page.versions) for page in pages] == [3, 2]
    first, *_, again, last = upstream.calls
    assert "resourceVersion" not in first.query
    assert again.query["continue"] == "team-a/b"
    assert last.query["continue"] == "team-a/d"


def test_the_next_page_of_a_list_that_began_on_upstreams_first_page_is_asked_for_at_its_resource_version() -> None:
    upstream = PagedServer(FIVE, 9)
    against(upstream, lambda pager: read_all(pager, seeing(EVERYTHING), [""], 3))
    assert [call.query.get("resourceVersion") for call in upstream.calls] == [None, RV]


def test_each_token_is_another_one_even_for_the_same_place() -> None:
    async def twice(pager: Pager) -> tuple[str, str]:
        return (await read(pager, seeing(EVERYTHING))).continue_token, (
            await read(pager, seeing(EVERYTHING))
        ).continue_token

    one, other = against(PagedServer(FIVE, 9), twice)
    assert one != other


def test_a_token_is_for_its_own_caller_and_request_only() -> None:
    async def steal(pager: Pager) -> None:
        page = await read(pager, seeing(EVERYTHING))
        with pytest.raises(BadRequest):
            await read(pager, seeing(EVERYTHING), token=page.continue_token, user=b"bob")

    against(PagedServer(FIVE, 9), steal)


def test_a_list_does_not_go_on_under_another_scope() -> None:
    async def change_scope(pager: Pager) -> None:
        page = await read(pager, seeing(EVERYTHING))
        with pytest.raises(Expired):
            await read(pager, seeing(Scope(everything=False)), token=page.continue_token)

    against(PagedServer(FIVE, 9), change_scope)


def test_a_page_that_upstream_has_forgotten_is_expired_without_upstreams_own_token() -> None:
    upstream = PagedServer(FIVE, 2)

    async def forget(pager: Pager) -> None:
        page = await read(pager, seeing(EVERYTHING), limit=3)
        upstream.forgotten = True
        with pytest.raises(Expired) as raised:
            await read(pager, seeing(EVERYTHING), limit=3, token=page.continue_token)
        assert "upstream" not in raised.value.message
        assert raised.value.details is None

    against(upstream, forget)


def test_a_place_that_is_not_in_its_page_any_more_is_expired_and_nothing_is_skipped() -> None:
    upstream = PagedServer(FIVE, 9)

    async def lose_place(pager: Pager) -> None:
        page = await read(pager, seeing(EVERYTHING), limit=3)
        upstream.pods = [each for each in upstream.pods if key(each) != "team-a/c"]
        with pytest.raises(Expired):
            await read(pager, seeing(EVERYTHING), limit=3, token=page.continue_token)

    against(upstream, lose_place)
