"""Asks again about the tokens of requests that are under way: whoever may stay is somebody whom a recent answer knows.

| the next answer | the request |
| - | - |
| the same user | goes on until that answer is too old, too |
| refused, or another user (other groups, another uid) | is ended: what it shows was decided for whom there is no more |
| none | goes on and asks again, but not for longer than OUTAGE_SECONDS after the last answer was too old |
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from proxy.authn.outcome import Authenticated, RefusalKind, Refused
from proxy.server.credential import Credential, Reviewed
from proxy.server.jwks import Clock
from proxy.server.token_reviewer import TokenReviewer

OUTAGE_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class ReviewKeeper:
    """`reviewer` None: there is nothing to keep."""

    def __init__(self, reviewer: TokenReviewer | None, audiences: tuple[str, ...], clock: Clock) -> None:
        self._reviewer = reviewer
        self._audiences = audiences
        self._clock = clock
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Holds the tasks until cancelled. Requests come only while this runs."""
        async with asyncio.TaskGroup() as self._tasks:
            await asyncio.Event().wait()

    def keeping(self, credential: Credential) -> AbstractContextManager[None]:
        """Inside of it, the credential is revoked as soon as an answer says so."""
        if self._reviewer is None or credential.reviewed is None:
            return nullcontext()
        return self._reviewing(self._reviewer, credential, credential.reviewed)

    @contextmanager
    def _reviewing(self, reviewer: TokenReviewer, credential: Credential, reviewed: Reviewed) -> Iterator[None]:
        assert self._tasks is not None, "keeping without run"
        task = self._tasks.create_task(self._keep(reviewer, credential, reviewed))
        try:
            yield
        finally:
            task.cancel()

    async def _keep(self, reviewer: TokenReviewer, credential: Credential, reviewed: Reviewed) -> None:
        try:
            await self._until_refused(reviewer, reviewed)
        except Exception:
            _log.exception("bug while a token was reviewed again: its request is ended")
        credential.revoke()

    async def _until_refused(self, reviewer: TokenReviewer, reviewed: Reviewed) -> None:
        asks_again_at = last_counted_until = reviewed.asks_again_at
        while True:
            await self._clock.sleep(max(0.0, asks_again_at - self._clock.monotonic()))
            answer = await reviewer.review(reviewed.token, self._audiences)
            match answer.outcome:
                case Authenticated(user) if user == reviewed.user:
                    asks_again_at = last_counted_until = answer.counts_until
                case Refused(RefusalKind.BEARER_REVIEW_FAILED):
                    now = self._clock.monotonic()
                    if now >= last_counted_until + OUTAGE_SECONDS:
                        return
                    asks_again_at = now + RETRY_SECONDS
                case _:
                    return
