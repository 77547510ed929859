"""A session: one open watch, from the side of the core.

| phase       | what it means                                                                              |
|-------------|--------------------------------------------------------------------------------------------|
| CATCHING_UP | its owner feeds it from the history, from `position` on                                      |
| LIVE        | it has everything up to the newest Change and gets each next one as it comes                 |
| ENDED       | nothing is written any more; `ended_because` says why                                        |

A live session whose client does not keep up is put back to CATCHING_UP at the Change it got last: the history is its
backlog, and when that has moved past it, the stream ends. So a slow client costs nothing but its write buffer.

INVARIANT: bookmarks never overtake an event (only live sessions get them, from the loop that delivers events).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from proxy.watch.history import Change, rv_number
from proxy.watch.projection import Shown


class Sink(Protocol):
    """Where a session's bytes go. `write` never waits; `writable` turns False above the high-water mark."""

    def write(self, chunk: bytes) -> None: ...
    @property
    def writable(self) -> bool: ...


class Phase(Enum):
    """Where a session stands."""

    CATCHING_UP = "catching up"
    LIVE = "live"
    ENDED = "ended"


class EndReason(Enum):
    """Why a stream ended, for the log and the audit trail. The client sees a clean end in every case."""

    TIMEOUT = "timeout"
    CLIENT_GONE = "client gone"
    CREDENTIAL_EXPIRED = "credential expired"
    SCOPE_CHANGED = "scope changed"
    RELIST = "relist"
    SLOW_CLIENT = "slow client"
    DRAIN = "drain"
    UPSTREAM_LOST = "upstream lost"


def _nobody() -> None:
    """Wakes nobody."""


class Session:
    """One open watch. `on_wake` is called when a live session falls behind or ends; its owner then looks at `phase`."""

    __slots__ = (
        "_first_pending", "_on_wake", "delivered", "ended_because", "floor", "phase", "position", "sink", "skipped",
        "wants_bookmarks",
    )  # fmt: skip

    def __init__(
        self, *, sink: Sink, position: int, floor: str, wants_bookmarks: bool, on_wake: Callable[[], None]
    ) -> None:
        self._on_wake = on_wake
        self.sink = sink
        self.position = position
        self.floor = rv_number(floor)
        """Changes at or below this resourceVersion are already in what the client has; None when none can be."""
        self.wants_bookmarks = wants_bookmarks
        self.phase = Phase.CATCHING_UP
        self.ended_because: EndReason | None = None
        self._first_pending = True
        self.delivered = 0
        self.skipped = 0
        """Changes that would have been shown, were they not in what the client started with."""

    def end(self, reason: EndReason) -> None:
        """Ends the session once; later reasons are ignored."""
        if self.phase is not Phase.ENDED:
            self.phase = Phase.ENDED
            self.ended_because = reason
            wake, self._on_wake = self._on_wake, _nobody  # it leads to the owner, who leads here: no garbage in cycles
            wake()

    def takes_first(self) -> bool:
        """True once: for the first event of the stream, which a Table begins with its columns."""
        pending, self._first_pending = self._first_pending, False
        return pending

    def is_past(self, change: Change) -> bool:
        """True when the client has `change` already, from the list or snapshot that it started with."""
        if self.floor is None:
            return False
        number = rv_number(change.rv)
        if number is not None and number <= self.floor:
            self.skipped += 1
            return True
        self.floor = None
        return False

    def deliver(self, change: Change, shown: Shown | None, chunk: bytes, first: Callable[[Shown], bytes]) -> None:
        """Hands a live session its next Change; falls behind when the sink is full."""
        if shown is None or self.phase is not Phase.LIVE or self.is_past(change):
            return
        self.sink.write(first(shown) if self.takes_first() else chunk)
        self.delivered += 1
        if not self.sink.writable:
            self.position = change.sequence
            self.phase = Phase.CATCHING_UP
            self._on_wake()

    def bookmark_rv(self, cache_rv: str) -> str:
        """The resourceVersion a bookmark may carry now: never below what the client started with."""
        number = rv_number(cache_rv)
        if self.floor is not None and number is not None and number < self.floor:
            return str(self.floor)
        return cache_rv
