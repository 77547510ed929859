"""A timer for the end of a credential, which may be years away and is told in wall-clock time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_STEP_SECONDS = 3600.0
"""The longest single wait: a clock that is set meanwhile is noticed within this."""


class ExpiryTimer:
    """Calls `expired` once when `clock` (seconds since the epoch) has passed `expires_at`; None never comes."""

    def __init__(self, expires_at: float | None, clock: Callable[[], float], expired: Callable[[], None]) -> None:
        self._clock = clock
        self._expired = expired
        self._timer: asyncio.Handle | None = None
        if expires_at is not None:
            self._wait(expires_at)

    def cancel(self) -> None:
        """Forgets about it."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self, expires_at: float) -> None:
        left = expires_at - self._clock()
        if left <= 0:
            self._timer = asyncio.get_running_loop().call_soon(self._expired)
        else:
            self._timer = asyncio.get_running_loop().call_later(min(left, _STEP_SECONDS), self._wait, expires_at)
