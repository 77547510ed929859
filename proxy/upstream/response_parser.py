"""ResponseParser: the bytes of one HTTP/1.1 response, bounded and checked. No I/O.

httptools parses; this class adds what it lets pass: endless header sections, chunk extensions and trailers, transfer
codings nobody asked for, bytes behind the response.

INVARIANT: `is_reusable` only after a response that was complete, delimited by itself and followed by nothing
(tests/unit/upstream/test_response_parser.py).
"""

from __future__ import annotations

from typing import NoReturn

import httptools
import httpx

Header = tuple[bytes, bytes]

MAX_HEAD_BYTES = 64 * 1024  # the whole header section, informational responses included
MAX_BODY_OVERHEAD_BYTES = 64 * 1024  # chunk extensions or trailers in a row without one byte of body


class ResponseParser:
    """Fed until `complete`. After `head_complete`, `status` and `headers` are the final response's."""

    def __init__(self, *, method: str) -> None:
        self._bodiless = method == "HEAD"
        self._parser = httptools.HttpResponseParser(self)
        self._refusal: httpx.RemoteProtocolError | None = None
        self._chunks: list[bytes] = []
        self._head_bytes = 0
        self._header_bytes = 0
        self._body_bytes = 0
        self._overhead_bytes = 0
        self._informational = False
        self._ends_with_connection = False
        self._keep_alive = False
        self._followed = False
        self.status = 0
        self.headers: list[Header] = []
        self.head_complete = False
        self.complete = False
        self.buffered_bytes = 0

    @property
    def has_begun(self) -> bool:
        """True from the first byte on."""
        return self._head_bytes > 0

    @property
    def has_data(self) -> bool:
        """True when `take` would give something."""
        return bool(self._chunks)

    @property
    def is_reusable(self) -> bool:
        """True when the connection is at the clean end of this response."""
        return self.complete and self._keep_alive and not self._followed

    def feed(self, data: bytes | memoryview) -> None:
        """Raises httpx.RemoteProtocolError; what was complete before the flaw stays to be read."""
        head_was_complete = self.head_complete
        body_bytes = self._body_bytes
        if not head_was_complete:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise httpx.RemoteProtocolError("the server switched protocols unasked") from error
        except httptools.HttpParserError as error:
            self._followed = True
            if not self.complete:
                raise self._refusal or httpx.RemoteProtocolError(f"not HTTP: {error}") from error
        if not self.head_complete and self._head_bytes > MAX_HEAD_BYTES:
            raise httpx.RemoteProtocolError("the header section is too large")
        if head_was_complete and not self.complete:
            self._overhead_bytes = 0 if self._body_bytes > body_bytes else self._overhead_bytes + len(data)
            if self._overhead_bytes > MAX_BODY_OVERHEAD_BYTES:
                raise httpx.RemoteProtocolError("endless chunk extensions or trailers")

    def end(self) -> None:
        """The peer closed in order. Raises httpx.RemoteProtocolError when the response was not over."""
        if self.head_complete and self._ends_with_connection:
            self.complete = True
        elif not self.has_begun:
            raise httpx.RemoteProtocolError("closed without an answer")
        elif not self.complete:
            raise httpx.RemoteProtocolError("closed in the middle of the answer")

    def take(self) -> bytes:
        """The body received since the last call."""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self.buffered_bytes = 0
        return data

    def discard(self) -> None:
        """To be called last: parser and callbacks refer to each other, and would wait for the cycle collector."""
        del self._parser

    # --- from httptools, whose names these are ---

    def on_message_begin(self) -> None:
        self._followed = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_complete:  # a trailer
            return
        self._header_bytes += len(name) + len(value) + len(b": \r\n")
        if self._header_bytes > MAX_HEAD_BYTES:
            self._refuse("the header section is too large")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._informational = True
            self.headers = []
            return
        if not 200 <= status < 600:
            self._refuse(f"illegal status {status}")
        self.status = status
        self._ends_with_connection = self._is_delimited_by_close()
        self.head_complete = True
        # The parser cannot be told of HEAD and would wait for a body: such a connection ends here.
        self.complete = self._bodiless

    def on_body(self, data: bytes) -> None:
        if self.complete:
            return
        self._chunks.append(data)
        self.buffered_bytes += len(data)
        self._body_bytes += len(data)

    def on_message_complete(self) -> None:
        if self._informational:
            self._informational = False
        elif not self.complete:
            self.complete = True
            self._keep_alive = self._parser.should_keep_alive()

    def _is_delimited_by_close(self) -> bool:
        codings = [value.strip().lower() for name, value in self.headers if name.lower() == b"transfer-encoding"]
        if codings and codings != [b"chunked"]:
            self._refuse("a transfer coding that was not asked for")
        if codings or self.status in (204, 304):
            return False
        return all(name.lower() != b"content-length" for name, _ in self.headers)

    def _refuse(self, message: str) -> NoReturn:
        self._refusal = httpx.RemoteProtocolError(message)
        raise self._refusal
