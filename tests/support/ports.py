"""Loopback ports that stay ours.

A port that is found free and let go may be somebody else's a moment later. Here it is kept bound, without listening, by
a socket with SO_REUSEPORT: a server that binds with SO_REUSEPORT too gets every connection, and while none listens a
client is refused.
"""

import socket

LOOPBACK = "127.0.0.1"


class ReservedPort:
    """One TCP port on loopback, kept until `release`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind((LOOPBACK, 0))
        self.number: int = self._socket.getsockname()[1]

    def release(self) -> None:
        """Give the port back; a server that listens on it goes on listening."""
        self._socket.close()
