"""The Clock of code under test, on a simulated loop."""

import asyncio

from tests.support.simulated_time import loop_time


class SimulatedClock:
    """Its time is the running loop's."""

    def monotonic(self) -> float:
        """Seconds."""
        return loop_time()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)
