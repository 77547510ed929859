"""Clients that take their time: how long each step of a request may last.

The connection's own times are made short here, so that nothing waits for real. A stock server waits for ever.
"""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from proxy.server.protocol import Connection
from tests.support.connection_server import ConnectionServer
from tests.support.polling import poll
from tests.support.raw_client import RawClient, request_bytes

SHORT_SECONDS = 0.2
LONG_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 1
OK = (200, b"ok")


class HastyHeads(Connection):
    """Waits for heads only shortly."""

    head_timeout_seconds = SHORT_SECONDS
    body_timeout_seconds = LONG_SECONDS


class HastyBodies(Connection):
    """Waits for bodies only shortly."""

    head_timeout_seconds = LONG_SECONDS
    body_timeout_seconds = SHORT_SECONDS


@pytest.fixture(scope="module")
def hasty_heads() -> Iterator[int]:
    with ConnectionServer(HastyHeads) as server:
        yield server.port


@pytest.fixture(scope="module")
def hasty_bodies() -> Iterator[int]:
    with ConnectionServer(HastyBodies) as server:
        yield server.port


@pytest.fixture(scope="module")
def short_keep_alive() -> Iterator[int]:
    with ConnectionServer(Connection, keep_alive_seconds=KEEP_ALIVE_SECONDS) as server:
        yield server.port


def drip_until_closed(client: RawClient, drop: bytes) -> None:
    """Sends a drop every few milliseconds, for as long as the server takes it; times out when it always does."""

    def is_closed() -> bool:
        try:
            client.socket.sendall(drop)
            client.socket.setblocking(False)
            with suppress(BlockingIOError):
                if not client.socket.recv(4096):
                    return True
            client.socket.setblocking(True)
        except OSError:
            return True
        return False

    poll(is_closed, timeout_seconds=10.0, failure=lambda: "the server still reads")


def test_who_connects_and_says_nothing_is_shown_out(hasty_heads: int) -> None:
    with RawClient(hasty_heads, None) as client:
        assert client.read_until_closed() == b""


@pytest.mark.parametrize(
    "start",
    [
        b"G",
        b"GET /version",
        b"GET /version HTTP/1.1\r\n",
        b"GET /version HTTP/1.1\r\nHost: x\r\n",
        b"\r\n",
        b"\r\n\r\nG",
    ],
)
def test_a_head_that_does_not_come_whole_in_time_ends_the_connection(hasty_heads: int, start: bytes) -> None:
    with RawClient(hasty_heads, None) as client:
        client.send(start)
        assert client.read_until_closed() == b""


@pytest.mark.parametrize(
    ("start", "drop"),
    [(b"GET /", b"a"), (b"GET / HTTP/1.1\r\n", b"X: y\r\n"), (b"GET / HTTP/1.1\r\nX: ", b"y"), (b"", b"\r\n")],
)
def test_a_head_that_comes_byte_by_byte_gets_no_more_time(hasty_heads: int, start: bytes, drop: bytes) -> None:
    """Slow loris: the time is for the whole head, not from byte to byte."""
    with RawClient(hasty_heads, None) as client:
        client.send(start)
        drip_until_closed(client, drop)


def test_the_time_for_a_head_begins_anew_with_each_request(hasty_heads: int) -> None:
    with RawClient(hasty_heads, None) as client:
        for _ in range(3):
            response = client.request("/")
            assert (response.status, response.body) == OK
        client.send(b"GET / HT")
        assert client.read_until_closed() == b""


def test_a_body_that_does_not_come_whole_in_time_ends_the_connection(hasty_bodies: int) -> None:
    """Also where the answer has been given: `ok` comes, then the end."""
    with RawClient(hasty_bodies, None) as client:
        client.send(request_bytes("/", method="POST", headers={"Content-Length": "1000"}))
        response = client.read_response()
        assert (response.status, response.body, response.closes) == (*OK, True)
        assert client.read_until_closed() == b""


def test_line_breaks_keep_no_idle_connection_open(short_keep_alive: int) -> None:
    """They are no request, and the time between two requests goes on."""
    with RawClient(short_keep_alive, None) as client:
        client.request("/")
        drip_until_closed(client, b"\r\n")


def test_an_idle_connection_ends(short_keep_alive: int) -> None:
    with RawClient(short_keep_alive, None) as client:
        client.request("/")
        assert client.read_until_closed() == b""


def test_a_client_that_closes_its_side_is_gone(hasty_heads: int) -> None:
    with RawClient(hasty_heads, None) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_until_closed() == b""
