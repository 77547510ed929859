"""Clients that come and go: 1,000 a minute, each over a connection of its own, most of them without manners."""

from __future__ import annotations

import random
import ssl
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType
from typing import Self

from tests.support.identities import Identity
from tests.support.proxy_process import ProxyProcess
from tests.support.raw_client import RawClient, request_bytes

A_MINUTE = 1000
_THREADS = 12
_SILENT = 50  # connections at a time that were opened and say nothing
_SMALL_WINDOW = 4096
_TABLE = {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
_CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # how one begins; the rest never comes
_PODS = "/api/v1/pods"
_WATCH_LIST = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"

Visit = Callable[["Visitors", random.Random], None]


class Visitors:
    """Visit the proxy as `callers` at random until the end of the `with` block. `counts`: how often which visit."""

    def __init__(self, proxy: ProxyProcess, callers: Sequence[Identity], *, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []
        self._proxy = proxy
        pki = proxy.cluster.pki
        self._contexts = [pki.client_context(pki.client(caller.name, caller.groups)) for caller in callers]
        self._anonymous = pki.client_context(None)
        self._silent: deque[RawClient] = deque()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}/{number}"),), name=f"visitor {number}")
            for number in range(_THREADS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        while self._silent:
            self._silent.popleft().close()

    def _run(self, chance: random.Random) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due += _THREADS * 60 / A_MINUTE
            visit = chance.choice(_VISITS)
            try:
                visit(self, chance)
            except (OSError, EOFError, ssl.SSLError):
                what = f"{visit.__name__} broken off"  # the proxy's end of it, or that of the link behind it
            except Exception as error:
                what = f"{visit.__name__} wrong"
                self.findings.append(f"{visit.__name__}: {error!r}")
            else:
                what = visit.__name__
            with self._lock:
                self.counts[what] += 1

    def connect(self, chance: random.Random, *, receive_buffer_bytes: int | None = None) -> RawClient:
        """A connection of one of the callers."""
        return RawClient(self._proxy.port, chance.choice(self._contexts), receive_buffer_bytes=receive_buffer_bytes)

    # --- visits ---

    def get(self, chance: random.Random) -> None:
        with self.connect(chance) as client:
            assert client.request("/api/v1/nodes/none").status in (403, 404, 503)

    def list(self, chance: random.Random) -> None:
        with self.connect(chance) as client:
            target = chance.choice((_PODS, f"{_PODS}?limit=3", f"{_PODS}?resourceVersion=0"))
            headers = chance.choice(({}, _TABLE))
            assert client.request(target, headers=headers).status in (200, 403, 410, 429, 503)

    def list_and_reset(self, chance: random.Random) -> None:
        with self.connect(chance, receive_buffer_bytes=_SMALL_WINDOW) as client:
            client.send(request_bytes(_PODS))
            client.read_head()
            _reset(client)

    def watch_and_go(self, chance: random.Random) -> None:
        with self.connect(chance) as client:
            client.send(request_bytes(f"{_PODS}?watch=1", headers=chance.choice(({}, _TABLE))))
            client.read_head()

    def watch_cut_in_a_frame(self, chance: random.Random) -> None:
        with self.connect(chance, receive_buffer_bytes=_SMALL_WINDOW) as client:
            client.send(request_bytes(f"{_PODS}?{_WATCH_LIST}"))
            client.socket.recv(chance.randint(1, 2000))
            _reset(client)

    def watch_to_its_end(self, chance: random.Random) -> None:
        with self.connect(chance) as client:
            client.send(request_bytes(f"{_PODS}?watch=1&timeoutSeconds=1"))
            status, _ = client.read_head()
            while status == 200 and client.read_chunk():
                pass

    def watch_of_the_past(self, chance: random.Random) -> None:
        with self.connect(chance) as client:
            answer = client.request(f"{_PODS}?watch=1&resourceVersion=1")
            assert answer.status in (200, 403, 429, 503)
            assert answer.status != 200 or b'"code":410' in answer.body, answer.body

    def half_a_request(self, chance: random.Random) -> None:
        with self.connect(chance) as client:
            whole = request_bytes(_PODS)
            client.send(whole[: chance.randrange(1, len(whole))])

    def half_a_body(self, chance: random.Random) -> None:
        with self.connect(chance) as client:
            headers = {"content-length": "1000", "content-type": "application/json"}
            client.send(request_bytes("/api/v1/namespaces/default/pods", method="POST", headers=headers))
            client.send(b'{"kind":')

    def half_a_handshake(self, chance: random.Random) -> None:
        with RawClient(self._proxy.port, None) as client:
            client.send(_CLIENT_HELLO[: chance.randint(1, len(_CLIENT_HELLO))])

    def nothing(self, chance: random.Random) -> None:
        with RawClient(self._proxy.port, None):
            pass

    def silence(self, chance: random.Random) -> None:
        self._silent.append(RawClient(self._proxy.port, None))
        if len(self._silent) > _SILENT:
            self._silent.popleft().close()

    def nobody(self, chance: random.Random) -> None:
        with RawClient(self._proxy.port, self._anonymous) as client:
            assert client.request(_PODS, headers={"authorization": f"Bearer {chance.random()}"}).status == 401

    def garbage(self, chance: random.Random) -> None:
        with self.connect(chance) as client:
            client.send(b"\x00" + chance.randbytes(chance.randint(1, 2000)))  # or it could be the start of a head
            client.read_until_closed()


_VISITS: Sequence[Visit] = (
    *(3 * (Visitors.get, Visitors.list, Visitors.watch_and_go, Visitors.watch_cut_in_a_frame)),
    Visitors.list_and_reset,
    Visitors.watch_to_its_end,
    Visitors.watch_of_the_past,
    Visitors.half_a_request,
    Visitors.half_a_body,
    Visitors.half_a_handshake,
    Visitors.nothing,
    Visitors.silence,
    Visitors.nobody,
    Visitors.garbage,
)


def _reset(client: RawClient) -> None:
    """Has the end of the connection be a TCP RST."""
    with suppress(OSError):
        client.socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
