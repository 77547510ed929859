"""The streams that are open, and what ends them from outside: another scope, and the end of the process.

INVARIANT: no stream outlives the scope it was opened with (tests/realkube/test_bypasses.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from proxy.authn.user import User
from proxy.authz.decision import Attributes, Decision, Permit
from proxy.telemetry.watch_counts import WatchCounts
from proxy.watch.session import EndReason

DRAIN_BOUND_SECONDS = 5.0
"""How long a drain waits for streams to write their last bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenStream:
    """One stream. `end` is called at most once from here, and must not wait. `counts` None: nobody counts."""

    permit: Permit
    end: Callable[[EndReason], None]
    counts: WatchCounts | None = None


class OpenStreams:
    """A registry. Streams are added when they open and removed when they have ended."""

    def __init__(self) -> None:
        self._streams: dict[OpenStream, None] = {}
        self._emptied = asyncio.Event()
        self._end_observers: list[Callable[[OpenStream], None]] = []

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[OpenStream]:
        return iter(self._streams)

    def observe_ends(self, observer: Callable[[OpenStream], None]) -> None:
        """`observer` is told of each stream in the step in which it is taken out."""
        self._end_observers.append(observer)

    def add(self, stream: OpenStream) -> None:
        """Registers a stream."""
        self._streams[stream] = None

    def remove(self, stream: OpenStream) -> None:
        """Takes out a stream that has ended."""
        if stream in self._streams:
            del self._streams[stream]
            for observer in self._end_observers:
                observer(stream)
        if not self._streams:
            self._emptied.set()

    def reconsider(self, decide: Callable[[User, Attributes], Decision]) -> int:
        """Ends every stream whose scope is not what it was opened with. Returns how many."""
        decisions: dict[tuple[User, Attributes], Decision] = {}
        ended = 0
        for stream in list(self._streams):
            question = (stream.permit.user, stream.permit.attributes)
            if question not in decisions:
                decisions[question] = decide(*question)
            decision = decisions[question]
            if not isinstance(decision, Permit) or decision.scope != stream.permit.scope:
                stream.end(EndReason.SCOPE_CHANGED)
                ended += 1
        return ended

    async def drain(self) -> None:
        """Ends all streams and waits, within a bound, until they have said goodbye."""
        for stream in list(self._streams):
            stream.end(EndReason.DRAIN)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_BOUND_SECONDS):
                while self._streams:
                    self._emptied.clear()
                    await self._emptied.wait()
