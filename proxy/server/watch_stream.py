"""A watch stream: one session on one connection, from its head to its end.

The session is fed from the history until it has everything, then goes live and is written to by the cacher's loop.
When its client falls behind it is fed from the history again; when the history has moved past it, it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from proxy.api.objects import ObjectVersion
from proxy.authz.decision import Permit
from proxy.server.exchange import STALLED_CLIENT_SECONDS, Exchange, warning_headers
from proxy.server.expiry_timer import ExpiryTimer
from proxy.server.open_streams import OpenStream, OpenStreams
from proxy.telemetry.watch_counts import WatchCounts
from proxy.upstream.cacher import Cacher
from proxy.watch.history import Change
from proxy.watch.session import EndReason, Phase, Session
from proxy.watch.view import Question, View

_BATCH = 256
"""Changes or objects looked at in one step while a session catches up: a few milliseconds."""

_BATCH_BYTES = 64 * 1024
"""What is rendered and handed to a connection in one step: all of it is kept while its client does not read."""


GOODBYE_SECONDS = 5.0
"""How long a client may take to make room for the end of its stream."""

LAST_BOOKMARK_SECONDS = 2.0
"""A stream's last bookmark comes this long before its timeout, as upstream's does."""

_ABRUPT = frozenset({EndReason.SCOPE_CHANGED, EndReason.CREDENTIAL_EXPIRED, EndReason.SLOW_CLIENT})
"""Ends that do not wait for a client to read what was already on its way: it may not see it any more, or does not."""

_ERROR_EVENT = "error event"
_BROKEN_OFF = "broken off"
"""Ends that are no session's: a stream of one ERROR event, and one that a failure stopped before its session ended."""


def http_chunk(data: bytes) -> bytes:
    """One HTTP/1.1 chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class WatchStream:
    """`clock` gives seconds since the epoch. The stream is registered from the moment it is made."""

    def __init__(
        self,
        exchange: Exchange,
        permit: Permit,
        *,
        streams: OpenStreams,
        clock: Callable[[], float],
    ) -> None:
        self._exchange = exchange
        self._streams = streams
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._sleep: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended: EndReason | None = None
        self._session: Session | None = None
        self._stalled: asyncio.Timeout | None = None
        self._counts = WatchCounts(filtered=not permit.scope.everything)
        self._registration = OpenStream(permit, self._end, self._counts)
        exchange.audit.decision = permit
        exchange.audit.watch = self._counts
        streams.add(self._registration)

    async def fail(self, error_frame: bytes) -> None:
        """A stream of one ERROR event."""
        try:
            await self._exchange.start_stream()
            self._exchange.connection.write(http_chunk(error_frame))
            await self._exchange.finish()
        finally:
            self._counts.ended_because = _ERROR_EVENT
            self._leave()

    async def run(
        self,
        cacher: Cacher,
        question: Question,
        *,
        position: int,
        rv: str,
        initial: Sequence[ObjectVersion] | None,
        wants_bookmarks: bool,
        timeout_seconds: float,
        on_shown: Callable[[], None],
        on_end: Callable[[str], None],
    ) -> None:
        """Streams until the watch ends. `initial` (None for none) is what there was at `rv`; `position` follows it.
        Who calls should not keep `initial`; `on_shown` tells that it is written.

        `on_end` is told the resourceVersion that the client may have reached, before it can see the end.
        """
        connection = self._exchange.connection
        session = Session(
            sink=connection, position=position, floor=rv, wants_bookmarks=wants_bookmarks, on_wake=self._wake
        )
        self._session = session
        self._counts.begin(session, cacher.cache)
        view = cacher.join(session, question)
        try:
            if self._ended is not None:
                session.end(self._ended)
            connection.on_lost(lambda: session.end(EndReason.CLIENT_GONE))
            with self._timers(session, cacher, timeout_seconds):
                await self._exchange.start_stream(headers=warning_headers(cacher.warnings))
                if initial is not None:
                    await self._show_initial(session, view, initial, rv)
                    initial = None  # it would be held, version by version, for as long as the client watches
                on_shown()
                await self._follow(session, view, cacher)
            on_end(cacher.cache.rv)
            await self._say_goodbye(session)
        finally:
            connection.on_lost(None)
            cacher.leave(session)
            self._counts.ended_because = session.ended_because.value if session.ended_because else _BROKEN_OFF
            self._leave()

    def _leave(self) -> None:
        """Takes the stream out, and apart: in a cycle it would keep its connection until the collector comes by."""
        self._streams.remove(self._registration)
        self._session = None
        del self._registration

    def _end(self, reason: EndReason) -> None:
        self._ended = reason
        if self._session is not None:
            self._session.end(reason)

    def _wake(self) -> None:
        self._counts.woken()
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)
        if self._stalled is not None and not self._stalled.expired():
            self._stalled.reschedule(self._loop.time())

    @contextmanager
    def _timers(self, session: Session, cacher: Cacher, timeout_seconds: float) -> Iterator[None]:
        def send_last_bookmark() -> None:
            cacher.send_bookmark(session)
            left_seconds = min(timeout_seconds, LAST_BOOKMARK_SECONDS)
            self._timer = self._loop.call_later(left_seconds, session.end, EndReason.TIMEOUT)

        self._timer = self._loop.call_later(max(0.0, timeout_seconds - LAST_BOOKMARK_SECONDS), send_last_bookmark)
        expiry = ExpiryTimer(self._exchange.credential, self._clock, lambda: session.end(EndReason.CREDENTIAL_EXPIRED))
        try:
            yield
        finally:
            expiry.cancel()
            self._timer.cancel()

    async def _show_initial(self, session: Session, view: View, initial: Sequence[ObjectVersion], rv: str) -> None:
        for batch in _batches(initial):
            if session.phase is Phase.ENDED:
                return
            chunks = view.begin(session, batch)
            self._counts.initial(len(chunks))
            await self._write(session, chunks)
        if session.wants_bookmarks and session.phase is not Phase.ENDED:
            session.sink.write(view.bookmark(rv, initial_events_end=True))

    async def _follow(self, session: Session, view: View, cacher: Cacher) -> None:
        """Feeds the session from the history whenever it is behind, until it ends."""
        while session.phase is not Phase.ENDED:
            if not session.sink.writable:
                await self._make_room(session)
                continue
            changes = cacher.cache.history.after(session.position, _BATCH)
            if changes is None:
                session.end(EndReason.SLOW_CLIENT)
            elif not changes:
                cacher.go_live(session)
                self._counts.went_live()
                self._sleep = self._loop.create_future()  # an Event would be 750 bytes more for each watcher
                await self._sleep
            else:
                await self._write(session, view.replay(session, _first_batch(changes)))

    async def _write(self, session: Session, chunks: list[bytes]) -> None:
        """Writes and waits until the client has read enough for more."""
        if session.phase is Phase.ENDED:
            return
        if chunks:
            session.sink.write(b"".join(chunks))
            session.delivered += len(chunks)
        if session.sink.writable:
            await asyncio.sleep(0)
        else:
            await self._make_room(session)

    async def _make_room(self, session: Session) -> None:
        """Waits until the client has read enough for more, or the session has ended."""
        try:
            async with asyncio.timeout(STALLED_CLIENT_SECONDS) as self._stalled:
                await self._exchange.connection.wait_writable()
        except TimeoutError:
            session.end(EndReason.SLOW_CLIENT)  # unless another reason woke it
        finally:
            self._stalled = None
        if not session.sink.writable:
            # The connection is closing, and may be for long: to wait again would be to spin.
            session.end(EndReason.CLIENT_GONE)

    async def _say_goodbye(self, session: Session) -> None:
        """Ends the response cleanly, unless nobody reads it, or may read what was already on its way."""
        gone = session.ended_because is EndReason.CLIENT_GONE
        if gone or (session.ended_because in _ABRUPT and not session.sink.writable):
            self._exchange.connection.abort()
            return
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._exchange.finish()
        except TimeoutError:
            self._exchange.connection.abort()


def _batches(versions: Sequence[ObjectVersion]) -> Iterator[list[ObjectVersion]]:
    batch: list[ObjectVersion] = []
    size = 0
    for version in versions:
        batch.append(version)
        size += len(version.raw)
        if size >= _BATCH_BYTES or len(batch) == _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _first_batch(changes: Sequence[Change]) -> Sequence[Change]:
    size = 0
    for index, change in enumerate(changes, start=1):
        version = change.current or change.previous
        size += len(version.raw) if version is not None else 0
        if size >= _BATCH_BYTES:
            return changes[:index]
    return changes
