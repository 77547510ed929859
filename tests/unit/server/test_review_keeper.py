"""A request goes on only while a recent TokenReview knows its caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from proxy.authn.user import User
from proxy.server.credential import Credential, Reviewed
from proxy.server.review_keeper import OUTAGE_SECONDS, RETRY_SECONDS, ReviewKeeper
from proxy.server.token_reviewer import TokenReviewer
from tests.support.fake_api_server import Call, FakeApiServer
from tests.support.simulated_clock import SimulatedClock
from tests.support.simulated_time import let_others_run, loop_time, run_simulated

TTL_SECONDS = 10.0
ALICE = User(name="alice", groups=("team-a", "system:authenticated"))


def say(call: Call, name: str = "alice", group: str = "team-a", *, authenticated: bool = True) -> None:
    user = {"username": name, "groups": [group]}
    call.answer(
        {
            "kind": "TokenReview",
            "apiVersion": "authentication.k8s.io/v1",
            "status": {"authenticated": authenticated, "user": user, "audiences": ["api"]},
        }
    )


@asynccontextmanager
async def kept(server: FakeApiServer, *, requests: int = 1) -> AsyncIterator[list[Credential]]:
    """Requests under way with one token that was just reviewed."""
    clock = SimulatedClock()
    keeper = ReviewKeeper(TokenReviewer(server.client, clock, ttl_seconds=TTL_SECONDS), ("api",), clock)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(keeper.run())
        await let_others_run()
        reviewed = Reviewed(token=b"secret", user=ALICE, asks_again_at=loop_time() + TTL_SECONDS)
        credentials = [Credential(None, reviewed) for _ in range(requests)]
        under_way = [keeper.keeping(credential) for credential in credentials]
        for each in under_way:
            each.__enter__()
        yield credentials
        for each in under_way:
            each.__exit__(None, None, None)
        await let_others_run()
        running.cancel()


async def call_after(server: FakeApiServer, seconds: float) -> Call:
    """The next question, which comes then."""
    began_at = loop_time()
    call = await server.next_call()
    assert loop_time() == pytest.approx(began_at + seconds)
    return call


def scene(play: Callable[[FakeApiServer], Awaitable[None]]) -> Callable[[], None]:
    """A test on simulated time."""

    async def main() -> None:
        await play(FakeApiServer())

    def test() -> None:
        run_simulated(main())

    return test


@scene
async def test_a_token_is_reviewed_again_and_again(server: FakeApiServer) -> None:
    async with kept(server) as (credential,):
        for _ in range(3):
            say(await call_after(server, TTL_SECONDS))
            await let_others_run()
            assert not credential.is_revoked


@scene
async def test_requests_with_one_token_share_the_question(server: FakeApiServer) -> None:
    async with kept(server, requests=50) as credentials:
        for _ in range(2):
            call = await call_after(server, TTL_SECONDS)
            await let_others_run()
            assert server.waiting == 0
            say(call)
        say(await call_after(server, TTL_SECONDS), authenticated=False)
        await let_others_run()
        assert all(credential.is_revoked for credential in credentials)


@scene
async def test_a_revoked_token_ends_its_request(server: FakeApiServer) -> None:
    async with kept(server) as (credential,):
        ended: list[float] = []
        credential.observe(credential, lambda: ended.append(loop_time()))
        say(await call_after(server, TTL_SECONDS), authenticated=False)
        await let_others_run()
        assert ended == [loop_time()]
        assert credential.has_ended(0.0)


@scene
async def test_another_user_ends_the_request(server: FakeApiServer) -> None:
    async with kept(server) as (credential,):
        say(await call_after(server, TTL_SECONDS), name="mallory")
        await let_others_run()
        assert credential.is_revoked


@scene
async def test_other_groups_end_the_request(server: FakeApiServer) -> None:
    async with kept(server) as (credential,):
        say(await call_after(server, TTL_SECONDS), group="team-b")
        await let_others_run()
        assert credential.is_revoked


@scene
async def test_an_outage_is_survived(server: FakeApiServer) -> None:
    async with kept(server) as (credential,):
        (await call_after(server, TTL_SECONDS)).refuse(403, "Forbidden")
        (await call_after(server, RETRY_SECONDS)).refuse(403, "Forbidden")
        say(await call_after(server, RETRY_SECONDS))
        await let_others_run()
        assert not credential.is_revoked
        await call_after(server, TTL_SECONDS)


@scene
async def test_an_outage_that_lasts_is_not(server: FakeApiServer) -> None:
    async with kept(server) as (credential,):
        counted_until = loop_time() + TTL_SECONDS
        while not credential.is_revoked:
            (await server.next_call()).refuse(403, "Forbidden")
            await let_others_run()
            if not credential.is_revoked:
                assert loop_time() < counted_until + OUTAGE_SECONDS
        assert loop_time() <= counted_until + OUTAGE_SECONDS + RETRY_SECONDS


@scene
async def test_a_request_that_ended_is_not_asked_about(server: FakeApiServer) -> None:
    async with kept(server):
        pass
    await asyncio.sleep(2 * TTL_SECONDS)
    assert server.waiting == 0


@scene
async def test_what_no_review_vouches_for_is_left_alone(server: FakeApiServer) -> None:
    clock = SimulatedClock()
    for reviewer in (None, TokenReviewer(server.client, clock, ttl_seconds=TTL_SECONDS)):
        with ReviewKeeper(reviewer, (), clock).keeping(Credential(None)):
            await asyncio.sleep(2 * TTL_SECONDS)
    assert server.waiting == 0
