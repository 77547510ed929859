"""A strict client: keeps a copy of what it may see by list and watch, as an informer does, and believes nothing.

It checks every answer against the protocol while it reads, and writes down what it saw (`sightings`) to be compared
with the truth later. A breach of the protocol ends it and is in `breaches`.
"""

import json
import random
import re
import socket
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx

from tests.support.identities import Identity
from tests.support.question import Json, Key, Question, Shown
from tests.support.worlds import Seen

_CONNECT_SECONDS = 30.0  # bounds a hang
_BREATH_SECONDS = 0.1  # between two attempts while nobody serves, or nothing is allowed
_JOIN_SECONDS = 20.0
_PAGE = "3"  # small against what there is, so that there are pages
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


class Opening(Enum):
    """How a replica that has nothing, or must start over, gets its first state; the value is a resourceVersion.

    KNOWN stands for the resourceVersion it had before.
    """

    LIST_CONSISTENT = ("list", "")
    LIST_CACHED = ("list", "0")
    LIST_KNOWN = ("list", "known")
    LIST_EXACT = ("exact", "known")
    PAGES = ("pages", "")
    WATCH_LIST_CONSISTENT = ("watch-list", "")
    WATCH_LIST_CACHED = ("watch-list", "0")
    WATCH_LIST_KNOWN = ("watch-list", "known")
    WATCH_AT_ONCE = ("watch", "")
    WATCH_CACHED_AT_ONCE = ("watch", "0")


@dataclass(slots=True)
class Position:
    """A state and the resourceVersion it is of."""

    rv: int
    state: State


@dataclass(slots=True)
class _Stream:
    """One open watch. `aside` is where initial events gather until they are whole."""

    asked: int
    initial: bool
    aside: State = field(default_factory=dict)
    newest: int = 0


class Replica:
    """One client; used as a context manager. `connect` makes an httpx client for an identity.

    `tick` tells the time, `written` the resourceVersion of the latest write that was answered.

    The caller may have several credentials (`callers`); which is used changes with `reconnect`.
    """

    def __init__(
        self,
        callers: tuple[Identity, ...],
        question: Question,
        *,
        connect: Callable[[Identity], httpx.Client],
        tick: Callable[[], int],
        written: Callable[[], int],
        seed: str,
    ) -> None:
        self.callers = callers
        self.caller = callers[0]
        self.question = question
        self.sightings: list[tuple[Identity, Sighting]] = []
        self.secrets: list[tuple[Identity, Secrets]] = []
        self.verdicts: list[tuple[Identity, Verdict]] = []
        self.breaches: list[str] = []
        self.counts: Counter[str] = Counter()
        self.trail: deque[str] = deque(maxlen=_TRAIL)
        self.reached = 0
        self._connect = connect
        self._tick = tick
        self._written = written
        self._random = random.Random(seed)
        self._clients: dict[Identity, httpx.Client] = {}
        self._position: Position | None = None
        self._known_rv = ""
        self._waiting = False
        self._at_least = 0
        self._past: list[Position] = []
        self._lock = threading.Lock()
        self._response: httpx.Response | None = None
        self._stopped = threading.Event()
        self._running = threading.Event()
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"replica {self.name}", daemon=True)

    @property
    def name(self) -> str:
        """Who asks what."""
        place = self.question.namespace or "*"
        selectors = ",".join(f"{key}={value}" for key, value in (*self.question.labels, *self.question.fields))
        return f"{self.caller.name} {place} {self.question.form.value} {selectors}".strip()

    @property
    def progress(self) -> str:
        """Where it stands, for a message."""
        position = self._position
        held = "nothing" if position is None else f"{len(position.state)} at {position.rv}"
        return f"{self.name}: {held}, {dict(self.counts)}, {self.verdicts[-1:]}"

    @property
    def is_waiting(self) -> bool:
        """True while a request is not answered."""
        return self._waiting

    @property
    def is_paused(self) -> bool:
        """True from `pause` to `resume`."""
        return not self._running.is_set()

    def __enter__(self) -> "Replica":
        self._clients = {caller: self._connect(caller) for caller in self.callers}
        self._running.set()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._running.set()
        self._hang_up()
        self._thread.join(_JOIN_SECONDS)
        for client in self._clients.values():
            client.close()
        assert not self._thread.is_alive(), f"{self.name} does not stop"

    def pause(self) -> None:
        """Hang up, and stay away until `resume`; returns when nothing is under way any more."""
        if self.is_paused:
            return
        self._running.clear()
        self._idle.clear()
        while not self._idle.wait(_BREATH_SECONDS):
            self._hang_up()
            if not self._thread.is_alive():
                return

    def resume(self) -> None:
        """Come back, at the resourceVersion held."""
        self._running.set()

    def start_over(self) -> None:
        """Come back, knowing nothing but a resourceVersion of the past."""
        self._position = None
        self.resume()

    def reconnect(self, *, rewind: bool = False, switch: bool = False) -> None:
        """Hang up and come back: with `rewind` at an older state, with `switch` with the next credential."""
        was_paused = self.is_paused
        self.pause()
        if rewind and self._past:
            self._position = self._random.choice(self._past)
            self.counts["rewinds"] += 1
            self.trail.append(f"rewind to {self._position.rv}")
        if switch:
            self.caller = self.callers[(self.callers.index(self.caller) + 1) % len(self.callers)]
            self._past = []  # what another credential was shown is another client's
        if not was_paused:
            self.resume()

    def is_settled(self, rv: int, tick: int) -> bool:
        """True when it has a state as of `rv` or later, or was refused since `tick`."""
        if self.breaches:
            return True
        if self.reached >= rv:
            return True
        return bool(self.verdicts) and not self.verdicts[-1][1].allowed and self.verdicts[-1][1].seen.asked >= tick

    # --- the loop ---

    def _run(self) -> None:
        while not self._stopped.is_set():
            if not self._running.is_set():
                self._idle.set()
                self._running.wait()
                continue
            try:
                self._turn()
            except httpx.TransportError:
                self.counts["broken"] += 1
                self._stopped.wait(_BREATH_SECONDS)
            except BreachError as breach:
                self.breaches.append(f"{self.name}: {breach}, after {list(self.trail)}")
                return
            except Exception:
                self.breaches.append(f"{self.name}: {traceback.format_exc()}")
                return

    def _turn(self) -> None:
        position = self._position
        if position is not None:
            self._watch({"resourceVersion": str(position.rv)}, initial=False)
            return
        opening = self._random.choice(list(Opening))
        self._at_least = 0 if opening.value[1] else self._written()
        self.counts[opening.name] += 1
        kind, rv = opening.value
        rv = self._known_rv if rv == "known" else rv
        match kind:
            case "list":
                self._list({"resourceVersion": rv} if rv else {})
            case "exact":
                self._list({"resourceVersion": rv, "resourceVersionMatch": "Exact"} if rv else {})
            case "pages":
                self._list({"limit": _PAGE})
            case "watch-list":
                parameters = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
                self._watch(parameters | {"resourceVersion": rv}, initial=True)
            case _:
                self._watch({"resourceVersion": rv}, initial=True)

    def _list(self, parameters: Mapping[str, str]) -> None:
        asked = self._tick()
        state: State = {}
        rv = token = ""
        while True:
            page = {**parameters, "continue": token} if token else parameters
            request = self._clients[self.caller].build_request(
                "GET",
                self.question.path,
                params={**self.question.parameters, **page},
                headers=self._headers(watch=False),
            )
            response = self._send(request, stream=False)
            self._note_secrets(asked, response.content)
            if not self._is_served(response, asked):
                return
            body = response.json()
            metadata = body["metadata"]
            self._demand(rv in ("", metadata["resourceVersion"]), "all pages are of one resourceVersion")
            rv, token = metadata["resourceVersion"], metadata.get("continue", "")
            for shown in self.question.form.read_list(body):
                self._demand(shown.key not in state, f"{shown.key} is listed once")
                self._demand(int(shown.rv or 0) <= int(rv), f"{shown.key} is not newer than its list")
                state[shown.key] = shown
            if not token:
                break
            self.counts["pages"] += 1
        self._hold(Position(int(rv), state), f"list {parameters}", asked)

    def _watch(self, parameters: Mapping[str, str], *, initial: bool) -> None:
        asked = self._tick()
        request = self._clients[self.caller].build_request(
            "GET",
            self.question.path,
            params={**self.question.parameters, "watch": "true", "allowWatchBookmarks": "true", **parameters},
            headers=self._headers(watch=True),
            timeout=httpx.Timeout(_CONNECT_SECONDS, read=None),
        )
        response = self._send(request, stream=True)
        try:
            with self._lock:
                self._response = response
            if response.status_code != HTTPStatus.OK:
                response.read()
            if not self._running.is_set() or self._stopped.is_set() or not self._is_served(response, asked):
                return
            stream = _Stream(asked=asked, initial=initial)
            if self._position is not None:
                stream.newest = self._position.rv
            for line in _lines(response):
                self._note_secrets(asked, line)
                if not self._receive(json.loads(line), stream):
                    return
            self.counts["ended"] += 1
            self.trail.append("end")
        finally:
            with self._lock:
                self._response = None
            response.close()

    def _receive(self, event: Json, stream: _Stream) -> bool:
        """Takes in one event; False when the stream is over by it."""
        self._demand(event.keys() == {"type", "object"}, f"an event has a type and an object: {event}")
        kind, body = event["type"], event["object"]
        match kind:
            case "ERROR":
                self._refused(body["code"], body)
                return False
            case "BOOKMARK":
                self._receive_bookmark(body, stream)
            case "ADDED" if stream.initial:
                shown = self.question.form.read_event(body)
                self._demand(shown.key not in stream.aside, f"{shown.key} is an initial event once")
                stream.aside[shown.key] = shown
                stream.newest = max(stream.newest, int(shown.rv))
            case "ADDED" | "MODIFIED" | "DELETED":
                self._receive_change(kind, self.question.form.read_event(body), stream)
            case _:
                raise BreachError(f"unknown event type {kind}")
        return True

    def _receive_bookmark(self, body: Json, stream: _Stream) -> None:
        rv = int(body["metadata"]["resourceVersion"])
        self.counts["bookmarks"] += 1
        self._demand(rv >= stream.newest, f"bookmark {rv} is not older than {stream.newest}, which was seen before")
        self._demand(
            self.question.form.ends_initial_events(body) == stream.initial,
            "the first bookmark after initial events says that they end, and no other does",
        )
        stream.newest = rv
        if stream.initial:
            stream.initial = False
            self._hold(Position(rv, stream.aside), "initial events", stream.asked)
            return
        assert self._position is not None
        self._position = Position(rv, self._position.state)
        self._sight("bookmark", stream.asked)

    def _receive_change(self, kind: str, shown: Shown, stream: _Stream) -> None:
        self.counts[kind] += 1
        self._demand(not stream.initial, f"{kind} {shown.key} comes after the end of the initial events")
        assert self._position is not None
        held = self._position.state.get(shown.key)
        self._demand((held is None) == (kind == "ADDED"), f"{kind} {shown.key} {shown.rv}, while {held} is held")
        rv = int(shown.rv)
        self._demand(rv > stream.newest, f"{kind} {shown.key} {rv} is newer than {stream.newest}, seen before")
        state = dict(self._position.state)
        if kind == "DELETED":
            assert held is not None
            self._demand(
                _without_rv(shown.content) == _without_rv(held.content),
                f"DELETED {shown.key} {rv} shows what was seen last: {shown.content} instead of {held.content}",
            )
            del state[shown.key]
        else:
            state[shown.key] = shown
        stream.newest = rv
        self._position = Position(rv, state)
        self._sight(f"{kind} {shown.key}", stream.asked)

    def _hold(self, position: Position, what: str, asked: int) -> None:
        self._demand(position.rv >= self._at_least, f"{what} {position.rv} is as of {self._at_least} or later")
        self._position = position
        self._known_rv = str(position.rv)
        self._sight(what, asked)

    def _sight(self, what: str, asked: int) -> None:
        position = self._position
        assert position is not None
        self._past = [*self._past[-_CHECKPOINTS + 1 :], position]
        self.sightings.append((self.caller, Sighting(what, Seen(asked, self._tick(), position.rv), position.state)))
        self.trail.append(f"{what}@{position.rv}")
        self.reached = position.rv

    def _is_served(self, response: httpx.Response, asked: int) -> bool:
        """True for 200. All else is a reason to come again, to start over, or a breach."""
        if response.status_code == HTTPStatus.OK:
            self._demand(
                response.headers["content-type"].startswith("application/json"), "the answer is JSON, as was asked"
            )
            self._note(Verdict(Seen(asked, self._tick(), None), allowed=True))
            self.trail.append(f"200 {response.url.params}")
            return True
        if response.status_code == HTTPStatus.FORBIDDEN:
            self._note(Verdict(Seen(asked, self._tick(), None), allowed=False))
            self.counts["forbidden"] += 1
            self._stopped.wait(_BREATH_SECONDS)
            return False
        self._refused(response.status_code, response.json())
        return False

    def _refused(self, code: int, status: Mapping[str, Any]) -> None:
        self._demand(status.get("kind") == "Status", f"a refusal is a Status: {status}")
        self.counts[str(code)] += 1
        self.trail.append(f"{code} {status.get('message')}")
        if code == HTTPStatus.GONE:
            self._demand(status["reason"] == "Expired", f"410 is Expired: {status}")
            self._position = None
            return
        self._demand(code in _TRY_LATER, f"refused with {status}")
        self._stopped.wait(_BREATH_SECONDS)

    # --- small things ---

    def _send(self, request: httpx.Request, *, stream: bool) -> httpx.Response:
        self._waiting = True
        try:
            return self._clients[self.caller].send(request, stream=stream)
        finally:
            self._waiting = False

    def _headers(self, *, watch: bool) -> dict[str, str]:
        return {"accept": self.question.form.accept(watch=watch), "accept-encoding": "identity"}

    def _note(self, verdict: Verdict) -> None:
        self.verdicts.append((self.caller, verdict))

    def _note_secrets(self, asked: int, data: bytes) -> None:
        marks = frozenset(mark.decode() for mark in _SECRET.findall(data))
        if marks:
            self.counts["secrets"] += len(marks)
            self.secrets.append((self.caller, Secrets(Seen(asked, self._tick(), None), marks)))

    def _hang_up(self) -> None:
        with self._lock:
            if self._response is not None:
                connection = self._response.extensions["network_stream"].get_extra_info("socket")
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread that reads

    def _demand(self, holds: bool, promise: str) -> None:
        if not holds:
            raise BreachError(f"not true: {promise} (position {self._position and self._position.rv})")


def _lines(response: httpx.Response) -> Iterator[bytes]:
    rest = b""
    for chunk in response.iter_raw():
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        raise BreachError(f"the stream ended cleanly inside an event: {rest!r}")


def _without_rv(content: Json | None) -> Json | None:
    if content is None:
        return None
    metadata = content.get("metadata", content)
    bare = {name: value for name, value in metadata.items() if name != "resourceVersion"}
    return {**content, "metadata": bare} if "metadata" in content else bare
