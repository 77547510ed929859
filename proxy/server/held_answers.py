"""How much memory the answers of one user may hold: a list is there, whole, until its reader has it.

Readers of one snapshot share it, and it counts once for each user.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from proxy.server.limits import too_many_requests

MAX_BYTES = 512 * 1024 * 1024
"""For each user. One answer alone may be larger."""


class HeldAnswers:
    """Counts what each user's readers hold."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held: Counter[str] = Counter()
        self._readers: Counter[tuple[str, int]] = Counter()

    @contextmanager
    def reading(self, user_name: str, snapshot: Sequence[object], size_bytes: int) -> Iterator[None]:
        """One reader of a snapshot, for as long as the block lasts. Snapshots are the same that begin with the same
        object. Raises TooManyRequests when the user's readers hold too much already.
        """
        if not snapshot:
            yield
            return
        key = (user_name, id(snapshot[0]))
        if key not in self._readers:
            if self._held[user_name] and self._held[user_name] + size_bytes > self._max_bytes:
                raise too_many_requests(
                    f"too large answers of this user are under way: {self._max_bytes} bytes together, try again later"
                )
            self._held[user_name] += size_bytes
        self._readers[key] += 1
        try:
            yield
        finally:
            self._readers[key] -= 1
            if not self._readers[key]:
                del self._readers[key]
                self._held[user_name] -= size_bytes
                if not self._held[user_name]:
                    del self._held[user_name]
