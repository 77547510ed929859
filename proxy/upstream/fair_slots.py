"""Slots that callers take in turns: however many requests one caller has in line, another waits behind one of them.

Where too many wait, the last of the longest line is sent away, so that nobody can fill the room for others.

Whose a request is, is a context variable: it is known where a request is authenticated, and matters here only, many
calls deeper. A read that several callers share is that of the one who asked first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import ContextVar

CALLER: ContextVar[str] = ContextVar("watchkeeper.caller", default="")
"""The user name of the caller; its address before that is known; empty for what the proxy does of its own accord."""


class NoRoom(Exception):
    """Too many wait already."""


class FairSlots:
    """`slots` may be held at once, and `max_waiting` may wait for one."""

    def __init__(self, slots: int, *, max_waiting: int) -> None:
        self._free = slots
        self._waiting = 0
        self._max_waiting = max_waiting
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}  # by caller; whose turn is next comes first

    async def acquire(self, timeout_seconds: float | None) -> None:
        """Takes a slot in the name of CALLER. Raises NoRoom, TimeoutError."""
        if self._free:
            self._free -= 1
            return
        if self._waiting >= self._max_waiting:
            self._make_room(CALLER.get())
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        caller = CALLER.get()
        self._lines.setdefault(caller, deque()).append(turn)
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_seconds):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release()  # it was ours already when we gave up
            else:
                self._leave_line(caller, turn)
            raise
        finally:
            self._waiting -= 1

    def release(self) -> None:
        """Gives a slot back: to the next in line, else to whoever comes."""
        while self._lines:
            caller = next(iter(self._lines))
            line = self._lines.pop(caller)
            turn = line.popleft()
            if line:
                self._lines[caller] = line
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _make_room(self, caller: str) -> None:
        """Sends away the last of the longest line. Raises NoRoom where none is longer than the caller's would be."""
        longest = max(self._lines.values(), key=len, default=None)
        if longest is None or len(longest) <= len(self._lines.get(caller, ())) + 1:
            raise NoRoom
        turn = longest.pop()
        if not turn.done():
            turn.set_exception(NoRoom())

    def _leave_line(self, caller: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(caller)
        if line is not None and turn in line:
            line.remove(turn)
            if not line:
                del self._lines[caller]
