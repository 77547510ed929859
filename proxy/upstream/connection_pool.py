"""ConnectionPool: which connections are open and which of them are free. Every operation is O(1), amortised.

The one used last is taken first, so that a burst's spare connections age and go.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from proxy.upstream.connection import UpstreamConnection


class ConnectionPool:
    """`max_idle` free connections are kept for `idle_seconds`, which is below the 90 s of kube-apiserver's own."""

    def __init__(self, *, max_idle: int, idle_seconds: float, monotonic: Callable[[], float]) -> None:
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._monotonic = monotonic
        self._open: set[UpstreamConnection] = set()
        self._idle: dict[UpstreamConnection, float] = {}  # to the time it became free, oldest first

    @property
    def open_count(self) -> int:
        """Connections that exist, in use or free."""
        return len(self._open)

    @property
    def idle_count(self) -> int:
        """Connections that are free."""
        return len(self._idle)

    def add(self, connection: UpstreamConnection) -> None:
        """Takes note of a new connection, which is in use."""
        self._open.add(connection)

    def take(self, context: ssl.SSLContext | None) -> UpstreamConnection | None:
        """A free connection made with this context, None when there is none.

        One made with another context shows a certificate that has been replaced since: it is closed.
        """
        now = self._monotonic()
        while self._idle:
            connection, since = self._idle.popitem()
            if now - since <= self._idle_seconds and connection.context is context and not connection.is_closed:
                return connection
            connection.abort()
        return None

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keeps a connection for the next request, or closes it where enough are free."""
        now = self._monotonic()
        while self._idle:
            oldest = next(iter(self._idle))
            if now - self._idle[oldest] <= self._idle_seconds:
                break
            del self._idle[oldest]
            oldest.abort()
        if len(self._idle) < self._max_idle:
            self._idle[connection] = now
        else:
            connection.abort()

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        self._idle.pop(connection, None)

    def close(self) -> None:
        """Closes all connections; exchanges on them fail."""
        self._idle.clear()
        for connection in tuple(self._open):
            connection.abort()
