"""The audience of one resource: the sessions that follow it, and the views they share.

INVARIANT: a live session gets every Change, in order, each once (tests/unit/upstream/test_cacher.py).
"""

from __future__ import annotations

from proxy.watch.history import Change
from proxy.watch.session import EndReason, Phase, Session
from proxy.watch.view import Question, View, ViewIndex


class Audience:
    """Sessions join, catch up by themselves, go live, and leave."""

    def __init__(self) -> None:
        self._sessions: dict[Session, View] = {}
        self._views = ViewIndex()

    def __len__(self) -> int:
        return len(self._sessions)

    def join(self, session: Session, question: Question) -> View:
        """Adds a session that will catch up by itself."""
        view = self._views.join(question)
        self._sessions[session] = view
        return view

    def go_live(self, session: Session) -> None:
        """From now on the session gets every Change. It must have everything up to the newest."""
        session.phase = Phase.LIVE
        self._sessions[session].live[session] = None

    def leave(self, session: Session) -> None:
        """Takes a session out, whatever its phase."""
        view = self._sessions.pop(session)
        view.live.pop(session, None)
        self._views.leave(view)

    def deliver(self, change: Change) -> None:
        """Hands a Change to the live sessions that it concerns."""
        for view in self._views.candidates(change):
            if not view.live:
                continue
            shown, chunk = view.render(change)
            if shown is None:
                continue
            for session in list(view.live):
                session.deliver(change, shown, chunk, view.render_first)
                if session.phase is not Phase.LIVE:
                    view.live.pop(session, None)

    def bookmark(self, session: Session, cache_rv: str) -> None:
        """A bookmark for a session that asked for them, has everything and keeps up; else nothing."""
        if session.phase is Phase.LIVE and session.wants_bookmarks and session.sink.writable:
            session.sink.write(self._sessions[session].bookmark(session.bookmark_rv(cache_rv)))

    def bookmark_all(self, cache_rv: str) -> None:
        """A bookmark for everybody who may have one."""
        for session in self._sessions:
            self.bookmark(session, cache_rv)

    def end_all(self, reason: EndReason) -> None:
        """Ends every session; they leave by themselves."""
        for session, view in self._sessions.items():
            view.live.pop(session, None)
            session.end(reason)
