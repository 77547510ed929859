"""Watches: what one client is sent, from the history of the storage.

A watcher keeps no queue, only the resourceVersion up to which it has been served; one that falls behind the history
ends, and its client asks again. What an event is depends on whether the object matched before and matches now:

| before | now | event |
| - | - | - |
| no | yes | ADDED, the new object |
| yes | yes | MODIFIED, the new object |
| yes | no, or deleted | DELETED, the previous object under the resourceVersion of the change |
| no | no | none |

Source: k8s.io/apiserver/pkg/storage/cacher/{cacher.go,cache_watcher.go}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from proxy.api.status import too_large_resource_version, too_old_resource_version
from proxy.api.watch_event import EventType, frame
from proxy.devserver.options import ReadOptions, Selection
from proxy.devserver.representation import Representation
from proxy.devserver.storage import Change, Storage, Version

BOOKMARK_BEFORE_END_SECONDS = 2.0  # the last bookmark of a watch, so that its client resumes close to the end


@dataclass(slots=True, kw_only=True)
class Watcher:
    """One client's watch. `position` is the resourceVersion up to which its changes were sent."""

    storage: Storage
    selection: Selection
    representation: Representation
    options: ReadOptions
    clock: Callable[[], datetime]
    position: int = 0
    _sent_any: bool = False

    def start(self) -> list[bytes]:
        """The frames it begins with: the state, or what came after the resourceVersion it starts at.

        Raises StatusError where the watch ends with that as its ERROR event.
        """
        rv = self.options.rv
        if self.options.send_initial_events:
            if rv and rv > self.storage.rv:
                raise too_large_resource_version(rv, self.storage.rv)
            return self._initial_events()
        if rv and rv < self.storage.compacted:
            raise too_old_resource_version(rv, self.storage.compacted)
        self.position = rv or self.storage.rv
        return self.advance()

    def has_fallen_behind(self) -> bool:
        """True when changes it has not been sent are gone from the history."""
        return self.position < self.storage.compacted

    def advance(self) -> list[bytes]:
        """The frames of all changes since the last call."""
        if self.position > self.storage.rv:  # it waits for a resourceVersion of the future
            return []
        frames = []
        for change in self.storage.changes_after(self.position):
            event = transition(change, self.selection)
            if event is not None:
                frames.append(self._frame(*event))
        self.position = self.storage.rv
        return frames

    def bookmarks(self) -> list[bytes]:
        """The frame of a BOOKMARK at the position, if the client asked for such."""
        return [self._bookmark(ends_initial_events=False)] if self.options.allow_bookmarks else []

    def _initial_events(self) -> list[bytes]:
        self.position = self.storage.rv
        frames = [
            self._frame(EventType.ADDED, version)
            for version in self.storage.current(self.selection.kind.gvr)
            if self.selection.matches(version.body)
        ]
        if self.options.allow_bookmarks:
            frames.append(self._bookmark(ends_initial_events=True))
        return frames

    def _bookmark(self, *, ends_initial_events: bool) -> bytes:
        raw = self.representation.encode_bookmark(
            self.position, ends_initial_events=ends_initial_events, first=not self._sent_any
        )
        self._sent_any = True
        return frame(EventType.BOOKMARK, raw)

    def _frame(self, kind: EventType, version: Version) -> bytes:
        raw = self.representation.encode_event_object(version, self.clock(), first=not self._sent_any)
        self._sent_any = True
        return frame(kind, raw)


def transition(change: Change, selection: Selection) -> tuple[EventType, Version] | None:
    """The event that a change is to a selection; None for no event."""
    if change.gvr != selection.kind.gvr:
        return None
    before = change.previous if change.previous and selection.matches(change.previous.body) else None
    now = change.current if change.current and selection.matches(change.current.body) else None
    if now is not None:
        return (EventType.MODIFIED if before is not None else EventType.ADDED), now
    if before is not None:
        return EventType.DELETED, before.stamped(change.rv)
    return None


def next_bookmark_at(now: float, *, interval_seconds: float, end: float) -> float:
    """When the next bookmark is due, on the clock of `now` and `end`."""
    before_end = end - BOOKMARK_BEFORE_END_SECONDS
    return min(now + interval_seconds, before_end) if before_end > now else now + interval_seconds
