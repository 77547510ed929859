"""A timer for the end of a credential, which may be years away and is told in wall-clock time, or comes unforeseen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.server.credential import Credential

MAX_WAIT_SECONDS = 15.0
"""The longest single wait: a clock that is set meanwhile is noticed within this, and a stream ends. A step is a few
microseconds: those of ten thousand streams take a thousandth of a core."""


class ExpiryTimer:
    """Calls `ended` once, when the credential has ended by `clock` (seconds since the epoch) or is revoked."""

    def __init__(self, credential: Credential, clock: Callable[[], float], ended: Callable[[], None]) -> None:
        self._credential = credential
        self._clock = clock
        self._ended = ended
        self._timer: asyncio.Handle | None = None
        credential.observe(self, self._wait)
        self._wait()

    def cancel(self) -> None:
        """Forgets about it."""
        self._credential.forget(self)
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop, now = asyncio.get_running_loop(), self._clock()
        if self._credential.has_ended(now):
            self._credential.forget(self)
            self._timer = loop.call_soon(self._ended)
        elif self._credential.expires_at is not None:
            self._timer = loop.call_later(min(self._credential.expires_at - now, MAX_WAIT_SECONDS), self._wait)
