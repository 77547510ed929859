"""The bound of all watch caches together: which of them end when they outgrow it, and which may not begin.

Caches that nobody uses end first, the longest unused before the others; where that is not enough, the one that was
begun last. One that has ended so is not begun again until there is room for what it held, or a while has passed: it
would be read and thrown away with every request.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

from proxy.api.status import ServiceUnavailable

Key = TypeVar("Key", bound=Hashable)

REMEMBERED_SECONDS = 300.0
"""How long the size of a cache that did not fit is believed: objects may have been deleted since."""


class CacheFull(ServiceUnavailable):
    """There is no room for a watch cache."""

    def __init__(self) -> None:
        super().__init__("the watch caches are full (--max-cache-bytes): this resource cannot be watched now")


class Cache(Protocol):
    """What is looked at. `is_essential`: the proxy itself follows it; `idle_since` counts where `is_idle`."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def is_idle(self) -> bool: ...
    @property
    def is_essential(self) -> bool: ...
    @property
    def idle_since(self) -> float: ...


class CacheBudget(Generic[Key]):
    """`max_bytes` None: no bound. `clock` gives seconds."""

    def __init__(self, max_bytes: int | None, *, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._did_not_fit: dict[Key, tuple[int, float]] = {}
        self.evictions = 0
        """How many caches have ended for it."""

    def has_room_for(self, key: Key, used: Sequence[Cache]) -> bool:
        """False when the cache of `key` is known not to fit beside what is in use."""
        if self._max_bytes is None or key not in self._did_not_fit:
            return True
        size, since = self._did_not_fit[key]
        in_use = sum(each.size_bytes for each in used if not each.is_idle)
        if self._clock() - since < REMEMBERED_SECONDS and in_use + size > self._max_bytes:
            return False
        del self._did_not_fit[key]
        return True

    def surplus(self, caches: Sequence[tuple[Key, Cache]]) -> list[Key]:
        """The caches to end, of all there are in the order they were begun, so that the rest fits."""
        if self._max_bytes is None:
            return []
        over = sum(each.size_bytes for _, each in caches) - self._max_bytes
        idle = sorted((pair for pair in caches if pair[1].is_idle), key=lambda pair: pair[1].idle_since)
        used = [pair for pair in reversed(caches) if not pair[1].is_idle and not pair[1].is_essential]
        ended: list[Key] = []
        for key, cache in (*idle, *used):
            if over <= 0:
                break
            over -= cache.size_bytes
            ended.append(key)
            self._did_not_fit[key] = (cache.size_bytes, self._clock())
        self.evictions += len(ended)
        return ended
