"""The history of a resource: its latest Changes in order, so that a watch can start in the past.

A Change is an object before and after; its place is a sequence number that grows by one, whatever the
resourceVersions look like. Upstream orders a resource by numeric resourceVersions; those that are no numbers are only
compared for equality (an aggregated API may have such).

INVARIANT: everything after `start` is held, without a gap (tests/unit/watch/test_history.py).
INVARIANT: a Change younger than the retention is never dropped, unless `max_changes` are held.

Source: k8s.io/apiserver/pkg/storage/cacher/watch_cache_history.go
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from proxy.api.objects import ObjectVersion

MIN_CHANGES = 100
"""Kept whatever their age, as upstream's ring of 100: a quiet resource stays resumable."""

_COMPACT_AT = 256
"""Dropped entries before the lists are really shortened: dropping stays O(1) a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One object before and after one write. At most one side is None; `deleted` is `current is None`.

    `rv` is the resourceVersion of the write.
    """

    sequence: int
    rv: str
    previous: ObjectVersion | None
    current: ObjectVersion | None


def rv_number(rv: str) -> int | None:
    """A resourceVersion as a number, None when it is not one. Source: util/resourceversion CompareResourceVersion."""
    return int(rv) if rv.isascii() and rv.isdigit() and rv[0] != "0" else None


@dataclass(frozen=True, slots=True)
class TooOld:
    """The history starts after the resourceVersion asked for; `oldest` is what it starts at."""

    oldest: int


class OutOfOrder(Exception):
    """An event that goes back in time: what sent it cannot be trusted any more."""


class History:
    """The ring. It starts empty at the resourceVersion of a list; `append` adds what was watched from there."""

    def __init__(self, *, start_rv: str, retention_seconds: float, max_changes: int) -> None:
        self._retention_seconds = retention_seconds
        self._max_changes = max_changes
        self._changes: list[Change] = []
        self._times: list[float] = []
        self._numbers: list[int] = []
        self._dropped = 0  # entries at the front of the lists that are no longer held
        self._base_sequence = 1  # the sequence of the lists' first entry
        self._start_rv = start_rv
        self.past_bytes = 0
        """About what the versions take that are held for the past only."""
        self.is_ordered = rv_number(start_rv) is not None

    @property
    def last_sequence(self) -> int:
        """The sequence of the newest change; before any, one less than the first will have."""
        return self._base_sequence + len(self._changes) - 1

    @property
    def start_sequence(self) -> int:
        """Everything after this sequence is held."""
        return self._base_sequence + self._dropped - 1

    def append(self, *, rv: str, previous: ObjectVersion | None, current: ObjectVersion | None, now: float) -> Change:
        """Adds the next change and drops what is too old. Raises OutOfOrder when an ordered history would go back."""
        number = rv_number(rv)
        if self.is_ordered:
            newest = self._numbers[-1] if self._numbers else int(self._start_rv)
            if number is None or number <= newest:
                raise OutOfOrder(f"resourceVersion {rv} after {newest}")
            self._numbers.append(number)
        change = Change(sequence=self.last_sequence + 1, rv=rv, previous=previous, current=current)
        self._changes.append(change)
        self._times.append(now)
        self.past_bytes += _past_bytes(change)
        self._drop(now)
        return change

    def after(self, sequence: int, limit: int) -> list[Change] | None:
        """Up to `limit` changes that follow `sequence`, in order; None when some of them are no longer held."""
        if sequence < self.start_sequence:
            return None
        first = sequence + 1 - self._base_sequence
        return self._changes[first : first + limit]

    def locate(self, rv: str) -> int | TooOld:
        """The sequence after which everything newer than `rv` comes. A resourceVersion of the future is the newest."""
        if not self.is_ordered:
            return self._locate_equal(rv)
        number = rv_number(rv)
        oldest = self._oldest_number()
        if number is None or number < oldest:
            return TooOld(oldest)
        return self._base_sequence + bisect_right(self._numbers, number, lo=self._dropped) - 1

    def _locate_equal(self, rv: str) -> int | TooOld:
        for index in range(len(self._changes) - 1, self._dropped - 1, -1):
            if self._changes[index].rv == rv:
                return self._base_sequence + index
        return self.start_sequence if rv == self._start_rv and not self._dropped else TooOld(0)

    def _oldest_number(self) -> int:
        return self._numbers[self._dropped - 1] if self._dropped else int(self._start_rv)

    def _drop(self, now: float) -> None:
        held = len(self._changes) - self._dropped
        while held > MIN_CHANGES and (
            held > self._max_changes or self._times[self._dropped] < now - self._retention_seconds
        ):
            self._dropped += 1
            held -= 1
        if self._dropped >= _COMPACT_AT:
            self._compact()

    def _compact(self) -> None:
        gone = self._dropped - 1  # the last dropped entry stays: its resourceVersion is where the history starts
        self.past_bytes -= sum(map(_past_bytes, self._changes[:gone]))
        del self._changes[:gone], self._times[:gone], self._numbers[:gone]
        self._base_sequence += gone
        self._dropped -= gone


def _past_bytes(change: Change) -> int:
    return change.previous.size_bytes if change.previous is not None else 0
