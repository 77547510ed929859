"""The copy of pods that a client keeps by list and watch, as an informer does, and the protocol it is kept by.

Every answer is checked while it is read. What was seen is written down, to be compared with the truth later.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

from tests.support.identities import Identity
from tests.support.question import Json, Key, Question, Shown
from tests.support.worlds import Seen

_TRAIL = 12  # latest steps, for a message
_CHECKPOINTS = 20  # states of the past to go back to
_SECRET = re.compile(rb"secret-[0-9]+")
_TRY_LATER = frozenset(
    {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.GATEWAY_TIMEOUT}
)  # nobody knows, or nobody knows yet: no answer that could be wrong

State = dict[Key, Shown]


class BreachError(Exception):
    """The server said what the protocol does not allow."""


class Sighting(NamedTuple):
    """The whole state of a replica as of `seen.rv`."""

    what: str
    seen: Seen
    state: State


class Secrets(NamedTuple):
    """The marks of single versions of pods that stood in the bytes of one answer."""

    seen: Seen
    marks: frozenset[str]


class Verdict(NamedTuple):
    """Whether the caller was let in at all."""

    seen: Seen
    allowed: bool


@dataclass(slots=True)
class Position:
    """A state and the resourceVersion it is of."""

    rv: int
    state: State


@dataclass(slots=True)
class Reading:
    """One list or watch under way, asked for at tick `asked`.

    `aside` is where a list or initial events gather until they are whole: as of `at_least` or later. `newest` is the
    newest resourceVersion seen.
    """

    asked: int
    initial: bool
    at_least: int = 0
    newest: int = 0
    aside: State = field(default_factory=dict)


class StrictCopy:
    """What one client holds (`position`, None for nothing) and has seen. `tick` tells the time.

    Raises BreachError when the server says what the protocol does not allow.
    """

    def __init__(self, question: Question, caller: Identity, tick: Callable[[], int]) -> None:
        self.question = question
        self.caller = caller
        self.position: Position | None = None
        self.past: list[Position] = []
        self.known_rv = ""
        self.reached = 0
        self.sightings: list[tuple[Identity, Sighting]] = []
        self.secrets: list[tuple[Identity, Secrets]] = []
        self.verdicts: list[tuple[Identity, Verdict]] = []
        self.counts: Counter[str] = Counter()
        self.trail: deque[str] = deque(maxlen=_TRAIL)
        self._tick = tick

    @property
    def is_let_in(self) -> bool:
        """True when the caller was let in when it last asked."""
        return any(verdict.allowed for _, verdict in self.verdicts[-1:])

    def read_page(self, body: Json, reading: Reading) -> str:
        """Takes in a list or a page of one; returns the token of the next, "" after the last."""
        metadata = body["metadata"]
        rv = int(metadata["resourceVersion"])
        self._demand(reading.newest in (0, rv), "all pages are of one resourceVersion")
        reading.newest = rv
        for shown in self.question.form.read_list(body):
            self._demand(shown.key not in reading.aside, f"{shown.key} is listed once")
            self._demand(int(shown.rv or 0) <= rv, f"{shown.key} is not newer than its list")
            reading.aside[shown.key] = shown
        token: str = metadata.get("continue", "")
        if token:
            self.counts["pages"] += 1
        else:
            self._hold("list", reading)
        return token

    def read_event(self, event: Json, reading: Reading) -> bool:
        """Takes in one event; False when the stream is over by it."""
        self._demand(event.keys() == {"type", "object"}, f"an event has a type and an object: {event}")
        kind, body = event["type"], event["object"]
        match kind:
            case "ERROR":
                self.read_refusal(body["code"], body)
                return False
            case "BOOKMARK":
                self._read_bookmark(body, reading)
            case "ADDED" if reading.initial:
                shown = self.question.form.read_event(body)
                self._demand(shown.key not in reading.aside, f"{shown.key} is an initial event once")
                reading.aside[shown.key] = shown
                reading.newest = max(reading.newest, int(shown.rv))
            case "ADDED" | "MODIFIED" | "DELETED":
                self._read_change(kind, self.question.form.read_event(body), reading)
            case _:
                raise BreachError(f"unknown event type {kind}")
        return True

    def read_verdict(self, asked: int, what: str, *, allowed: bool) -> None:
        """The caller was let in, or refused with 403."""
        self.trail.append(f"{'200' if allowed else '403'} {what}")
        self.counts["allowed" if allowed else "forbidden"] += 1
        self.verdicts.append((self.caller, Verdict(Seen(asked, self._tick(), None), allowed=allowed)))

    def read_refusal(self, code: int, status: Mapping[str, Any]) -> None:
        """A Status that means start over, or come again."""
        self._demand(status.get("kind") == "Status", f"a refusal is a Status: {status}")
        self.counts[str(code)] += 1
        self.trail.append(f"{code} {status.get('message')}")
        if code == HTTPStatus.GONE:
            self._demand(status["reason"] == "Expired", f"410 is Expired: {status}")
            self.position = None
        else:
            self._demand(code in _TRY_LATER, f"refused with {status}")

    def note_secrets(self, asked: int, data: bytes) -> None:
        """Writes down the secrets in the bytes of an answer."""
        marks = frozenset(mark.decode() for mark in _SECRET.findall(data))
        if marks:
            self.counts["secrets"] += len(marks)
            self.secrets.append((self.caller, Secrets(Seen(asked, self._tick(), None), marks)))

    def _read_bookmark(self, body: Json, reading: Reading) -> None:
        rv = int(body["metadata"]["resourceVersion"])
        self.counts["bookmarks"] += 1
        self._demand(rv >= reading.newest, f"bookmark {rv} is not older than {reading.newest}, which was seen before")
        self._demand(
            self.question.form.ends_initial_events(body) == reading.initial,
            "the first bookmark after initial events says that they end, and no other does",
        )
        reading.newest = rv
        if reading.initial:
            reading.initial = False
            self._hold("initial events", reading)
            return
        assert self.position is not None
        self.position = Position(rv, self.position.state)
        self._sight("bookmark", reading.asked)

    def _read_change(self, kind: str, shown: Shown, reading: Reading) -> None:
        self.counts[kind] += 1
        self._demand(not reading.initial, f"{kind} {shown.key} comes after the end of the initial events")
        assert self.position is not None
        held = self.position.state.get(shown.key)
        self._demand((held is None) == (kind == "ADDED"), f"{kind} {shown.key} {shown.rv}, while {held} is held")
        rv = int(shown.rv)
        self._demand(rv > reading.newest, f"{kind} {shown.key} {rv} is newer than {reading.newest}, seen before")
        state = dict(self.position.state)
        if kind == "DELETED":
            assert held is not None
            self._demand(
                _without_rv(shown.content) == _without_rv(held.content),
                f"DELETED {shown.key} {rv} shows what was seen last: {shown.content} instead of {held.content}",
            )
            del state[shown.key]
        else:
            state[shown.key] = shown
        reading.newest = rv
        self.position = Position(rv, state)
        self._sight(f"{kind} {shown.key}", reading.asked)

    def _hold(self, what: str, reading: Reading) -> None:
        rv = reading.newest
        self._demand(rv >= reading.at_least, f"{what} {rv} is as of {reading.at_least} or later")
        self.position = Position(rv, reading.aside)
        self.known_rv = str(rv)
        self._sight(what, reading.asked)

    def _sight(self, what: str, asked: int) -> None:
        position = self.position
        assert position is not None
        self.past = [*self.past[-_CHECKPOINTS + 1 :], position]
        self.sightings.append((self.caller, Sighting(what, Seen(asked, self._tick(), position.rv), position.state)))
        self.trail.append(f"{what}@{position.rv}")
        self.reached = position.rv

    def _demand(self, holds: bool, promise: str) -> None:
        if not holds:
            raise BreachError(f"not true: {promise} (position {self.position and self.position.rv})")


def _without_rv(content: Json | None) -> Json | None:
    if content is None:
        return None
    metadata = content.get("metadata", content)
    bare = {name: value for name, value in metadata.items() if name != "resourceVersion"}
    return {**content, "metadata": bare} if "metadata" in content else bare
