"""A replica: a strict client that lists and watches through a proxy, in a thread of its own, until it is told to stop.

A breach of the protocol ends it and is in `breaches`.
"""

import json
import random
import socket
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from http import HTTPStatus
from types import TracebackType
from typing import Self

import httpx

from tests.support.identities import Identity
from tests.support.question import Question
from tests.support.strict_copy import BreachError, Reading, StrictCopy

_CONNECT_SECONDS = 30.0  # bounds a hang
_BREATH_SECONDS = 0.1  # between two attempts while nobody serves, or nothing is allowed
_JOIN_SECONDS = 20.0
_PAGE = "3"  # small against what there is, so that there are pages
_WATCH_LIST = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}


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


class Replica:
    """One client; used as a context manager. `connect` makes an httpx client for an identity.

    `tick` tells the time, `written` the resourceVersion of the latest write that was answered. The caller may have
    several credentials (`callers`); which is used changes with `reconnect`.
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
        self.copy = StrictCopy(question, callers[0], tick)
        self.breaches: list[str] = []
        self._connect = connect
        self._tick = tick
        self._written = written
        self._random = random.Random(seed)
        self._clients: dict[Identity, httpx.Client] = {}
        self._is_waiting = False
        self._lock = threading.Lock()
        self._response: httpx.Response | None = None
        self._stopped = threading.Event()
        self._running = threading.Event()
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"replica {self.name}", daemon=True)

    @property
    def name(self) -> str:
        """Who asks what."""
        return f"{self.copy.caller.name} {self.copy.question}"

    @property
    def progress(self) -> str:
        """Where it stands, for a message."""
        position = self.copy.position
        held = "nothing" if position is None else f"{len(position.state)} at {position.rv}"
        return f"{self.name}: {held}, {dict(self.copy.counts)}, {self.copy.verdicts[-1:]}"

    @property
    def is_waiting(self) -> bool:
        """True while a request is not answered."""
        return self._is_waiting

    @property
    def is_paused(self) -> bool:
        """True from `pause` to `resume`."""
        return not self._running.is_set()

    def __enter__(self) -> Self:
        self._clients = {caller: self._connect(caller) for caller in self.callers}
        self._running.set()
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._running.set()
        self._hang_up()
        self._thread.join(_JOIN_SECONDS)
        for client in self._clients.values():
            client.close()
        if self._thread.is_alive():
            raise TimeoutError(f"{self.name} does not stop")

    def pause(self) -> None:
        """Hang up, and stay away until `resume`; returns when nothing is under way any more."""
        if self.is_paused:
            return
        self._running.clear()
        self._idle.clear()
        while self._thread.is_alive() and not self._idle.wait(_BREATH_SECONDS):
            self._hang_up()

    def resume(self) -> None:
        """Come back, at the resourceVersion held."""
        self._running.set()

    def start_over(self) -> None:
        """Come back, knowing nothing but a resourceVersion of the past."""
        self.copy.position = None
        self.resume()

    def reconnect(self, *, rewind: bool = False, switch: bool = False) -> None:
        """Hang up and come back: with `rewind` at an older state, with `switch` with the next credential."""
        was_paused, copy = self.is_paused, self.copy
        self.pause()
        if rewind and copy.past:
            copy.position = self._random.choice(copy.past)
            copy.counts["rewinds"] += 1
            copy.trail.append(f"rewind to {copy.position.rv}")
        if switch:
            copy.caller = self.callers[(self.callers.index(copy.caller) + 1) % len(self.callers)]
            copy.past = []  # what another credential was shown is another client's
        if not was_paused:
            self.resume()

    def is_settled(self, rv: int, tick: int) -> bool:
        """True when it has a state as of `rv` or later, or was refused since `tick`, or has ended."""
        if self.breaches or self.copy.reached >= rv:
            return True
        refused = [verdict for _, verdict in self.copy.verdicts[-1:] if not verdict.allowed]
        return any(verdict.seen.asked >= tick for verdict in refused)

    def _run(self) -> None:
        while not self._stopped.is_set():
            if not self._running.is_set():
                self._idle.set()
                self._running.wait()
                continue
            try:
                self._turn()
            except httpx.TransportError:
                self.copy.counts["broken"] += 1
                self._stopped.wait(_BREATH_SECONDS)
            except BreachError as breach:
                self.breaches.append(f"{self.name}: {breach}, after {list(self.copy.trail)}")
                return
            except Exception:
                self.breaches.append(f"{self.name}: {traceback.format_exc()}")
                return

    def _turn(self) -> None:
        position = self.copy.position
        if position is not None:
            reading = Reading(asked=self._tick(), initial=False, newest=position.rv)
            self._watch({"resourceVersion": str(position.rv)}, reading)
            return
        opening = self._random.choice(list(Opening))
        self.copy.counts[opening.name] += 1
        kind, rv = opening.value
        reading = Reading(asked=self._tick(), initial=True, at_least=0 if rv else self._written())
        rv = self.copy.known_rv if rv == "known" else rv
        match kind:
            case "list":
                self._list({"resourceVersion": rv} if rv else {}, reading)
            case "exact":
                self._list({"resourceVersion": rv, "resourceVersionMatch": "Exact"} if rv else {}, reading)
            case "pages":
                self._list({"limit": _PAGE}, reading)
            case "watch-list":
                self._watch({**_WATCH_LIST, "resourceVersion": rv}, reading)
            case _:
                self._watch({"resourceVersion": rv}, reading)

    def _list(self, parameters: Mapping[str, str], reading: Reading) -> None:
        page = parameters
        while True:
            response = self._send(self._request(page, watch=False), stream=False)
            self.copy.note_secrets(reading.asked, response.content)
            if not self._is_served(response, reading.asked):
                return
            token = self.copy.read_page(response.json(), reading)
            if not token:
                return
            page = {**parameters, "continue": token}

    def _watch(self, parameters: Mapping[str, str], reading: Reading) -> None:
        watching = {"watch": "true", "allowWatchBookmarks": "true", **parameters}
        response = self._send(self._request(watching, watch=True), stream=True)
        try:
            with self._lock:
                self._response = response
            if response.status_code != HTTPStatus.OK:
                response.read()
            if self.is_paused or self._stopped.is_set() or not self._is_served(response, reading.asked):
                return
            for line in _lines(response):
                self.copy.note_secrets(reading.asked, line)
                if not self.copy.read_event(json.loads(line), reading):
                    return
            self.copy.trail.append("end")
        finally:
            with self._lock:
                self._response = None
            response.close()

    def _is_served(self, response: httpx.Response, asked: int) -> bool:
        """True for 200. All else is a reason to come again, to start over, or a breach."""
        if response.status_code == HTTPStatus.OK:
            self.copy.read_verdict(asked, str(response.url.params), allowed=True)
            return True
        if response.status_code == HTTPStatus.FORBIDDEN:
            self.copy.read_verdict(asked, str(response.url.params), allowed=False)
        else:
            self.copy.read_refusal(response.status_code, response.json())
        if response.status_code != HTTPStatus.GONE:
            self._stopped.wait(_BREATH_SECONDS)
        return False

    def _request(self, parameters: Mapping[str, str], *, watch: bool) -> httpx.Request:
        question = self.copy.question
        return self._clients[self.copy.caller].build_request(
            "GET",
            question.path,
            params={**question.parameters, **parameters},
            headers={"accept": question.form.accept(watch=watch), "accept-encoding": "identity"},
            timeout=httpx.Timeout(_CONNECT_SECONDS, read=None if watch else _CONNECT_SECONDS),
        )

    def _send(self, request: httpx.Request, *, stream: bool) -> httpx.Response:
        self._is_waiting = True
        try:
            return self._clients[self.copy.caller].send(request, stream=stream)
        finally:
            self._is_waiting = False

    def _hang_up(self) -> None:
        with self._lock:
            if self._response is not None:
                connection = self._response.extensions["network_stream"].get_extra_info("socket")
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread that reads


def _lines(response: httpx.Response) -> Iterator[bytes]:
    rest = b""
    for chunk in response.iter_raw():
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        raise BreachError(f"the stream ended cleanly inside an event: {rest!r}")
