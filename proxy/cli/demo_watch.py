"""The watch of one identity through the proxy, over mutual TLS, until it is cancelled."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from proxy.api.watch_event import EventType, LineSplitter, decode_event
from proxy.cli.demo_observer import Observer, SeenEvent

WATCH_TARGET = "/api/v1/pods?watch=true"
_TIMEOUT = httpx.Timeout(10.0, read=None)  # a watch may be silent for as long as nothing happens
_RETRY_SECONDS = 0.5
_MAX_LINE_BYTES = 4 * 1024 * 1024  # an object has at most 1.5 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchClient:
    """How an identity connects: `stem` names its files in the folder of certificates."""

    url: str
    certificates: Path
    stem: str

    def client(self) -> httpx.AsyncClient:
        """An HTTP client that presents the identity's certificate and trusts the development CA only."""
        context = ssl.create_default_context(cafile=self.certificates / "ca.crt")
        context.load_cert_chain(self.certificates / f"{self.stem}.crt", self.certificates / f"{self.stem}.key")
        return httpx.AsyncClient(base_url=self.url, verify=context, timeout=_TIMEOUT, trust_env=False)


async def wait_until_served(access: WatchClient) -> None:
    """Returns when a list of pods succeeds."""
    async with access.client() as client:
        while True:
            with suppress(httpx.TransportError):  # it does not listen yet
                if (await client.get("/api/v1/pods?limit=1", timeout=10.0)).is_success:
                    return
            await asyncio.sleep(_RETRY_SECONDS)


async def follow(access: WatchClient, observer: Observer, show: Callable[[Observer, SeenEvent], None]) -> None:
    """Watches for ever, and anew when a stream ends; `show` is told each event."""
    async with access.client() as client:
        while True:
            with suppress(httpx.TransportError):  # a stream broke: the next one starts with the whole state
                await _follow_once(client, observer, show)
            await asyncio.sleep(_RETRY_SECONDS)


async def _follow_once(
    client: httpx.AsyncClient, observer: Observer, show: Callable[[Observer, SeenEvent], None]
) -> None:
    async with client.stream("GET", WATCH_TARGET, headers={"accept": "application/json"}) as response:
        if not response.is_success:
            return
        observer.restarted()
        lines = LineSplitter(_MAX_LINE_BYTES)
        async for chunk in response.aiter_raw():
            for line in lines.feed(chunk):
                event = decode_event(line)
                if event.type in (EventType.ADDED, EventType.MODIFIED, EventType.DELETED):
                    pod: dict[str, Any] = msgspec.json.decode(event.object)
                    show(observer, observer.received(event.type, pod))
