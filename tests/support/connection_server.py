"""The proxy's own Connection around a small application, on loopback without TLS, in a thread of its own.

For what belongs to the connection alone: its bounds can be made short, and nothing else runs.
"""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Any, Self

import uvicorn

from proxy.server.protocol import Connection
from tests.support.polling import poll

_START_SECONDS = 10.0


async def answer_ok(scope: Any, receive: Any, send: Any) -> None:
    """Answers every request with `ok`, and reads the body of none."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class ConnectionServer:
    """A server of `connection_class`; a context manager."""

    def __init__(self, connection_class: type[Connection], *, keep_alive_seconds: int = 60) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                answer_ok,
                http=connection_class,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                timeout_keep_alive=keep_alive_seconds,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        poll(lambda: self._server.started, timeout_seconds=_START_SECONDS, failure=lambda: "the server did not start")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
