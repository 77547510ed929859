"""The one file that owns the clock. Everything else is told the time, or is given a Clock."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Real time."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)
