"""An event loop whose time passes at once: a timer that everybody waits for fires as soon as nothing else can happen.

Tests of time-outs, back-off and bookmarks run in no time and always alike. For code without threads and sockets.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Skipping(selectors.DefaultSelector):
    """Instead of waiting it moves the clock of its loop."""

    loop: SimulatedLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("everybody waits for something that no one will do")
            self.loop.now += max(timeout, 0.0)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`now` is its time in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        selector = _Skipping()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run_simulated(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end on a fresh SimulatedLoop."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)


def loop_time() -> float:
    """Seconds on the running loop, as a clock to inject."""
    return asyncio.get_running_loop().time()


async def let_others_run() -> None:
    """Returns when every task has got as far as it can without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)
