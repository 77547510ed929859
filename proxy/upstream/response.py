"""UpstreamResponse: a whole answer of the API server, of any status, with its body read and bounded."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import msgspec


class UpstreamResponse(msgspec.Struct, frozen=True, kw_only=True):
    """`body` is as sent on the wire: no content coding is undone, none is asked for. Nor are `raw_headers` changed."""

    status: int
    raw_headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    @property
    def headers(self) -> httpx.Headers:
        """The headers by name, without case."""
        return httpx.Headers(self.raw_headers)
