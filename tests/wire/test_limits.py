"""What one client can make the proxy hold: bytes of a request, requests, connections, answers that it does not read.

Memory is read from the process itself. The bounds are generous, so that they hold on any machine, and far below what
the same attack takes without the limit under test.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxy.server.protocol import MAX_HEAD_BYTES, MAX_PIPELINED, MAX_TARGET_BYTES
from tests.support.manifests import config_map
from tests.support.polling import poll
from tests.support.raw_client import RawClient, request_bytes
from tests.wire.conftest import ALICE, Wire

MIB = 1024 * 1024
PIECE = 64 * 1024
SETTLE_SECONDS = 20.0
SMALL_WINDOW = 4096

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux: /proc tells memory")


def memory_mib(pid: int) -> int:
    """Resident memory of a process."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) // 1024


def open_files(pid: int) -> int:
    """File descriptors of a process, its connections among them."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def send_much(client: RawClient, piece: bytes) -> None:
    """Sends 97 MiB of `piece`, unless the server closes before."""
    for _ in range(97 * MIB // len(piece)):
        client.send(piece)


@pytest.fixture
def large_state(wire: Wire) -> Iterator[int]:
    """6 MiB of configmaps in alice's namespace; how many bytes one list of them has."""
    objects = [config_map(f"large-{number}", "team-a", data={"x": "y" * 20_000}) for number in range(300)]
    for each in objects:
        wire.cluster.server.create(each)
    with wire.connect(ALICE) as client:
        yield len(client.request("/api/v1/configmaps").body)
    for each in objects:
        wire.cluster.server.delete(each)


@pytest.mark.parametrize(
    ("start", "piece", "status"),
    [
        (b"GET /", b"a" * PIECE, 414),
        (b"GET /api/v1/pods?labelSelector=", b"a," * (PIECE // 2), 414),
        (b"GET /version HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n" * (PIECE // 6), 431),
        (b"GET /version HTTP/1.1\r\nHost: x\r\nX: ", b"y" * PIECE, 431),
        (b"GET /version HTTP/1.1\r\nHost: x\r\n", b"x" * PIECE, 431),
        (b"GET /version HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ", b"y" * PIECE, 431),
    ],
)
def test_an_endless_head_is_cut_off(wire: Wire, start: bytes, piece: bytes, status: int) -> None:
    """97 MiB of headers are taken by a stock server, and kept."""
    before = memory_mib(wire.proxy.pid)
    with wire.connect(None) as client:
        client.send(start)
        send_much(client, piece)
        response = client.read_response()
        assert (response.status, response.closes, response.json["code"]) == (status, True, status)
    assert memory_mib(wire.proxy.pid) - before < 32


@pytest.mark.parametrize(
    ("target_bytes", "header_bytes", "status"),
    [
        (MAX_TARGET_BYTES, 0, 401),
        (MAX_TARGET_BYTES + 1, 0, 414),
        (0, MAX_HEAD_BYTES - 100, 401),
        (0, MAX_HEAD_BYTES, 431),
        (MAX_TARGET_BYTES, MAX_HEAD_BYTES - 100, 401),
    ],
)
def test_a_head_may_be_as_large_as_its_bounds(wire: Wire, target_bytes: int, header_bytes: int, status: int) -> None:
    target = "/version?x=".ljust(target_bytes, "a") if target_bytes else "/version"
    with wire.connect(None) as client:
        response = client.request(target, headers={"X": "y" * header_bytes})
        assert response.status == status
        assert response.closes is (status != 401)


@pytest.mark.parametrize(
    "piece",
    [b"1\r\na\r\n" * 10_000, b"1;" + b"x" * PIECE, b"0\r\n" + b"X: y\r\n" * 10_000, b"0\r\nX: " + b"y" * PIECE],
    ids=["chunks", "a chunk extension", "trailers", "one trailer"],
)
def test_an_endless_request_behind_a_whole_head_is_cut_off(wire: Wire, piece: bytes) -> None:
    """The answer comes first, and nobody reads on."""
    before = memory_mib(wire.proxy.pid)
    with wire.connect(None) as client:
        client.send(b"POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        send_much(client, piece)
        assert client.read_response().status in (400, 401)
    assert memory_mib(wire.proxy.pid) - before < 48


def test_only_some_requests_may_wait_behind_one(wire: Wire) -> None:
    """256 KiB of small requests, read at once, are 14,000: each would be held until its turn."""
    with wire.connect() as client:
        client.send(request_bytes("/api/v1/pods") * (MAX_PIPELINED + 1))
        assert [client.read_response().status for _ in range(MAX_PIPELINED + 1)] == [200] * (MAX_PIPELINED + 1)
    with wire.connect() as client:
        client.send(request_bytes("/api/v1/pods") * 5_000)
        assert client.read_until_closed().count(b"\r\naudit-id") <= MAX_PIPELINED + 1


def test_idle_connections_cost_little_and_hold_up_nobody(wire: Wire) -> None:
    before = memory_mib(wire.proxy.pid)
    with ExitStack() as stack:
        idle = [stack.enter_context(wire.connect(ALICE)) for _ in range(300)]
        assert memory_mib(wire.proxy.pid) - before < 300 * 0.5
        with wire.connect() as client:
            assert client.request("/version").status == 200
        assert idle[150].request("/api/v1/pods").status == 200


def test_watchers_that_never_read_cost_their_buffers_and_not_the_state(wire: Wire, large_state: int) -> None:
    """Each was 17 MiB before writes were bounded in bytes, and what waits for many readers was held once."""
    before = memory_mib(wire.proxy.pid)
    with ExitStack() as stack:
        for _ in range(60):
            stuck = stack.enter_context(wire.connect(ALICE, receive_buffer_bytes=SMALL_WINDOW))
            stuck.send(request_bytes("/api/v1/configmaps?watch=1"))
            stuck.read_head()
        with wire.connect() as client:
            assert client.request("/api/v1/namespaces/team-b/configmaps").status == 200
        assert memory_mib(wire.proxy.pid) - before < 60 * large_state / MIB / 3


def test_lists_that_nobody_reads_cost_one_part_each(wire: Wire, large_state: int) -> None:
    before = memory_mib(wire.proxy.pid)
    with ExitStack() as stack:
        for _ in range(40):
            stuck = stack.enter_context(wire.connect(ALICE, receive_buffer_bytes=SMALL_WINDOW))
            stuck.send(request_bytes("/api/v1/configmaps"))
            stuck.read_head()
        assert memory_mib(wire.proxy.pid) - before < 40 * large_state / MIB * 1.5


def test_a_storm_of_connections_leaves_nothing_behind(wire: Wire) -> None:
    """1,000 clients come, half of them open a stream, and go without a word."""
    files, before = open_files(wire.proxy.pid), memory_mib(wire.proxy.pid)
    for number in range(1_000):
        with wire.connect(ALICE) as client:
            if number % 2:
                client.send(request_bytes("/api/v1/pods?watch=1"))
                client.read_head()
    poll(
        lambda: open_files(wire.proxy.pid) <= files + 2,
        timeout_seconds=SETTLE_SECONDS,
        failure=lambda: f"{open_files(wire.proxy.pid)} open files, {files} before",
    )
    assert memory_mib(wire.proxy.pid) - before < 100


def test_a_slow_reader_does_not_delay_another(wire: Wire, large_state: int) -> None:
    with ExitStack() as stack:
        for _ in range(10):
            stuck = stack.enter_context(wire.connect(ALICE, receive_buffer_bytes=SMALL_WINDOW))
            stuck.send(request_bytes("/api/v1/configmaps?watch=1"))
            stuck.read_head()
        quick = stack.enter_context(wire.connect())
        quick.send(request_bytes("/api/v1/namespaces/team-b/configmaps?watch=1"))
        quick.read_head()
        assert b"settings" in quick.read_chunk()
        for number in range(5):
            created = config_map(f"live-{number}", "team-b", data={})
            wire.cluster.server.create(created)
            assert f'"live-{number}"'.encode() in quick.read_chunk()
            wire.cluster.server.delete(created)
            assert b'"DELETED"' in quick.read_chunk()


@pytest.mark.parametrize("query", ["", "?watch=1"], ids=["list", "watch"])
def test_clients_that_have_gone_keep_nothing_until_the_collector_comes_by(wire: Wire, query: str) -> None:
    """In a cycle of garbage each kept its TLS state, 54 KiB: 16 MiB here, and hundreds with many long watches."""

    def visit(times: int) -> None:
        for _ in range(times):
            with wire.connect(ALICE) as client:
                client.send(request_bytes(f"/api/v1/pods{query}"))
                client.read_head()

    visit(100)
    before = memory_mib(wire.proxy.pid)
    visit(300)
    assert memory_mib(wire.proxy.pid) - before < 8
