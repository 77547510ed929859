"""UpstreamResponse: a whole answer of the API server, of any status, with its body read and bounded."""

from __future__ import annotations

from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamResponse:
    """`body` is as sent on the wire: no content coding is undone, none is asked for."""

    status: int
    headers: httpx.Headers
    body: bytes
