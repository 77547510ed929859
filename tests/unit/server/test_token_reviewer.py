"""What the API server says of a token counts for a short while, is asked once, and is no yes when it failed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from proxy.authn.bearer_token import MAX_TOKEN_BYTES
from proxy.authn.outcome import Authenticated, RefusalKind, Refused
from proxy.server.token_reviewer import (
    CACHED_ANSWERS,
    MAX_QUESTIONS,
    MAX_WAITING,
    PATH,
    RETRY_DELAYS_SECONDS,
    REVIEW_SECONDS,
    ReviewAnswer,
    TokenReviewer,
)
from proxy.upstream.fair_slots import CALLER
from tests.support.fake_api_server import Call, FakeApiServer
from tests.support.simulated_clock import SimulatedClock
from tests.support.simulated_time import let_others_run, loop_time, run_simulated

TTL_SECONDS = 10.0
DENIED = Refused(RefusalKind.BEARER_REVIEW_DENIED)
FAILED = Refused(RefusalKind.BEARER_REVIEW_FAILED)


class Stage:
    """A reviewer in front of an API server."""

    def __init__(self) -> None:
        self.server = FakeApiServer()
        self.reviewer = TokenReviewer(self.server.client, SimulatedClock(), ttl_seconds=TTL_SECONDS)

    def ask(self, token: bytes = b"secret", *audiences: str) -> asyncio.Task[ReviewAnswer]:
        return asyncio.create_task(self.reviewer.review(token, audiences))  # noqa: TID251

    async def no_call(self) -> None:
        await let_others_run()
        assert self.server.waiting == 0


def say(call: Call, **status: Any) -> None:
    call.answer(
        {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "status": status}, status=201
    )


def say_yes(call: Call, name: str = "alice") -> None:
    say(call, authenticated=True, user={"username": name}, audiences=["api"])


def name_of(answer: ReviewAnswer) -> str:
    assert isinstance(answer.outcome, Authenticated)
    return answer.outcome.user.name


def test_a_token_is_asked_about_once_while_its_answer_counts() -> None:
    async def scene() -> None:
        stage = Stage()
        asked_at = loop_time()
        first = stage.ask(b"secret", "api")
        call = await stage.server.next_call()
        assert (call.method, call.path) == ("POST", PATH)
        assert json.loads(call.body)["spec"] == {"token": "secret", "audiences": ["api"]}
        say_yes(call)
        answer = await first
        assert (name_of(answer), answer.counts_until) == ("alice", asked_at + TTL_SECONDS)
        await asyncio.sleep(TTL_SECONDS - 0.1)
        assert await stage.ask(b"secret", "api") == answer
        await stage.no_call()
        await asyncio.sleep(0.1)
        again = stage.ask(b"secret", "api")
        say(await stage.server.next_call(), authenticated=False)
        assert (await again).outcome == DENIED

    run_simulated(scene())


def test_a_no_counts_as_long_as_a_yes() -> None:
    async def scene() -> None:
        stage = Stage()
        first = stage.ask()
        say(await stage.server.next_call(), authenticated=False, user={"username": "alice"}, error="expired")
        assert (await first).outcome == DENIED
        assert (await stage.ask()).outcome == DENIED
        await stage.no_call()
        await asyncio.sleep(TTL_SECONDS)
        again = stage.ask()
        say_yes(await stage.server.next_call())
        assert name_of(await again) == "alice"

    run_simulated(scene())


def test_an_answer_is_for_one_token_and_one_list_of_audiences() -> None:
    async def scene() -> None:
        stage = Stage()
        for token, audiences in ((b"a", ("b",)), (b"ab", ()), (b"a", ("b", "")), (b"a", ())):
            asking = stage.ask(token, *audiences)
            say(await stage.server.next_call(), authenticated=True, user={"username": "x"}, audiences=["b"])
            assert name_of(await asking) == "x"

    run_simulated(scene())


def test_who_asks_at_the_same_time_shares_the_question() -> None:
    async def scene() -> None:
        stage = Stage()
        asking = [stage.ask() for _ in range(20)]
        call = await stage.server.next_call()
        await stage.no_call()
        say_yes(call)
        assert {name_of(answer) for answer in await asyncio.gather(*asking)} == {"alice"}
        await stage.no_call()

    run_simulated(scene())


def test_when_the_asker_goes_away_another_asks() -> None:
    async def scene() -> None:
        stage = Stage()
        first, second, third = stage.ask(), stage.ask(), stage.ask()
        await stage.server.next_call()
        first.cancel()
        call = await stage.server.next_call()
        await stage.no_call()
        say_yes(call)
        assert name_of(await second) == name_of(await third) == "alice"

    run_simulated(scene())


def test_who_waits_for_another_can_go_away_alone() -> None:
    async def scene() -> None:
        stage = Stage()
        first, second = stage.ask(), stage.ask()
        call = await stage.server.next_call()
        second.cancel()
        await let_others_run()
        say_yes(call)
        assert name_of(await first) == "alice"

    run_simulated(scene())


@pytest.mark.parametrize("failing", [403, 401, 404, 400, 200])
def test_a_failure_is_a_no_for_who_asked_and_is_not_remembered(failing: int) -> None:
    async def scene() -> None:
        stage = Stage()
        asking = [stage.ask(), stage.ask()]
        (await stage.server.next_call()).refuse(failing, "Reason")
        assert [answer.outcome for answer in await asyncio.gather(*asking)] == [FAILED, FAILED]
        again = stage.ask()
        say_yes(await stage.server.next_call())
        assert name_of(await again) == "alice"

    run_simulated(scene())


def test_what_may_pass_is_asked_again_before_it_is_a_failure() -> None:
    async def scene() -> None:
        stage = Stage()
        asking = stage.ask()
        (await stage.server.next_call()).fail(httpx.RemoteProtocolError("closed"))
        (await stage.server.next_call()).refuse(429, "TooManyRequests")
        say_yes(await stage.server.next_call())
        assert name_of(await asking) == "alice"
        asking = stage.ask(b"other")
        for _ in range(len(RETRY_DELAYS_SECONDS) + 1):
            (await stage.server.next_call()).refuse(500, "InternalError")
        assert (await asking).outcome == FAILED
        await stage.no_call()

    run_simulated(scene())


def test_an_api_server_that_does_not_answer_is_a_failure_in_time() -> None:
    async def scene() -> None:
        stage = Stage()
        began_at = loop_time()
        assert (await stage.ask()).outcome == FAILED
        assert loop_time() == began_at + REVIEW_SECONDS

    run_simulated(scene())


def test_a_failure_is_logged_once_and_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        stage = Stage()
        for token in (b"secret-1", b"secret-2"):
            asking = stage.ask(token)
            (await stage.server.next_call()).answer(token)
            await asking

    run_simulated(scene())
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text


def test_guesses_do_not_drive_out_good_answers() -> None:
    async def scene() -> None:
        stage = Stage()
        good = stage.ask(b"good")
        say_yes(await stage.server.next_call())
        await good
        for number in range(CACHED_ANSWERS + 1):
            guess = stage.ask(b"guess %d" % number)
            say(await stage.server.next_call())
            await guess
        assert name_of(await stage.ask(b"good")) == "alice"
        await stage.no_call()
        guess = stage.ask(b"guess 0")  # the oldest is forgotten: the cache is bounded
        say(await stage.server.next_call())
        await guess

    run_simulated(scene())


def test_questions_and_who_waits_for_them_are_bounded() -> None:
    async def scene() -> None:
        stage = Stage()
        asking = [stage.ask(b"%d" % number) for number in range(MAX_WAITING + MAX_QUESTIONS)]
        await let_others_run()
        assert stage.server.waiting == MAX_QUESTIONS
        assert (await stage.ask(b"one more")).outcome == FAILED
        say_yes(await stage.server.next_call())
        await let_others_run()
        assert stage.server.waiting == MAX_QUESTIONS
        for task in asking:
            task.cancel()

    run_simulated(scene())


@pytest.mark.parametrize("token", [b"", b"x" * (MAX_TOKEN_BYTES + 1), b"\xff", b"a\x00"])
def test_what_is_no_token_is_not_asked_about(token: bytes) -> None:
    async def scene() -> None:
        stage = Stage()
        assert (await stage.ask(token)).outcome == Refused(RefusalKind.BEARER_UNKNOWN)
        await stage.no_call()

    run_simulated(scene())


def test_guesses_from_one_address_do_not_hold_up_another() -> None:
    async def scene() -> None:
        stage = Stage()
        CALLER.set("address 203.0.113.9")
        guesses = [stage.ask(b"guess %d" % number) for number in range(MAX_WAITING + MAX_QUESTIONS)]
        await let_others_run()
        CALLER.set("address 192.0.2.1")
        honest = stage.ask(b"good")
        await let_others_run()
        assert not honest.done(), "there was room for it"
        for _ in range(MAX_QUESTIONS):
            say(await stage.server.next_call(), authenticated=False)
        await let_others_run()
        asked = [await stage.server.next_call() for _ in range(MAX_QUESTIONS)]
        (its,) = (call for call in asked if json.loads(call.body)["spec"]["token"] == "good")
        say_yes(its)
        assert name_of(await honest) == "alice"
        for task in guesses:
            task.cancel()

    run_simulated(scene())
