"""An API server whose every answer a test gives: requests are taken one by one, in the order they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from proxy.upstream.client import UpstreamClient
from proxy.upstream.config import ServerAddress, UpstreamConfig
from tests.support.httpx_transport import HttpxTransport
from tests.support.versions import compact

JSON = {"content-type": "application/json"}


class Feed(httpx.AsyncByteStream):
    """The body of a streamed answer, given bit by bit."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[bytes | httpx.TransportError | None] = asyncio.Queue()
        self.closed = False

    async def send(self, *data: bytes) -> None:
        """Returns when each of the pieces was dealt with."""
        for each in data:
            self._items.put_nowait(each)
        await self._items.join()

    async def send_events(self, *events: tuple[str, object]) -> None:
        """One piece a watch event."""
        await self.send(*(compact({"type": kind, "object": shown}) + b"\n" for kind, shown in events))

    def end(self) -> None:
        """The clean end of the body."""
        self._items.put_nowait(None)

    def fail(self, error: httpx.TransportError) -> None:
        """The connection breaks."""
        self._items.put_nowait(error)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            item = await self._items.get()
            try:
                if isinstance(item, httpx.TransportError):
                    raise item
                if item is None:
                    return
                yield item
            finally:
                self._items.task_done()

    async def aclose(self) -> None:
        self.closed = True


class Call:
    """A request that waits for its answer."""

    def __init__(self, request: httpx.Request) -> None:
        target = urlsplit(request.extensions["target"].decode())
        self.method = request.method
        self.body = request.content if isinstance(request.stream, httpx.ByteStream) else b""
        self.path = target.path
        self.query = dict(parse_qsl(target.query, keep_blank_values=True))
        self.accept = request.headers["accept"]
        self.timeouts: dict[str, float | None] = request.extensions["timeout"]
        self.response: asyncio.Future[httpx.Response] = asyncio.get_running_loop().create_future()

    def answer(self, body: object, *, status: int = 200, headers: dict[str, str] = JSON) -> None:
        """A whole answer; `body` is printed as JSON unless it is bytes."""
        content = body if isinstance(body, bytes) else compact(body)
        self.response.set_result(httpx.Response(status, headers=headers, stream=httpx.ByteStream(content)))

    def answer_list(self, rv: int | str, items: Sequence[dict[str, Any]] = (), *, continue_token: str = "") -> None:
        """A PodList, its items without kind and apiVersion as in a built-in list."""
        bare = [{key: value for key, value in item.items() if key not in ("kind", "apiVersion")} for item in items]
        metadata = {"resourceVersion": str(rv), **({"continue": continue_token} if continue_token else {})}
        self.answer({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": bare})

    def refuse(self, status: int, reason: str, message: str = "no") -> None:
        """A Status."""
        self.answer(
            {"kind": "Status", "apiVersion": "v1", "message": message, "reason": reason, "code": status}, status=status
        )

    def fail(self, error: httpx.TransportError) -> None:
        """No answer at all."""
        self.response.set_exception(error)

    def stream(self) -> Feed:
        """A 200 whose body is fed."""
        feed = Feed()
        self.response.set_result(httpx.Response(200, headers=JSON, stream=feed))
        return feed


class FakeApiServer(httpx.AsyncBaseTransport):
    """Its `client` is a real one."""

    def __init__(self) -> None:
        self._calls: asyncio.Queue[Call] = asyncio.Queue()
        self.client = UpstreamClient(
            UpstreamConfig(server=ServerAddress(scheme="http", host="upstream", port=80, base_path="")),
            transport=HttpxTransport(self),
            monotonic=asyncio.get_running_loop().time,
        )

    async def next_call(self) -> Call:
        """The next request, when it comes."""
        return await self._calls.get()

    @property
    def waiting(self) -> int:
        """Requests that have come and were not taken yet."""
        return self._calls.qsize()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = Call(request)
        self._calls.put_nowait(call)
        return await call.response
