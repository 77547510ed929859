"""The ASGI application: reads requests, sends answers, and streams watches until they end.

A watch ends with the clean end of its body: at its timeout, when the server ends its watches, when it has fallen behind
the history. It ends with an ERROR event where the start it asked for is not to be had.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from proxy.api.status import InternalError, StatusError
from proxy.api.watch_event import error_frame
from proxy.devserver.errors import RequestEntityTooLarge
from proxy.devserver.handlers import JSON, Answer, Api, Request, error_answer
from proxy.devserver.storage import Change
from proxy.devserver.watches import Watcher, next_bookmark_at

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES = 3 * 1024 * 1024  # upstream's own bound of a request body
REQUESTS_KEPT = 10_000  # bounds the record of a long demo, and is more than one test makes
MIN_WATCH_SECONDS = 1800  # a watch without timeoutSeconds lasts between this and twice this, as upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRequest:
    """What arrived, as it arrived: the raw target, and the headers in order."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]


@dataclass
class DevelopmentApp:
    """The application. Runs on one loop, on which the storage is written too.

    `requests` is a record of what arrived. `refusal`, while set, answers every request but watches that are open.
    `bookmark_interval_seconds` may be changed at any time; it holds from each watch's next bookmark on.
    """

    api: Api
    random: Random
    bookmark_interval_seconds: float
    requests: deque[ReceivedRequest] = field(default_factory=lambda: deque(maxlen=REQUESTS_KEPT))
    refusal: StatusError | None = None
    open_watches: int = 0
    _wakes: set[asyncio.Event] = field(default_factory=set)
    _ended_generation: int = 0

    def __post_init__(self) -> None:
        self.api.storage.subscribe(self._wake_all)

    def end_watches(self) -> None:
        """Ends every watch that is open now."""
        self._ended_generation += 1
        self._wake_all(None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one HTTP request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"scope type `{scope['type']}`")
        self.requests.append(_received(scope))
        answer = await self._answer(scope, receive)
        if isinstance(answer, Watcher):
            await self._watch(answer, receive, send)
        else:
            await _send_answer(answer, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | Watcher:
        try:
            body = await _read_body(receive)
            if self.refusal is not None:
                raise self.refusal
        except StatusError as error:
            return error_answer(error)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request = Request(
            method=scope["method"], path=scope["path"], query=scope["query_string"], headers=headers, body=body
        )
        return self.api.answer(request)

    async def _watch(self, watcher: Watcher, receive: Receive, send: Send) -> None:
        await send(_start(200, JSON))
        wake = asyncio.Event()
        self._wakes.add(wake)
        self.open_watches += 1
        try:
            async with asyncio.TaskGroup() as group:
                gone = group.create_task(_until_gone(receive, wake))
                await self._stream(watcher, wake, gone, send)
                gone.cancel()
        finally:
            self.open_watches -= 1
            self._wakes.discard(wake)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(self, watcher: Watcher, wake: asyncio.Event, gone: asyncio.Task[None], send: Send) -> None:
        generation = self._ended_generation
        now = asyncio.get_running_loop().time
        end = now() + (watcher.options.timeout_seconds or self.random.uniform(MIN_WATCH_SECONDS, 2 * MIN_WATCH_SECONDS))
        try:
            frames = watcher.start()
        except StatusError as error:
            await send(_body(error_frame(error)))
            return
        bookmark_at = next_bookmark_at(now(), interval_seconds=self.bookmark_interval_seconds, end=end)
        while True:
            if frames:
                await send(_body(b"".join(frames)))
            if gone.done() or generation != self._ended_generation or now() >= end:
                return
            await _wait(wake, until=min(bookmark_at, end))
            if watcher.has_fallen_behind():
                return
            frames = watcher.advance()
            if now() >= bookmark_at:
                frames += watcher.bookmarks()
                bookmark_at = next_bookmark_at(now(), interval_seconds=self.bookmark_interval_seconds, end=end)

    def _wake_all(self, _change: Change | None) -> None:
        for wake in self._wakes:
            wake.set()


async def _wait(wake: asyncio.Event, *, until: float) -> None:
    try:
        async with asyncio.timeout_at(until):
            await wake.wait()
    except TimeoutError:
        return
    wake.clear()


async def _until_gone(receive: Receive, wake: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    wake.set()


async def _read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InternalError("the client went away")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise RequestEntityTooLarge(f"Request entity too large: limit is {MAX_BODY_BYTES}")
        if not message.get("more_body"):
            return bytes(body)


async def _send_answer(answer: Answer, send: Send) -> None:
    length = (b"content-length", str(len(answer.body)).encode())
    retry = [(b"retry-after", str(answer.retry_after_seconds).encode())] if answer.retry_after_seconds else []
    await send(_start(answer.status, answer.content_type, length, *retry))
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


def _start(status: int, content_type: str, *more: tuple[bytes, bytes]) -> Message:
    headers = [(b"content-type", content_type.encode()), (b"cache-control", b"no-cache, private"), *more]
    return {"type": "http.response.start", "status": status, "headers": headers}


def _body(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


def _received(scope: Scope) -> ReceivedRequest:
    query = scope["query_string"].decode("latin-1")
    target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    return ReceivedRequest(method=scope["method"], target=target, headers=headers)
