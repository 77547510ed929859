"""Another httpx transport in the place of the proxy's own."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from proxy.upstream.response_parser import Header
from proxy.upstream.transport import Fetched, Timeouts


class HttpxTransport:
    """Implements the client's Transport with any transport of httpx."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)

    async def fetch(
        self, target: bytes, headers: Sequence[Header], *, timeouts: Timeouts, max_body_bytes: int
    ) -> Fetched:
        host = dict(headers)[b"Host"].decode()
        bounds = {name: seconds for name, seconds in timeouts._asdict().items() if seconds is not None}
        request = httpx.Request(
            "GET", f"http://{host}", headers=list(headers), extensions={"target": target, "timeout": bounds}
        )
        response = await self._transport.handle_async_request(request)
        body = bytearray()
        try:
            async for data in response.aiter_raw():
                body += data
                if len(body) > max_body_bytes:
                    return Fetched(response.status_code, response.headers.raw, None)
        finally:
            await response.aclose()
        return Fetched(response.status_code, response.headers.raw, bytes(body))

    async def aclose(self) -> None:
        await self._transport.aclose()
