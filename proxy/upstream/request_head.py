"""The head of an HTTP/1.1 request as bytes, written by hand.

INVARIANT: nothing that could end a line or the head early gets into it, wherever the values came from
(tests/unit/upstream/test_request_head.py). Source: RFC 9110 §5.5, §5.6.2; RFC 9112 §3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import httpx

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_TARGET = re.compile(rb"/[\x21-\x7e]*").fullmatch
_FIELD_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?").fullmatch


def encode_request_head(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The request line and header section, with the empty line at the end.

    Adds `Accept-Encoding: identity` where the caller asks for no coding. Raises httpx.LocalProtocolError for a
    method, target, name or value that HTTP does not allow, and for Content-Length beside Transfer-Encoding.
    """
    if not _TOKEN(method):
        raise httpx.LocalProtocolError(f"illegal method {method!r}")
    if not _TARGET(target):
        raise httpx.LocalProtocolError(f"illegal request target {target!r}")
    parts = [method, b" ", target, b" HTTP/1.1\r\n"]
    seen = set()
    for name, value in headers:
        if not _TOKEN(name):
            raise httpx.LocalProtocolError(f"illegal header name {name!r}")
        if not _FIELD_VALUE(value):
            # Not the value itself: it may be a credential, and this text reaches logs.
            raise httpx.LocalProtocolError(f"illegal value of header {name!r}")
        seen.add(name.lower())
        parts += (name, b": ", value, b"\r\n")
    if b"content-length" in seen and b"transfer-encoding" in seen:
        raise httpx.LocalProtocolError("Content-Length beside Transfer-Encoding")
    parts.append(b"\r\n" if b"accept-encoding" in seen else b"Accept-Encoding: identity\r\n\r\n")
    return b"".join(parts)
