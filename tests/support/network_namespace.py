"""A Linux network namespace of a test's own, for what changes the network of the machine it runs on.

Only loopback is in it. A relay leads from a port of its 127.0.0.1 to one outside, where the test's servers are.
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.support.ports import LOOPBACK

_CLONE_NEWNET = 0x40000000  # Source: linux/sched.h
_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40  # Source: linux/sockios.h, linux/if.h
_CHUNK_BYTES = 65536


class NetworkNamespace:
    """Lasts as long as the `with` block; making one needs root, else PermissionError.

    A namespace is a thread's: `thread` lives in this one, and what it starts does.
    """

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="network-namespace")
        self._listeners: list[socket.socket] = []

    def __enter__(self) -> Self:
        self.thread.submit(_enter_new).result()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread that accepts
            listener.close()
        self.thread.shutdown()

    def relay(self, port: int) -> None:
        """Connections to 127.0.0.1:`port` inside go to the same port outside."""
        listener = self.thread.submit(socket.create_server, (LOOPBACK, port)).result()
        self._listeners.append(listener)
        threading.Thread(target=_accept, args=(listener, port), daemon=True).start()

    def run(self, argv: Sequence[str]) -> str:
        """The output of a command inside; raises subprocess.CalledProcessError."""
        return self.thread.submit(subprocess.check_output, argv, text=True).result()


def _enter_new() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        up = struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_RUNNING)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, up)


def _accept(listener: socket.socket, port: int) -> None:
    while True:
        try:
            inner, _ = listener.accept()
        except OSError:  # the end of the `with` block
            return
        threading.Thread(target=_join, args=(inner, port), daemon=True).start()


def _join(inner: socket.socket, port: int) -> None:
    with inner, suppress(ConnectionError), socket.create_connection((LOOPBACK, port)) as outer:
        back = threading.Thread(target=_copy, args=(outer, inner), daemon=True)
        back.start()
        _copy(inner, outer)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK_BYTES):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
