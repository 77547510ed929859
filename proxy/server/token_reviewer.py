"""Asks the API server whose a token is, by TokenReview, as the proxy, and remembers the answers for a short while.

| answer | counts |
| - | - |
| authenticated | until its time is over |
| not authenticated | until its time is over, in a cache of its own: guesses do not drive out good answers |
| none, or none that can be read | now: it refuses whoever asked, and is not remembered |

There is one question at a time for a token, whoever waits for its answer. Addresses of clients take turns, so that one
that sends guesses holds up itself; of requests under way, users do. A token is kept only as its digest.

Source: k8s.io/apiserver/plugin/pkg/authenticator/token/webhook, pkg/authentication/token/cache
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Final

import httpx

from proxy.api.status import StatusError
from proxy.authn.expiring_cache import ExpiringCache
from proxy.authn.outcome import Authenticated, RefusalKind, Refused
from proxy.authn.token_review import NoReview, is_reviewable, read_review, review_request
from proxy.server.jwks import Clock
from proxy.upstream.client import UpstreamClient
from proxy.upstream.errors import UpstreamIdentityRefused, status_error_from_response
from proxy.upstream.fair_slots import CALLER, FairSlots, NoRoom

PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
REVIEW_SECONDS: Final = 10.0  # a whole question, waiting and repetitions included: a request waits for it
RETRY_DELAYS_SECONDS: Final[Sequence[float]] = (0.2, 1.0)  # a kept connection that was closed, a server that restarts
MAX_QUESTIONS: Final = 16  # on their way at once: a quarter of all unary requests of the proxy
MAX_WAITING: Final = 1024  # tokens; beyond, one of whoever has most of them is refused at once
CACHED_ANSWERS: Final = 4096  # of each kind
MAX_ANSWER_BYTES: Final = 256 * 1024  # a user with thousands of groups

_LINE: Final = "watchkeeper: token reviews"
"""Whose turn it is at the API server (`upstream/fair_slots`): tokens of strangers are not to hold up anybody else."""

_HEADERS = (("Accept", "application/json"), ("Content-Type", "application/json"))
_WORTH_REPEATING: Final = frozenset({429, 500, 502, 503, 504})
_UNAVAILABLE = Refused(RefusalKind.BEARER_REVIEW_FAILED)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReviewAnswer:
    """What a review said, and until when (monotonic seconds) that counts."""

    outcome: Authenticated | Refused
    counts_until: float


class TokenReviewer:
    """Answers count for `ttl_seconds`."""

    def __init__(self, client: UpstreamClient, clock: Clock, *, ttl_seconds: float) -> None:
        self._client = client
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._authenticated: ExpiringCache[ReviewAnswer] = ExpiringCache(CACHED_ANSWERS)
        self._refused: ExpiringCache[ReviewAnswer] = ExpiringCache(CACHED_ANSWERS)
        self._asked: dict[bytes, asyncio.Future[ReviewAnswer | None]] = {}
        self._questions = FairSlots(MAX_QUESTIONS, max_waiting=MAX_WAITING)
        self._is_failing = False

    async def review(self, token: bytes, audiences: tuple[str, ...]) -> ReviewAnswer:
        """Whose a token is, if it is meant for one of `audiences`; without any, the API server's own are asked for."""
        if not is_reviewable(token):
            return ReviewAnswer(Refused(RefusalKind.BEARER_UNKNOWN), self._clock.monotonic())
        key = _digest(token, audiences)
        while True:
            now = self._clock.monotonic()
            known = self._authenticated.get(key, now) or self._refused.get(key, now)
            if known is not None:
                return known
            if key not in self._asked:
                return await self._lead(key, token, audiences)
            answer = await asyncio.shield(self._asked[key])
            if answer is not None:
                return answer

    async def _lead(self, key: bytes, token: bytes, audiences: tuple[str, ...]) -> ReviewAnswer:
        """Asks for all who want to know. If this caller goes away, another of them asks."""
        answer: ReviewAnswer | None = None
        self._asked[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await self._ask(token, audiences)
            if answer.outcome != _UNAVAILABLE:
                cache = self._authenticated if isinstance(answer.outcome, Authenticated) else self._refused
                cache.put(key, answer, answer.counts_until)
            return answer
        finally:
            self._asked.pop(key).set_result(answer)

    async def _ask(self, token: bytes, audiences: tuple[str, ...]) -> ReviewAnswer:
        asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(REVIEW_SECONDS):
                await self._questions.acquire(None)
                try:
                    asked_at = self._clock.monotonic()
                    outcome = await self._outcome(review_request(token, audiences), audiences)
                finally:
                    self._questions.release()
        except (StatusError, httpx.TransportError, NoReview, NoRoom, TimeoutError) as error:
            self._failed(error)
            return ReviewAnswer(_UNAVAILABLE, self._clock.monotonic())
        self._is_failing = False
        return ReviewAnswer(outcome, asked_at + self._ttl_seconds)

    async def _outcome(self, body: bytes, audiences: tuple[str, ...]) -> Authenticated | Refused:
        for delay_seconds in RETRY_DELAYS_SECONDS:
            try:
                return await self._post(body, audiences)
            except StatusError as error:
                if isinstance(error, UpstreamIdentityRefused) or error.code not in _WORTH_REPEATING:
                    raise
            await self._clock.sleep(delay_seconds)
        return await self._post(body, audiences)

    async def _post(self, body: bytes, audiences: tuple[str, ...]) -> Authenticated | Refused:
        asking_for = CALLER.set(_LINE)
        try:
            async with self._client.stream("POST", PATH, headers=_HEADERS, content=body) as response:
                answer = await self._client.buffer(response, MAX_ANSWER_BYTES)
        finally:
            CALLER.reset(asking_for)
        if answer.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise status_error_from_response(answer)
        return read_review(answer.body, audiences)

    def _failed(self, error: Exception) -> None:
        """Tells the log, once until it works again."""
        if not self._is_failing:
            reason = str(error) or f"no answer in {REVIEW_SECONDS:g} s"
            _log.warning("tokens cannot be reviewed, who shows one is refused: %s", reason)
        self._is_failing = True


def _digest(token: bytes, audiences: tuple[str, ...]) -> bytes:
    """Of the token, and of the audiences in their order: both are part of the question."""
    parts = [token, *(audience.encode() for audience in audiences)]
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
