"""A cacher: one upstream watch of one resource, and everybody who follows it.

It runs the reflector's commands, keeps the watch cache, and hands every Change to the sessions that it concerns, in
the loop's own step: between two awaits the cache and all live sessions are at the same Change.

After an upstream 410, a relist or events that cannot be trusted, all streams end, as upstream's do: the clients come
back at their own resourceVersion and are told to list where that is needed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from proxy.api.groups import ApiResource
from proxy.api.list_options import EXACT
from proxy.api.objects import ObjectVersion
from proxy.api.representations import type_prefix
from proxy.api.status import (
    BadRequest,
    Expired,
    Invalid,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
    StatusError,
    Timeout,
)
from proxy.api.watch_event import EventType, MalformedEvent
from proxy.upstream.cache_budget import CacheFull
from proxy.upstream.client import UpstreamClient
from proxy.upstream.list_reader import ListQuestion, ReadForm, UpstreamList, read_list
from proxy.upstream.watch_reader import UpstreamEventError, check_not_gone_back, read_watch
from proxy.watch import reflector
from proxy.watch.audience import Audience
from proxy.watch.cache import WatchCache
from proxy.watch.history import Change, OutOfOrder
from proxy.watch.session import EndReason, Session
from proxy.watch.view import Question, View

log = logging.getLogger(__name__)

UPSTREAM_LOSS_GRACE_SECONDS = 10.0
"""How long streams stay open while the upstream watch cannot be reopened: a restart of the API server takes less."""

MAX_CHANGES = 102_400
"""Bound of the history, as upstream's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacherSettings:
    """`history_seconds`: how long a change is kept at least; `bookmark_interval_seconds`: between two bookmarks."""

    history_seconds: float = 75.0
    bookmark_interval_seconds: float = 60.0


class Observer(Protocol):
    """Somebody inside the proxy who follows a resource: told of every list and Change, before the sessions are."""

    def listed(self, cacher: Cacher) -> None: ...
    def changed(self, cacher: Cacher, change: Change) -> None: ...


class Cacher:
    """Follows `resource` in one form. `start_rv` begins it at exactly that resourceVersion, where upstream has it.

    `fits` is asked after each list whether the cacher may go on with it.
    """

    def __init__(
        self,
        client: UpstreamClient,
        resource: ApiResource,
        form: ReadForm,
        *,
        clock: Callable[[], float],
        settings: CacherSettings,
        start_rv: str = "",
        fits: Callable[[Cacher], bool] = lambda cacher: True,
    ) -> None:
        self._client = client
        self._clock = clock
        self._settings = settings
        self._question = ListQuestion(resource=resource, form=form)
        self._start_rv = start_rv
        self._fits = fits
        self._just_listed = False
        self._observers: list[Observer] = []
        self._audience = Audience()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failing_since: float | None = None
        self._lost_error: StatusError | None = None
        self.resource = resource
        self.form = form
        self.prefix = type_prefix(resource.kind, resource.gvr.group_version)
        self.cache = WatchCache(retention_seconds=settings.history_seconds, max_changes=MAX_CHANGES)
        self.columns = b"null"
        self.warnings: tuple[str, ...] = ()
        self.list_kind = f"{resource.kind}List"
        self.last_heard = clock()
        self.idle_since = clock()
        self.stopped = False

    # --- what sessions and handlers use ---

    async def wait_ready(self) -> None:
        """Returns once the cache is filled. Raises the StatusError for which it cannot be, or is not kept up."""
        await asyncio.shield(self._ready)
        if self._lost_error is not None:
            raise self._lost_error

    def join(self, session: Session, question: Question) -> View:
        """Adds a session that will catch up by itself, from `cache.history`."""
        return self._audience.join(session, question)

    def go_live(self, session: Session) -> None:
        """From now on the session gets every Change. It must have everything up to the newest."""
        self._audience.go_live(session)

    def leave(self, session: Session) -> None:
        """Takes a session out, whatever its phase."""
        self._audience.leave(session)
        if not self._audience:
            self.idle_since = self._clock()

    def snapshot(self) -> UpstreamList:
        """The objects now, as a list of them."""
        return UpstreamList(
            rv=self.cache.rv,
            versions=self.cache.objects(),
            kind=self.list_kind,
            api_version=self.resource.gvr.group_version,
            columns=self.columns,
            warnings=self.warnings,
        )

    def send_bookmark(self, session: Session) -> None:
        """A bookmark for a session that asked for them, has everything and keeps up; else nothing."""
        self._audience.bookmark(session, self.cache.rv)

    def observe(self, observer: Observer) -> None:
        """Adds an observer, for whom the cacher goes on without sessions."""
        self._observers.append(observer)

    def unobserve(self, observer: Observer) -> None:
        """Takes an observer out."""
        self._observers.remove(observer)
        self.idle_since = self._clock()

    @property
    def is_filled(self) -> bool:
        """True once the cache holds a whole list."""
        return self._ready.done() and self._ready.exception() is None

    @property
    def is_idle(self) -> bool:
        """True while nobody follows."""
        return not self._audience and not self._observers

    @property
    def is_essential(self) -> bool:
        """True while the proxy itself follows."""
        return bool(self._observers)

    @property
    def size_bytes(self) -> int:
        """About what the cache takes in memory."""
        return self.cache.size_bytes

    # --- the loop ---

    async def run(self) -> None:
        """Follows upstream until the resource is gone or the task is cancelled. Ends all sessions then."""
        machine = reflector.Reflector()
        command: reflector.Command | None = reflector.List()
        try:
            async with asyncio.TaskGroup() as tasks:
                bookmarks = tasks.create_task(self._send_bookmarks())
                while not isinstance(command, reflector.Stop) and command is not None:
                    happened = await self._carry_out(command, machine)
                    command = machine.step(happened, jitter=random.random())  # noqa: S311 (spreads retries)
                bookmarks.cancel()
        finally:
            self.stopped = True
            self._fail(ServiceUnavailable("the watch cache of this resource ended"))
            self._audience.end_all(EndReason.UPSTREAM_LOST)

    async def _carry_out(self, command: reflector.Command, machine: reflector.Reflector) -> reflector.Input:
        try:
            match command:
                case reflector.List():
                    await self._list()
                    return reflector.Listed()
                case reflector.Watch():
                    await self._watch(machine)
                    return reflector.Ended()
                case reflector.Wait(seconds=seconds):
                    await asyncio.sleep(seconds)
                    return reflector.Waited()
                case reflector.Stop():
                    return reflector.Removed()
        except (NotFound, MethodNotAllowed) as error:
            self._fail(error)
            return reflector.Removed()
        except Expired:
            return reflector.Expired()
        except (MalformedEvent, OutOfOrder) as error:
            log.warning("the watch of %s cannot be trusted, listing again: %s", self.resource.gvr, error)
            return reflector.Expired()
        except CacheFull as error:
            log.warning("the watch cache of %s ends: %s", self.resource.gvr, error)
            self._fail(error)
            return reflector.Removed()
        except UpstreamEventError as error:
            log.info("the watch of %s ended with %s: %s", self.resource.gvr, error.code, error)
            return reflector.Expired()  # whatever it was: the stream was open, and still does not tell what happens
        except StatusError as error:
            log.warning("the API server cannot be followed for %s: %s", self.resource.gvr, error)
            self._lost(error)
            return reflector.Failed(error.retry_after_seconds)

    def _fail(self, error: StatusError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # nobody may be waiting: that is no bug to warn of

    def _lost(self, error: StatusError) -> None:
        self._fail(error)
        now = self._clock()
        self._failing_since = now if self._failing_since is None else self._failing_since
        if now - self._failing_since >= UPSTREAM_LOSS_GRACE_SECONDS:
            self._lost_error = error
            self._audience.end_all(EndReason.UPSTREAM_LOST)

    async def _list(self) -> None:
        listed = await self._list_at_start() or await read_list(self._client, self._question)
        self._audience.end_all(EndReason.RELIST)
        self._take(listed)
        if not self._fits(self):
            raise CacheFull
        self._heard()
        for observer in self._observers:
            observer.listed(self)
        if self._ready.done():
            self._ready = asyncio.get_running_loop().create_future()
        self._ready.set_result(None)

    async def _list_at_start(self) -> UpstreamList | None:
        """The list at exactly the resourceVersion to start from, once; None where upstream does not have it."""
        rv, self._start_rv = self._start_rv, ""
        if not rv:
            return None
        try:
            at_rv = replace(self._question, resource_version=rv, resource_version_match=EXACT)
            return await read_list(self._client, at_rv)
        except (Expired, Timeout, BadRequest, Invalid):
            return None

    def _take(self, listed: UpstreamList) -> None:
        self.warnings = listed.warnings
        self.list_kind = listed.kind
        self.columns = listed.columns
        self.cache.replace(listed.versions, listed.rv)
        self._just_listed = True

    async def _watch(self, machine: reflector.Reflector) -> None:
        if not self._just_listed:
            await check_not_gone_back(self._client, self._question, self.cache.rv)
        self._just_listed = False
        async with aclosing(read_watch(self._client, self.resource, self.form, self.cache.rv)) as batches:
            async for events in batches:
                for kind, version in events:
                    self._receive(kind, version)
                    machine.step(reflector.Received(), jitter=0.0)
                self._heard()

    def _heard(self) -> None:
        self.last_heard = self._clock()
        self._failing_since = None
        self._lost_error = None

    def _receive(self, kind: EventType, version: ObjectVersion) -> None:
        if kind is EventType.BOOKMARK:
            self.cache.advance(version.rv)
            return
        if change := self.cache.apply(kind, version, self._clock()):
            for observer in self._observers:
                observer.changed(self, change)
            self._audience.deliver(change)

    async def _send_bookmarks(self) -> None:
        while True:
            await asyncio.sleep(self._settings.bookmark_interval_seconds)
            self._audience.bookmark_all(self.cache.rv)
