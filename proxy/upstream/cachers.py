"""All cachers: one for each resource and form that somebody follows, ended a while after the last has left."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import TypeAlias

from proxy.api.groups import ApiResource, GroupVersionResource
from proxy.upstream.cache_budget import CacheBudget, CacheFull
from proxy.upstream.cacher import Cacher, CacherSettings
from proxy.upstream.client import UpstreamClient
from proxy.upstream.list_reader import ReadForm

log = logging.getLogger(__name__)

IDLE_SECONDS = 300.0
"""How long a cacher outlives its last session: clients come back after a break, and find their past kept."""

_CHECK_INTERVAL_SECONDS = 5.0

_Key: TypeAlias = tuple[GroupVersionResource, ReadForm]


class Cachers:
    """Starts cachers on demand. Their tasks live in `tasks`; a bug in one ends that one only.

    `max_bytes` bounds their caches together (`upstream/cache_budget`), None: nothing does.
    """

    def __init__(
        self,
        client: UpstreamClient,
        tasks: asyncio.TaskGroup,
        *,
        clock: Callable[[], float],
        settings: CacherSettings,
        max_bytes: int | None = None,
    ) -> None:
        self._client = client
        self._tasks = tasks
        self._clock = clock
        self._settings = settings
        self._budget = CacheBudget[_Key](max_bytes, clock=clock)
        self._cachers: dict[_Key, tuple[Cacher, asyncio.Task[None]]] = {}
        self._relists_of_ended: Counter[_Key] = Counter()
        self._observers: list[Callable[[], None]] = []

    def observe_ends(self, observer: Callable[[], None]) -> None:
        """`observer` is called when a cacher has ended by itself: its resource may not be served any more."""
        self._observers.append(observer)

    def __iter__(self) -> Iterator[Cacher]:
        return (cacher for cacher, _ in self._cachers.values())

    def relists(self) -> Counter[_Key]:
        """How often caches were filled anew since the process started, also those that have ended."""
        relists = self._relists_of_ended.copy()
        relists.update({key: _relists(cacher) for key, (cacher, _) in self._cachers.items()})
        return relists

    def running(self, resource: ApiResource, form: ReadForm) -> Cacher | None:
        """The cacher of a resource when there is one, filled or not."""
        found = self._cachers.get((resource.gvr, form))
        return found[0] if found else None

    def start(self, resource: ApiResource, form: ReadForm, *, start_rv: str = "", is_essential: bool = False) -> Cacher:
        """The cacher of a resource, started when there was none (at `start_rv`, where upstream still has that).

        Raises CacheFull when there is no room for another, unless it is essential.
        """
        running = self.running(resource, form)
        if running is not None and not running.stopped:
            return running
        key = (resource.gvr, form)
        if not is_essential and not self._budget.has_room_for(key, list(self)):
            raise CacheFull
        cacher = Cacher(
            self._client,
            resource,
            form,
            clock=self._clock,
            settings=self._settings,
            start_rv=start_rv,
            fits=self._fits,
        )
        nobodys = Context()  # what the cacher reads is not in the name of the caller for whom it is begun
        self._cachers[key] = (cacher, self._tasks.create_task(self._run(key, cacher), context=nobodys))
        return cacher

    def remove(self, gone: frozenset[GroupVersionResource]) -> None:
        """Ends the cachers of resources that are not served any more, and their streams."""
        for (gvr, _), (_, task) in self._cachers.items():
            if gvr in gone:
                task.cancel()

    def stop(self) -> None:
        """Ends all cachers."""
        for _, task in self._cachers.values():
            task.cancel()

    async def run(self) -> None:
        """Ends what nobody follows any more. Runs until cancelled."""
        while True:
            await asyncio.sleep(_CHECK_INTERVAL_SECONDS)
            for cacher, task in list(self._cachers.values()):
                if cacher.is_idle and self._clock() - cacher.idle_since >= IDLE_SECONDS:
                    task.cancel()
            self._end_surplus()

    @property
    def evictions(self) -> int:
        """How many caches have ended so that the rest fits into `max_bytes`."""
        return self._budget.evictions

    def _fits(self, filled: Cacher) -> bool:
        """Ends what is too much. False when that is the one which was just filled: it is to end by itself."""
        return filled not in self._end_surplus(but=filled)

    def _end_surplus(self, but: Cacher | None = None) -> list[Cacher]:
        surplus = self._budget.surplus([(key, cacher) for key, (cacher, _) in self._cachers.items()])
        ended = [self._cachers[key] for key in surplus]
        for cacher, task in ended:
            if cacher is not but:
                log.warning("the watch cache of %s ends: --max-cache-bytes is exceeded", cacher.resource.gvr)
                task.cancel()
        return [cacher for cacher, _ in ended]

    async def _run(self, key: _Key, cacher: Cacher) -> None:
        try:
            await cacher.run()
            for observer in self._observers:
                observer()
        except* Exception:
            log.exception("the watch cache of %s ended by a bug", cacher.resource.gvr)
        finally:
            self._relists_of_ended[key] += _relists(cacher)
            if key in self._cachers and self._cachers[key][0] is cacher:
                del self._cachers[key]


def _relists(cacher: Cacher) -> int:
    return max(cacher.cache.lists - 1, 0)
