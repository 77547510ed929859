"""The reflector: when to list, when to watch, when to wait. A state machine without I/O.

| state    | input     | next     | command                                                       |
|----------|-----------|----------|---------------------------------------------------------------|
| LISTING  | Listed    | WATCHING | Watch (earlier failures still count: the list says nothing of watches) |
| LISTING  | Failed    | BACKOFF  | Wait, then List                                               |
| WATCHING | Received  | WATCHING | (none: the stream goes on, and earlier failures are forgotten) |
| WATCHING | Ended     | WATCHING | Watch; after a stream that brought nothing: Wait, then Watch  |
| any      | Expired   | LISTING  | List; when nothing went well since the last failure: Wait, then List |
| WATCHING | Failed    | BACKOFF  | Wait, then Watch                                              |
| BACKOFF  | Waited    | LISTING or WATCHING | List or Watch, whichever failed                    |
| any      | Removed   | STOPPED  | Stop: the resource is not served any more                     |

Source: k8s.io/client-go/tools/cache/reflector.go
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, assert_never

BASE_DELAY_SECONDS = 0.2
MAX_DELAY_SECONDS = 10.0
"""A cluster that comes back is seen within this (client-go waits up to 30 s; our clients wait on us, so less)."""


class State(Enum):
    """Where a reflector stands."""

    LISTING = "listing"
    WATCHING = "watching"
    BACKOFF = "back-off"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Listed:
    """A list came back whole."""


@dataclass(frozen=True, slots=True)
class Received:
    """An event or bookmark arrived."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The watch ended cleanly."""


@dataclass(frozen=True, slots=True)
class Expired:
    """Upstream no longer has the resourceVersion, or sent what cannot be trusted: only a list helps."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The list or watch failed. `retry_after_seconds` is upstream's own wish, 0 without one."""

    retry_after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Waited:
    """A Wait is over."""


@dataclass(frozen=True, slots=True)
class Removed:
    """The resource is gone from the API."""


Input: TypeAlias = Listed | Received | Ended | Expired | Failed | Waited | Removed


@dataclass(frozen=True, slots=True)
class List:
    """List everything."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Watch from the newest resourceVersion that is known."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait, then say Waited."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing more to do."""


Command: TypeAlias = List | Watch | Wait | Stop


class Reflector:
    """Begins with a List. `failures` counts what went wrong since an event was last received."""

    def __init__(self) -> None:
        self.state = State.LISTING
        self.failures = 0
        self._retry: List | Watch = List()

    def step(self, happened: Input, *, jitter: float) -> Command | None:
        """The next command; None means go on with the stream. `jitter` is uniform in [0, 1)."""
        match happened:
            case Listed():
                return self._go(Watch())
            case Received():
                self.failures = 0
                return None
            case Ended():
                # Asking again at once is right once; a server that ends every watch at once must not be hammered.
                self.failures += 1
                return self._go(Watch()) if self.failures == 1 else self._wait(Watch(), 0.0, jitter)
            case Expired():
                # As above: a server whose watches all expire must not be asked for list after list.
                self.failures += 1
                return self._go(List()) if self.failures == 1 else self._wait(List(), 0.0, jitter)
            case Failed(retry_after_seconds=seconds):
                self.failures += 1
                return self._wait(List() if self.state is State.LISTING else Watch(), seconds, jitter)
            case Waited():
                return self._go(self._retry)
            case Removed():
                self.state = State.STOPPED
                return Stop()
            case _:
                assert_never(happened)

    def _go(self, command: List | Watch) -> Command:
        self.state = State.LISTING if isinstance(command, List) else State.WATCHING
        return command

    def _wait(self, retry: List | Watch, at_least_seconds: float, jitter: float) -> Wait:
        self.state = State.BACKOFF
        self._retry = retry
        backoff = min(MAX_DELAY_SECONDS, BASE_DELAY_SECONDS * 2.0 ** min(self.failures - 1, 16))
        return Wait(max(at_least_seconds, backoff * (0.5 + jitter / 2)))
