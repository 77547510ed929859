"""Storage: every object the server holds, the history of their changes, and one resourceVersion counter for all.

Pure: no loop, no clock. A body given to the storage belongs to it.

Invariants:
- every write counts the resourceVersion up by exactly one and is one Change;
- the history is the changes with `rv > compacted`, without a gap, so the state at any rv from `compacted` on is known;
- a departed object's Change has `current=None`, and its rv is that of the deletion.

Source: k8s.io/apiserver/pkg/storage/etcd3
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import msgspec

from proxy.api.groups import GroupVersionResource
from proxy.devserver.kinds import Body

Key = tuple[str, str]
"""(namespace, name); the namespace of a cluster-scoped object is ""."""

FIRST_RV = 1


@dataclass(frozen=True)
class Version:
    """One version of an object; its body carries `kind`, `apiVersion` and the resourceVersion."""

    key: Key
    body: Body
    rv: int

    @cached_property
    def raw(self) -> bytes:
        """The body as compact JSON."""
        return msgspec.json.encode(self.body)

    @property
    def labels(self) -> Mapping[str, str]:
        """The object's labels; none is the empty mapping."""
        return self.body["metadata"].get("labels") or {}

    def stamped(self, rv: int) -> Version:
        """The same body under another resourceVersion: how a departed object is shown."""
        return Version(self.key, _with_rv(self.body, rv), rv)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write: `previous` is None for a creation, `current` is None for a deletion."""

    rv: int
    gvr: GroupVersionResource
    previous: Version | None
    current: Version | None


@dataclass
class Storage:
    """All objects. `history_limit` is the number of changes kept for watches and exact lists."""

    history_limit: int
    rv: int = FIRST_RV
    compacted: int = FIRST_RV
    _objects: dict[GroupVersionResource, dict[Key, Version]] = field(default_factory=dict)
    _history: deque[Change] = field(default_factory=deque)
    _listeners: list[Callable[[Change], None]] = field(default_factory=list)

    def get(self, gvr: GroupVersionResource, key: Key) -> Version | None:
        """The current version of one object."""
        return self._objects.get(gvr, {}).get(key)

    def current(self, gvr: GroupVersionResource) -> list[Version]:
        """All objects of a resource, by namespace, then name, bytewise."""
        return _in_order(self._objects.get(gvr, {}))

    def at(self, gvr: GroupVersionResource, rv: int) -> list[Version] | None:
        """All objects of a resource as they were at `rv`; None when the history does not reach back to it."""
        if rv < self.compacted:
            return None
        objects = dict(self._objects.get(gvr, {}))
        for change in reversed(self._history):
            if change.rv <= rv:
                break
            if change.gvr == gvr:
                _undo(objects, change)
        return _in_order(objects)

    def changes_after(self, rv: int) -> Iterator[Change]:
        """The changes above `rv`, oldest first. `rv` must not be below `compacted`."""
        if rv < self.compacted:
            raise ValueError(f"history starts after {self.compacted}, asked for {rv}")
        return islice(self._history, rv - self.compacted, None)

    def put(self, gvr: GroupVersionResource, key: Key, body: Body) -> Version:
        """Stores a new version under the next resourceVersion and returns it, stamped."""
        rv = self.rv + 1
        version = Version(key, _with_rv(body, rv), rv)
        objects = self._objects.setdefault(gvr, {})
        previous = objects.get(key)
        objects[key] = version
        self._record(Change(rv=rv, gvr=gvr, previous=previous, current=version))
        return version

    def delete(self, gvr: GroupVersionResource, key: Key) -> Version:
        """Removes an object and returns its last version. Raises KeyError when there is none."""
        previous = self._objects.get(gvr, {}).pop(key)
        self._record(Change(rv=self.rv + 1, gvr=gvr, previous=previous, current=None))
        return previous

    def compact(self, rv: int) -> None:
        """Forgets the changes up to and including `rv`."""
        while self._history and self._history[0].rv <= rv:
            self.compacted = self._history.popleft().rv

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Calls `listener` after every change, in order; it must not write."""
        self._listeners.append(listener)

    def _record(self, change: Change) -> None:
        self.rv = change.rv
        self._history.append(change)
        self.compact(self.rv - self.history_limit)
        for listener in self._listeners:
            listener(change)


def _with_rv(body: Body, rv: int) -> Body:
    return {**body, "metadata": {**body["metadata"], "resourceVersion": str(rv)}}


def _undo(objects: dict[Key, Version], change: Change) -> None:
    if change.previous is not None:
        objects[change.previous.key] = change.previous
    elif change.current is not None:
        del objects[change.current.key]


def _in_order(objects: Mapping[Key, Version]) -> list[Version]:
    return sorted(objects.values(), key=lambda version: [part.encode() for part in version.key])
