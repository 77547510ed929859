"""How much of the proxy one caller may take: so that nobody can starve the others.

Long-running requests (watches, followed logs) are counted apart from the rest: they last, and cost little meanwhile.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType

from proxy.api.status import StatusDetails, TooManyRequests

RETRY_AFTER_SECONDS = 1

MAX_SELECTOR_TERMS = 10_000
"""Terms in the selectors of all open watches of a user: each costs every change that may concern it a microsecond."""


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
        self._selector_terms: Counter[str] = Counter()

    def request(self, user_name: str, *, long_running: bool) -> AbstractContextManager[None]:
        """Counts one request for as long as the block lasts. Raises TooManyRequests when there are too many."""
        counts, limit, what = (
            (self._long_running, self._limits.max_open_watches, "open watches")
            if long_running
            else (self._in_flight, self._limits.max_requests_in_flight, "requests in flight")
        )
        return _counted(counts, user_name, 1, limit=limit, what=what)

    def watch_selectors(self, user_name: str, terms: int) -> AbstractContextManager[None]:
        """Counts the selector terms of one watch. Raises TooManyRequests when its user's watches have too many."""
        return _counted(
            self._selector_terms, user_name, terms, limit=MAX_SELECTOR_TERMS, what="selector terms in open watches"
        )


def too_many_requests(message: str) -> TooManyRequests:
    """429 that asks the client to come again in a moment."""
    return TooManyRequests(message, details=StatusDetails(retryAfterSeconds=RETRY_AFTER_SECONDS))


def _counted(counts: Counter[str], user_name: str, number: int, *, limit: int, what: str) -> _Counted:
    if counts[user_name] + number > limit:
        raise too_many_requests(f"too many {what} of this user: the limit is {limit}, try again later")
    return _Counted(counts, user_name, number)


class _Counted:
    """So much of a user, counted for as long as the block lasts."""

    __slots__ = ("_counts", "_number", "_user_name")

    def __init__(self, counts: Counter[str], user_name: str, number: int) -> None:
        self._counts = counts
        self._user_name = user_name
        self._number = number

    def __enter__(self) -> None:
        self._counts[self._user_name] += self._number

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        counts, user_name = self._counts, self._user_name
        counts[user_name] -= self._number
        if not counts[user_name]:
            del counts[user_name]
