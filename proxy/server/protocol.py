"""The one file that knows uvicorn's protocol: a connection with its peer certificate, its bounds and a direct writer.

What stock uvicorn lacks and a security proxy needs: the peer's certificate, a bound on the head and the time it may
take, small write buffers, Kubernetes' own form for protocol errors, the raw target, and a way to write one prepared
chunk to a connection without waking a task.

Source: uvicorn/protocols/http/httptools_impl.py (0.54)
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from proxy.api.status import HeadersTooLarge, MalformedRequest, StatusError, TargetTooLong

MAX_TARGET_BYTES = 8 * 1024
MAX_HEAD_BYTES = 32 * 1024
"""Headers over this are refused with 431: kube-apiserver takes 1 MiB, no client sends a tenth of this."""

HEAD_TIMEOUT_SECONDS = 30.0
"""From connection (or first byte) to a complete head; kube-apiserver gives 32 s."""

WRITE_BUFFER_BYTES = 32 * 1024
"""High-water mark of what one client has not read. Stock TLS transports take 512 KiB: 5,000 stuck readers, 6 GiB."""


class Connection(HttpToolsProtocol):
    """One client connection. `scope["state"]` of its requests holds `connection` (this) and `target` (raw bytes).

    While a streamed response is under way, `write` appends to its body what is already framed as HTTP chunks.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.peer_certificate: bytes | None = None
        """The verified leaf certificate of the client in DER, None without one."""
        self._head_bytes = 0
        self._head_complete = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._on_lost: Callable[[], None] | None = None
        self._refused = False

    # --- for handlers ---

    def write(self, chunk: bytes) -> None:
        """Writes framed bytes at once. On a lost connection it does nothing."""
        if not self.transport.is_closing():
            self.transport.write(chunk)

    @property
    def writable(self) -> bool:
        """False while the client has not read what it was sent, or is gone."""
        return not self.flow.write_paused and not self.transport.is_closing()

    async def wait_writable(self) -> None:
        """Returns when the client has caught up, or is gone."""
        await self.flow.drain()

    def on_lost(self, callback: Callable[[], None] | None) -> None:
        """Sets what is called once when the client goes away; at once when it has gone already."""
        self._on_lost = callback
        if callback is not None and (self.parser is None or self.transport.is_closing()):
            callback()

    def abort(self) -> None:
        """Drops the connection without waiting for what is still to be written."""
        self.transport.abort()

    # --- uvicorn's hooks ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        ssl_object: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self.peer_certificate = ssl_object.getpeercert(binary_form=True) if ssl_object else None
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_head_timer()
        super().connection_lost(exc)
        if self._on_lost is not None:
            self._on_lost()
            self._on_lost = None

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if not self._head_complete:
            self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing() or self._head_complete:
            return
        if len(getattr(self, "url", b"")) > MAX_TARGET_BYTES:
            self._refuse(TargetTooLong(f"the request target is longer than {MAX_TARGET_BYTES} bytes"))
        elif self._head_bytes > MAX_HEAD_BYTES + MAX_TARGET_BYTES:
            self._refuse(HeadersTooLarge(f"the request headers are larger than {MAX_HEAD_BYTES} bytes"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_complete = False
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._head_complete = True
        self._head_bytes = 0
        self._cancel_head_timer()
        state = self.scope["state"]
        state["connection"] = self
        state["target"] = self.url
        # llhttp keeps the framing of a response that this refuses on safe ground: the parser saw the whole head.
        state["head_too_large"] = sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self._on_lost = None
        super().on_response_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: the chain answers upgrades with a Status of its own."""

    def send_400_response(self, msg: str) -> None:
        self._refuse(MalformedRequest("the request is not valid HTTP/1.1"))

    def _refuse(self, error: StatusError) -> None:
        self._refused = True
        body = error.body()
        head = (
            STATUS_LINE[error.code],
            b"content-type: application/json\r\ncache-control: no-cache, private\r\nconnection: close\r\n",
            b"content-length: %d\r\n\r\n" % len(body),
        )
        # Between two responses only: a pipelined head in doubt must not write into a response under way.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(b"".join((*head, body)))
        self.transport.close()

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_SECONDS, self.transport.close)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
