"""A connection over a transport of our own: back-pressure in both directions, and the order of events."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import pytest

from proxy.upstream.connection import READ_HIGH_WATER_BYTES, UpstreamConnection
from tests.support.scripted_upstream import until

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class FakeSocket:
    def __init__(self) -> None:
        self.options: list[tuple[int, int, int]] = []

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self.options.append((level, name, value))


class FakeTransport(asyncio.Transport):
    """Records what is asked of it."""

    def __init__(self) -> None:
        self.socket = FakeSocket()
        super().__init__({"socket": self.socket})
        self.written = b""
        self.reading = True
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written += data

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


def arrive(connection: UpstreamConnection, data: bytes) -> None:
    """The event loop has read this."""
    while data:
        buffer = connection.get_buffer(-1)
        piece, data = data[: len(buffer)], data[len(buffer) :]
        buffer[: len(piece)] = piece
        connection.buffer_updated(len(piece))


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
async def connection(transport: FakeTransport) -> UpstreamConnection:
    made = UpstreamConnection(asyncio.get_running_loop(), context=None, on_lost=lambda _: None)
    made.connection_made(transport)
    return made


async def test_a_slow_reader_holds_back_the_peer(connection: UpstreamConnection, transport: FakeTransport) -> None:
    connection.start(b"request", method="GET", body_follows=False)
    arrive(connection, HEAD % (4 * READ_HIGH_WATER_BYTES))
    arrive(connection, b"a" * READ_HIGH_WATER_BYTES)
    assert transport.reading
    arrive(connection, b"b")
    assert not transport.reading
    assert len(await connection.read(None)) == READ_HIGH_WATER_BYTES + 1
    assert transport.reading


async def test_a_body_read_whole_is_not_held_back(connection: UpstreamConnection, transport: FakeTransport) -> None:
    """Its bound is the reader's own: it is taken as fast as it comes, and the reader is woken once."""
    size = 3 * READ_HIGH_WATER_BYTES
    connection.start(b"request", method="GET", body_follows=False)
    arrive(connection, HEAD % size)
    arrive(connection, b"a" * 2 * READ_HIGH_WATER_BYTES)
    assert not transport.reading
    async with asyncio.TaskGroup() as tasks:
        body = tasks.create_task(connection.read_all(size, None))
        await asyncio.sleep(0)
        assert transport.reading
        arrive(connection, b"a" * (READ_HIGH_WATER_BYTES - 1))
        await asyncio.sleep(0)
        assert not body.done()
        arrive(connection, b"a")
    assert body.result() == b"a" * size
    assert transport.reading
    assert connection.finish()


async def test_a_body_beyond_its_readers_bound_is_not_waited_for(
    connection: UpstreamConnection, transport: FakeTransport
) -> None:
    connection.start(b"request", method="GET", body_follows=False)
    arrive(connection, HEAD % 1000 + b"a" * 10)
    async with asyncio.TaskGroup() as tasks:
        body = tasks.create_task(connection.read_all(10, None))
        await asyncio.sleep(0)
        assert not body.done()
        arrive(connection, b"a")
        assert not transport.reading
    assert body.result() is None
    assert not connection.finish()


async def test_a_body_that_breaks_off_is_no_body(connection: UpstreamConnection) -> None:
    connection.start(b"request", method="GET", body_follows=False)
    arrive(connection, HEAD % 10 + b"half")
    connection.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
    with pytest.raises(httpx.ReadError, match="Connection reset by peer"):
        await connection.read_all(100, None)


async def test_a_body_that_stops_coming_is_a_read_timeout(connection: UpstreamConnection) -> None:
    connection.start(b"request", method="GET", body_follows=False)
    arrive(connection, HEAD % 10 + b"half")
    with pytest.raises(httpx.ReadTimeout):
        await connection.read_all(100, 0.01)


async def test_the_next_exchange_holds_back_again(connection: UpstreamConnection, transport: FakeTransport) -> None:
    connection.start(b"request", method="GET", body_follows=False)
    arrive(connection, HEAD % 4 + b"full")
    assert await connection.read_all(4 * READ_HIGH_WATER_BYTES, None) == b"full"
    assert connection.finish()
    connection.start(b"request", method="GET", body_follows=False)
    arrive(connection, HEAD % (2 * READ_HIGH_WATER_BYTES))
    arrive(connection, b"a" * (READ_HIGH_WATER_BYTES + 1))
    assert not transport.reading


async def test_a_slow_peer_holds_back_the_request_body(
    connection: UpstreamConnection, transport: FakeTransport
) -> None:
    pulled = []

    async def body() -> Any:
        for piece in (b"one", b"two", b"three"):
            pulled.append(piece)
            yield piece

    connection.start(b"", method="POST", body_follows=True)
    connection.pause_writing()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(connection.send_body(body(), content_length=None, timeout_seconds=None))
        await until(lambda: pulled != [])
        await asyncio.sleep(0)
        assert pulled == [b"one"]
        connection.resume_writing()
    assert transport.written == b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"


async def test_a_peer_that_takes_nothing_is_a_write_timeout(connection: UpstreamConnection) -> None:
    async def body() -> Any:
        yield b"x"

    connection.start(b"", method="POST", body_follows=True)
    connection.pause_writing()
    with pytest.raises(httpx.WriteTimeout):
        await connection.send_body(body(), content_length=1, timeout_seconds=0.01)


async def test_data_before_a_failure_is_delivered_before_it(connection: UpstreamConnection) -> None:
    connection.start(b"", method="GET", body_follows=False)
    arrive(connection, HEAD % 9 + b"half")
    connection.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
    assert (await connection.response_head(None))[0] == 200
    assert await connection.read(None) == b"half"
    with pytest.raises(httpx.ReadError, match="Connection reset by peer"):
        await connection.read(None)


async def test_a_whole_response_counts_though_the_connection_is_reset_behind_it(connection: UpstreamConnection) -> None:
    connection.start(b"", method="GET", body_follows=False)
    arrive(connection, HEAD % 4 + b"full")
    connection.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
    assert (await connection.response_head(None))[0] == 200
    assert await connection.read(None) == b"full"
    assert await connection.read(None) == b""
    assert not connection.finish()


async def test_a_response_not_read_to_its_end_is_not_followed_by_another(
    connection: UpstreamConnection, transport: FakeTransport
) -> None:
    connection.start(b"", method="GET", body_follows=False)
    arrive(connection, HEAD % 4 + b"full")
    assert not connection.finish()
    assert transport.closed


async def test_bytes_that_nobody_asked_for_close_the_connection(
    connection: UpstreamConnection, transport: FakeTransport
) -> None:
    connection.start(b"", method="GET", body_follows=False)
    arrive(connection, HEAD % 0)
    await connection.response_head(None)
    assert connection.finish()
    arrive(connection, HEAD % 4 + b"evil")
    assert transport.closed
    assert connection.is_closed


async def test_a_peer_that_vanishes_is_noticed_by_keep_alive_probes(
    connection: UpstreamConnection, transport: FakeTransport
) -> None:
    assert not connection.is_closed
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in transport.socket.options
