"""How much of the proxy one caller may take: so that nobody can starve the others.

Long-running requests (watches, followed logs) are counted apart from the rest: they last, and cost little meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from proxy.api.status import StatusDetails, TooManyRequests

RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds for each user name."""

    max_open_watches: int
    max_requests_in_flight: int


class CallerLimits:
    """Counts what each user has under way."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._long_running: Counter[str] = Counter()
        self._in_flight: Counter[str] = Counter()

    @contextmanager
    def request(self, user_name: str, *, long_running: bool) -> Iterator[None]:
        """Counts one request for as long as the block lasts. Raises TooManyRequests when there are too many."""
        counts, limit, what = (
            (self._long_running, self._limits.max_open_watches, "open watches")
            if long_running
            else (self._in_flight, self._limits.max_requests_in_flight, "requests in flight")
        )
        if counts[user_name] >= limit:
            raise TooManyRequests(
                f"too many {what} of this user: the limit is {limit}, try again later",
                details=StatusDetails(retryAfterSeconds=RETRY_AFTER_SECONDS),
            )
        counts[user_name] += 1
        try:
            yield
        finally:
            counts[user_name] -= 1
            if not counts[user_name]:
                del counts[user_name]
