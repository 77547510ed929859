"""Projection: what one Change is for somebody who sees only part of the objects.

| seen before | seen now      | event    | object shown                                          |
|-------------|---------------|----------|-------------------------------------------------------|
| no          | yes           | ADDED    | the new version                                       |
| yes         | yes           | MODIFIED | the new version                                       |
| yes         | no, or gone   | DELETED  | the previous version, stamped with the change's rv    |
| no          | no            | nothing  |                                                       |

INVARIANT: a version that is not visible is never shown; the departing object is the last version the client could
see, never the version that took it away (tests/property/test_watch_theorem.py).

Source: k8s.io/apiserver/pkg/storage/cacher/cache_watcher.go convertToWatchEvent
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.api.objects import ObjectVersion
from proxy.api.watch_event import EventType
from proxy.watch.history import Change


class Visibility(Protocol):
    """Which objects a question shows. A value: equal visibilities show the same objects.

    `index_keys` are (path, value) pairs of which every visible object has at least one (its field at `path` equals
    `value`); None when no such set is known.
    """

    def sees(self, version: ObjectVersion) -> bool: ...
    @property
    def index_keys(self) -> frozenset[tuple[str, str]] | None: ...
    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Shown:
    """One event for a client. `stamp` is the resourceVersion to show the version with; None leaves its own."""

    kind: EventType
    version: ObjectVersion
    stamp: str | None


def project(change: Change, visibility: Visibility) -> Shown | None:
    """The event that `change` is under `visibility`; None when it concerns nothing that is visible."""
    previous, current = change.previous, change.current
    seen_before = previous is not None and visibility.sees(previous)
    seen_now = current is not None and visibility.sees(current)
    if seen_now:
        assert current is not None
        return Shown(EventType.MODIFIED if seen_before else EventType.ADDED, current, None)
    if seen_before:
        assert previous is not None
        return Shown(EventType.DELETED, previous, change.rv)
    return None


def initial_events(versions: Iterable[ObjectVersion], visibility: Visibility) -> Sequence[Shown]:
    """The synthetic ADDED events of a snapshot, in its order."""
    return [Shown(EventType.ADDED, version, None) for version in versions if visibility.sees(version)]
