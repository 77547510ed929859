"""Views: sessions that ask the same question share one, so that a Change is projected and encoded once for all of them.

The index offers a Change only to the views it can concern, so that its cost does not grow with the clients it does
not concern.

INVARIANT: every view for which `project` shows something is among `candidates`
(tests/property/test_view_index.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from proxy.api.objects import ObjectVersion
from proxy.watch.history import Change
from proxy.watch.projection import Shown, Visibility, initial_events, project
from proxy.watch.session import Session


class Encoder(Protocol):
    """How a shown event becomes bytes. A value: equal encoders give equal bytes."""

    def encode(self, shown: Shown) -> bytes: ...
    def first(self, shown: Shown) -> bytes:
        """As `encode`, for the first event of a stream: a Table names its columns there."""
        ...

    def bookmark(self, rv: str, *, initial_events_end: bool) -> bytes: ...
    def __hash__(self) -> int: ...


Framing = Callable[[bytes], bytes]
"""Puts one event into the framing of the connection (an HTTP chunk)."""


@dataclass(frozen=True, slots=True)
class Question:
    """What makes two sessions of one resource equal: what they see, in which form, in which framing."""

    visibility: Visibility
    encoder: Encoder
    framing: Framing


@dataclass(slots=True, eq=False)
class View:
    """One question and the sessions that ask it. `live` sessions have everything up to the newest Change."""

    question: Question
    live: dict[Session, None] = field(default_factory=dict)
    sessions: int = 0
    _last: tuple[Change | None, Shown | None, bytes] = (None, None, b"")

    def render(self, change: Change) -> tuple[Shown | None, bytes]:
        """What `change` shows here, and its framed bytes (empty when nothing). The newest is remembered."""
        # By identity: after a relist sequences begin again, and a view may outlive that in a session that lingers.
        last, shown, chunk = self._last
        if last is not change:
            shown = project(change, self.question.visibility)
            chunk = self._frame(shown) if shown else b""
            self._last = (change, shown, chunk)
        return shown, chunk

    def render_first(self, shown: Shown) -> bytes:
        """The framed bytes of an event that is the first of its stream."""
        return self.question.framing(self.question.encoder.first(shown))

    def begin(self, session: Session, versions: Iterable[ObjectVersion]) -> list[bytes]:
        """The framed initial events of a session, for the visible ones of some versions."""
        return [
            self.render_first(shown) if session.takes_first() else self._frame(shown)
            for shown in initial_events(versions, self.question.visibility)
        ]

    def replay(self, session: Session, changes: Iterable[Change]) -> list[bytes]:
        """The framed events of the next changes for a session that is behind, whose position moves past them."""
        chunks = []
        for change in changes:
            session.position = change.sequence
            shown, chunk = self.render(change)
            if shown is not None and not session.is_past(change):
                chunks.append(self.render_first(shown) if session.takes_first() else chunk)
        return chunks

    def bookmark(self, rv: str, *, initial_events_end: bool = False) -> bytes:
        """A framed bookmark."""
        return self.question.framing(self.question.encoder.bookmark(rv, initial_events_end=initial_events_end))

    def _frame(self, shown: Shown) -> bytes:
        return self.question.framing(self.question.encoder.encode(shown))


class ViewIndex:
    """The views of one resource, found by what a changed object looks like before and after."""

    def __init__(self) -> None:
        self._views: dict[Question, View] = {}
        self._unindexed: dict[View, None] = {}
        self._by_path: dict[str, dict[str, dict[View, None]]] = {}

    def __iter__(self) -> Iterator[View]:
        return iter(self._views.values())

    def join(self, question: Question) -> View:
        """The view of a question, made when nobody asked it yet. Each join needs a `leave`."""
        view = self._views.get(question)
        if view is None:
            view = self._views[question] = View(question)
            self._add(view)
        view.sessions += 1
        return view

    def leave(self, view: View) -> None:
        """One session fewer; the last one takes the view with it."""
        view.sessions -= 1
        if not view.sessions:
            del self._views[view.question]
            self._remove(view)

    def candidates(self, change: Change) -> Collection[View]:
        """The views that `change` can concern, each once."""
        found = dict(self._unindexed)
        for path, by_value in self._by_path.items():
            for version in (change.previous, change.current):
                value = None if version is None else version.field(path)
                if value is not None:
                    found.update(by_value.get(value, {}))
        return found.keys()

    def _add(self, view: View) -> None:
        keys = view.question.visibility.index_keys
        if keys is None:
            self._unindexed[view] = None
            return
        for path, value in keys:
            self._by_path.setdefault(path, {}).setdefault(value, {})[view] = None

    def _remove(self, view: View) -> None:
        keys = view.question.visibility.index_keys
        if keys is None:
            del self._unindexed[view]
            return
        for path, value in keys:
            by_value = self._by_path[path]
            del by_value[value][view]
            if not by_value[value]:
                del by_value[value]
            if not by_value:
                del self._by_path[path]
