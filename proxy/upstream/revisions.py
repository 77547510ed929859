"""Revisions: how far the API server is known to have come with each resource, and whether it has gone back.

One whose etcd was restored from a backup goes on at an older resourceVersion, and does not say so: a watch at what is
now of its future stays open and silent. But no consistent read is older than what was seen before it was sent. One
that is shows that the past has changed, and that nothing known of that resource's resourceVersions holds any more.

Once it has written past what was seen nobody can tell, as with Kubernetes' own clients: etcd's `--bump-revision`
and `--mark-compacted` are for that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from proxy.api.groups import GroupVersionResource
from proxy.watch.history import rv_number

log = logging.getLogger(__name__)


class Revisions:
    """Knows nothing of a resource, 0, before it is first seen. resourceVersions that are no numbers are ignored."""

    def __init__(self) -> None:
        self._seen: dict[GroupVersionResource, int] = {}
        self._observers: list[Callable[[GroupVersionResource], None]] = []

    def observe(self, observer: Callable[[GroupVersionResource], None]) -> None:
        """`observer` is called with each resource that has gone back, in the step in which that is noticed."""
        self._observers.append(observer)

    def seen(self, gvr: GroupVersionResource) -> int:
        """The newest resourceVersion seen."""
        return self._seen.get(gvr, 0)

    def see(self, gvr: GroupVersionResource, rv: str) -> None:
        """A watch has come as far as `rv`."""
        self._seen[gvr] = max(self.seen(gvr), rv_number(rv) or 0)

    def read(self, gvr: GroupVersionResource, rv: str, *, seen_before: int) -> None:
        """A consistent read was answered as of `rv`; `seen_before` is what was `seen` when it was sent."""
        number = rv_number(rv)
        if number is None:
            return
        if number >= min(seen_before, self.seen(gvr)):  # the second: another read has noticed meanwhile
            self.see(gvr, rv)
            return
        log.warning("the API server has gone back with %s from resourceVersion %d to %d", gvr, self.seen(gvr), number)
        self._seen[gvr] = number
        for observer in self._observers:
            observer(gvr)
