"""The watch cache of one resource: its objects now, and the history that led here.

A relist is gathered aside and swapped in whole (`replace`): readers never see half a list.

Source: k8s.io/apiserver/pkg/storage/cacher/watch_cache.go
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.api.objects import ObjectVersion
from proxy.api.watch_event import EventType
from proxy.watch.history import Change, History, OutOfOrder, rv_number


class WatchCache:
    """Objects by (namespace, name). `rv` is the newest resourceVersion that all of it is known to be complete at."""

    def __init__(self, *, retention_seconds: float, max_changes: int) -> None:
        self._retention_seconds = retention_seconds
        self._max_changes = max_changes
        self._objects: dict[tuple[str, str], ObjectVersion] = {}
        self._sorted: list[ObjectVersion] | None = None
        self.rv = ""
        self.lists = 0
        """How often it was filled."""
        self.history = self._new_history("")
        self._object_bytes = 0

    def replace(self, objects: Iterable[ObjectVersion], rv: str) -> None:
        """Starts over from a list at `rv`."""
        self._objects = {version.key: version for version in objects}
        self._object_bytes = sum(version.size_bytes for version in self._objects.values())
        self._sorted = None
        self.lists += 1
        self.rv = rv
        self.history = self._new_history(rv)

    def apply(self, kind: EventType, version: ObjectVersion, now: float) -> Change | None:
        """Takes in an ADDED, MODIFIED or DELETED event and returns the Change it is.

        None for a deletion of what was never there. Raises OutOfOrder when the event goes back in time, also behind a
        bookmark: a client that was told of that would never see the event.
        """
        number, reached = rv_number(version.rv), rv_number(self.rv)
        if number is not None and reached is not None and number <= reached:
            raise OutOfOrder(f"resourceVersion {version.rv} after {self.rv}")
        previous = self._objects.get(version.key)
        current = None if kind is EventType.DELETED else version
        if previous is None and current is None:
            self.advance(version.rv)
            return None
        change = self.history.append(rv=version.rv, previous=previous, current=current, now=now)
        if previous is not None:
            self._object_bytes -= previous.size_bytes
        if current is None:
            del self._objects[version.key]
        else:
            self._objects[version.key] = current
            self._object_bytes += current.size_bytes
        self._sorted = None
        self.rv = version.rv
        return change

    def advance(self, rv: str) -> None:
        """A bookmark: nothing that concerns this resource happened up to `rv`. One that goes back is ignored."""
        number, reached = rv_number(rv), rv_number(self.rv)
        if number is not None and reached is not None and number > reached:
            self.rv = rv

    def objects(self) -> list[ObjectVersion]:
        """All objects in upstream's order of a list: bytewise by namespace, then name. Not to be changed."""
        if self._sorted is None:
            # Storage keys are compared as bytes; for valid names (ASCII) that is the order of the strings, and "/"
            # (the separator) sorts after "-" and "." but before letters and digits, hence the joined key.
            self._sorted = sorted(self._objects.values(), key=lambda version: f"{version.namespace}/{version.name}")
        return self._sorted

    def shared(self, versions: Iterable[ObjectVersion]) -> list[ObjectVersion]:
        """The same versions, and where the cache has one of them too the cache's own: what many hold is held once."""
        return [
            known if known is not None and (known.rv, known.uid) == (version.rv, version.uid) else version
            for version, known in ((version, self._objects.get(version.key)) for version in versions)
        ]

    @property
    def size_bytes(self) -> int:
        """About what objects and history take in memory."""
        return self._object_bytes + self.history.past_bytes

    def __len__(self) -> int:
        return len(self._objects)

    def _new_history(self, rv: str) -> History:
        return History(start_rv=rv, retention_seconds=self._retention_seconds, max_changes=self._max_changes)
