"""A client's connection without a socket, and the exchange on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from proxy.server.credential import Credential
from proxy.server.exchange import Exchange, Headers, Message
from tests.support.versions import events_of


class FakeConnection:
    """Keeps what is written, and whole answers in `answered`. `stuck`: its client reads nothing; `closing`: it will be
    gone, some time.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.answered: list[tuple[int, dict[bytes, bytes], bytes]] = []
        self.aborted = False
        self.closing = False
        self._reads = asyncio.Event()
        self._reads.set()
        self._on_lost: Callable[[], None] | None = None

    # --- as the client ---

    def stop_reading(self) -> None:
        self._reads.clear()

    def read_on(self) -> None:
        self._reads.set()

    def close(self) -> None:
        """As a transport's close: nothing can be written any more, and that it is lost is told later."""
        self.closing = True
        self._reads.set()

    def lose(self) -> None:
        self.close()
        if self._on_lost is not None:
            self._on_lost()

    def take(self) -> list[dict[str, Any]]:
        """The events that were written since the last look."""
        events = list(events_of(bytes(self.data)))
        self.data.clear()
        return events

    # --- as Connection ---

    def write(self, chunk: bytes) -> None:
        if not self.closing:
            self.data += chunk

    def write_chunk(self, part: bytes | memoryview) -> None:
        self.write(b"%x\r\n%b\r\n" % (len(part), part))

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        self.answered.append((status, dict(headers), body))

    @property
    def writable(self) -> bool:
        return self._reads.is_set() and not self.closing

    async def wait_writable(self) -> None:
        await self._reads.wait()

    def on_lost(self, callback: Callable[[], None] | None) -> None:
        self._on_lost = callback
        if callback is not None and self.closing:
            callback()

    def abort(self) -> None:
        self.aborted = True
        self.closing = True
        self._reads.set()


class FakeExchange:
    """An Exchange on a FakeConnection; `messages` are those that were sent."""

    def __init__(self, *, expires_at: float | None = None) -> None:
        self.connection = FakeConnection()
        self.messages: list[Message] = []
        scope = {"type": "http", "method": "GET", "headers": [], "state": {"connection": self.connection}}
        self.exchange = Exchange(scope, self._receive, self._send)
        self.exchange.credential = Credential(expires_at)

    @property
    def ended(self) -> bool:
        """True when the response was ended cleanly."""
        return bool(self.messages) and self.messages[-1].get("more_body") is False

    async def _receive(self) -> Message:
        raise AssertionError("a watch has no body")

    async def _send(self, message: Message) -> None:
        self.messages.append(message)
        if message.get("more_body") is False:
            await self.connection.wait_writable()
