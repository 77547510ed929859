"""A client that sends exactly the bytes it is told to, over TLS, and reads HTTP/1.1 responses strictly.

No library stands between a test and the wire: nothing is normalised, nothing is added, nothing is sent on.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

ANSWER_SECONDS = 30.0  # bounds a hang; what is awaited on loopback comes within a second
_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RawResponse:
    """`headers` in order, names lower-cased; `body` without its framing."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The only value of a header, None when it is absent."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, f"`{name}` is given twice: {values}"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        """True when the server said that it closes the connection."""
        return (self.header("connection") or "").lower() == "close"


class RawClient:
    """One connection, opened with `context` (None: no TLS) and closed as a context manager."""

    def __init__(self, port: int, context: ssl.SSLContext | None, *, receive_buffer_bytes: int | None = None) -> None:
        plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer_bytes is not None:  # before connecting, when the window is agreed on
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        plain.settimeout(ANSWER_SECONDS)
        plain.connect(("127.0.0.1", port))
        self.socket = plain if context is None else context.wrap_socket(plain, server_hostname="localhost")
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes without a word."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Sends these bytes. A server that has closed already is no error: its answer is still to be read."""
        with suppress(ConnectionError, ssl.SSLError):
            self.socket.sendall(data)

    def request(
        self, target: str, *, method: str = "GET", headers: Mapping[str, str] | Sequence[tuple[str, str]] = ()
    ) -> RawResponse:
        """Sends a plain request and reads its response."""
        self.send(request_bytes(target, method=method, headers=headers))
        return self.read_response(method=method)

    def read_response(self, *, method: str = "GET", to_the_end: bool = False) -> RawResponse:
        """The next response. Raises EOFError when the connection ends before it does.

        With `to_the_end` a response may do without framing: the end of the connection is its end.
        """
        status, headers = self.read_head()
        fields = dict(headers)
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif fields.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self.read_chunk, b""))
        elif "content-length" in fields:
            body = self._take(int(fields["content-length"]))
        elif to_the_end and fields.get("connection") == "close":
            body = self.read_until_closed()
        else:
            raise AssertionError(f"a response without framing: {headers}")
        return RawResponse(status=status, headers=headers, body=body)

    def read_head(self) -> tuple[int, list[tuple[str, str]]]:
        """The status and the headers of the next response, whose body is left to be read."""
        head = self._take_until(b"\r\n\r\n")[:-4].decode("latin-1")
        line, *fields = head.split("\r\n")
        version, status, _ = line.split(" ", 2)
        assert version == "HTTP/1.1", line
        pairs = [field.split(": ", 1) for field in fields]
        return int(status), [(name.lower(), value) for name, value in pairs]

    def read_chunk(self) -> bytes:
        """The next chunk of a chunked body, empty for the last one. Raises EOFError when there is none."""
        size = int(self._take_until(b"\r\n")[:-2], 16)
        data = self._take(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    def read_until_closed(self) -> bytes:
        """Everything until the server ends the connection, cleanly or not. Raises TimeoutError if it does not."""
        while self._read():
            pass
        received, self._received = self._received, b""
        return received

    def _read(self) -> bool:
        try:
            data = self.socket.recv(_READ_BYTES)
        except (ConnectionError, ssl.SSLError):
            return False
        self._received += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            if not self._read():
                raise EOFError(f"the connection ended after {self._received[:200]!r}")
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def _take_until(self, mark: bytes) -> bytes:
        while mark not in self._received:
            if not self._read():
                raise EOFError(f"the connection ended after {self._received[:200]!r}")
        return self._take(self._received.index(mark) + len(mark))


def request_bytes(
    target: str, *, method: str = "GET", headers: Mapping[str, str] | Sequence[tuple[str, str]] = ()
) -> bytes:
    """A request without a body. `headers` are sent as they are, after a Host."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    fields = "".join(f"{name}: {value}\r\n" for name, value in (("Host", "localhost"), *pairs))
    return f"{method} {target} HTTP/1.1\r\n{fields}\r\n".encode("latin-1")
