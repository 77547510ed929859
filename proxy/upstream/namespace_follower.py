"""Follows the labels of namespaces, for policies whose bindings select namespaces by them.

Nothing is watched while no policy asks. Labels that are not there yet, or that nobody has vouched for in a while, are
reported as unknown: the callers they concern get 503 then, never access on what may be outdated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from proxy.api.groups import ApiResource, GroupVersionResource
from proxy.upstream.cacher import Cacher
from proxy.upstream.cachers import Cachers
from proxy.upstream.list_reader import ReadForm
from proxy.upstream.watch_reader import UPSTREAM_SILENCE_SECONDS
from proxy.watch.history import Change

log = logging.getLogger(__name__)

STALENESS_SECONDS = UPSTREAM_SILENCE_SECONDS + 20.0
"""Labels are unknown after this long without a word from upstream: longer than the silence a watch is given."""

_CHECK_INTERVAL_SECONDS = 1.0

NAMESPACES = ApiResource(
    gvr=GroupVersionResource("", "v1", "namespaces"),
    kind="Namespace",
    namespaced=False,
    verbs=frozenset({"get", "list", "watch"}),
)

Labels = Mapping[str, Mapping[str, str]]


class NamespaceFollower:
    """Reports labels by namespace name to `report`, None for unknown, whenever what `wanted_keys` names changes.

    `wanted_keys` gives the label keys that the policy in force selects namespaces by; None: the policy selects none.
    """

    def __init__(
        self,
        cachers: Cachers,
        *,
        clock: Callable[[], float],
        wanted_keys: Callable[[], frozenset[str] | None],
        report: Callable[[Labels | None], None],
    ) -> None:
        self._cachers = cachers
        self._clock = clock
        self._wanted_keys = wanted_keys
        self._report = report
        self._cacher: Cacher | None = None
        self._known = False
        self._followed_keys: frozenset[str] | None = None  # of other keys (None: of anything) changes were not reported

    async def run(self) -> None:
        """Starts following when a policy asks for it, and watches over what is known. Runs until cancelled."""
        while True:
            self.check()
            await asyncio.sleep(_CHECK_INTERVAL_SECONDS)

    def check(self) -> None:
        """Follows where that is wanted and not done yet; declares labels unknown that are too old."""
        # Each report has the observers of what is in force look here again: what is noted is noted before it.
        keys, followed = self._wanted_keys(), self._followed_keys
        self._followed_keys = keys
        if keys is None:
            self._leave()
            return
        if self._cacher is None or self._cacher.stopped:
            self._cacher = self._cachers.start(NAMESPACES, ReadForm.OBJECT, is_essential=True)
            self._cacher.observe(self)
            self._forget()
            if self._cacher.is_filled:
                self.listed(self._cacher)
        elif self._known and self._clock() - self._cacher.last_heard > STALENESS_SECONDS:
            log.warning("nothing heard of namespaces for %.0f s: their labels count as unknown", STALENESS_SECONDS)
            self._forget()
        elif (not self._known or followed is None or not keys <= followed) and self._is_fresh(self._cacher):
            self.listed(self._cacher)

    def listed(self, cacher: Cacher) -> None:
        """Reports all labels anew."""
        self._known = True
        self._report({version.name: version.labels for version in cacher.cache.objects()})

    def changed(self, cacher: Cacher, change: Change) -> None:
        """Reports labels when the change can matter to a selector."""
        keys = self._wanted_keys()
        if keys is None or not self._known:
            return
        before, after = change.previous, change.current
        if before is None or after is None or any(before.labels.get(key) != after.labels.get(key) for key in keys):
            self.listed(cacher)

    def _is_fresh(self, cacher: Cacher) -> bool:
        return cacher.is_filled and self._clock() - cacher.last_heard <= STALENESS_SECONDS

    def _leave(self) -> None:
        """Nobody asks any more: the watch may end."""
        cacher, self._cacher = self._cacher, None
        if cacher is not None and not cacher.stopped:
            cacher.unobserve(self)
        self._forget()

    def _forget(self) -> None:
        if self._known:
            self._known = False
            self._report(None)
