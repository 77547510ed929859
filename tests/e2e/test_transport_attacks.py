"""An upstream that is broken or hostile: every answer is an httpx error or a bounded, honest response."""

from __future__ import annotations

import asyncio
import tracemalloc

import httpx
import pytest

from proxy.upstream.response_parser import MAX_HEAD_BYTES
from proxy.upstream.transport import UpstreamTransport
from tests.support.ports import LOOPBACK
from tests.support.scripted_upstream import OK, Peer, Script, ScriptedUpstream, response, until

pytestmark = pytest.mark.anyio

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": request.param})


def answering(answer: bytes, *, then_reset: bool = False) -> Script:
    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(answer)
        if then_reset:
            peer.reset()

    return script


async def fetch(script: Script) -> bytes:
    """One GET. Whatever happens, no connection is left and the only place is given back."""
    async with ScriptedUpstream(script) as server:
        transport = UpstreamTransport(
            LOOPBACK,
            server.port,
            tls_context=None,
            monotonic=asyncio.get_running_loop().time,
            max_unary_requests=1,
        )
        request = httpx.Request("GET", f"http://{LOOPBACK}", extensions={"timeout": {"pool": 0.0}})
        try:
            for _ in range(2):
                answer = await transport.handle_async_request(request)
                body = b"".join([data async for data in answer.aiter_raw()])
            return body
        except httpx.TransportError:
            again = await _second_failure(transport, request)
            assert not isinstance(again, httpx.PoolTimeout), "the place of the failed request is lost"
            await until(lambda: not transport.open_connections)
            raise
        finally:
            await transport.aclose()


async def _second_failure(transport: UpstreamTransport, request: httpx.Request) -> Exception | None:
    try:
        await (await transport.handle_async_request(request)).aread()
    except httpx.TransportError as error:
        return error
    return None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n",
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\x00" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Le",
        OK + b"Content-Length: 100\r\n\r\nhalf",
        CHUNKED + b"64\r\nhalf",
        CHUNKED + b"4\r\nfull\r\n",
        CHUNKED + b"FFFFFFFFFFFFFFFFFFFFF\r\nx",
        CHUNKED + b"4\r\nfullX\r\n0\r\n\r\n",
        OK + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 4\r\nContent-Length: 0\r\n\r\nfull",
        OK + b"Transfer-Encoding: gzip\r\n\r\nxxxx",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nwhatever",
        OK + b"A: " + b"b" * (4 * MAX_HEAD_BYTES) + b"\r\n\r\n",
        OK + b"A: b\r\n" * MAX_HEAD_BYTES + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_HEAD_BYTES,
    ],
)
async def test_what_is_no_whole_http_response_is_a_protocol_error(answer: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await fetch(answering(answer))


@pytest.mark.parametrize(
    "answer", [b"", OK, OK + b"\r\nx", OK + b"Content-Length: 9\r\n\r\nhalf", CHUNKED + b"9\r\nhalf"]
)
async def test_a_reset_is_an_error_also_where_a_close_would_be_an_end(answer: bytes) -> None:
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await fetch(answering(answer, then_reset=True))


@pytest.mark.parametrize(
    "piece",
    [b"A: b\r\n", b"x" * 1000, b"HTTP/1.1 100 Continue\r\n\r\n"],
    ids=["headers", "one header", "informational"],
)
async def test_a_head_without_end_is_refused_before_it_takes_memory(piece: bytes) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.read_head()
        if not piece.startswith(b"HTTP"):
            await peer.send(OK + b"A: ")
        while True:
            await peer.send(piece * 100)
            sent += len(piece) * 100

    tracemalloc.start()
    try:
        with pytest.raises(httpx.RemoteProtocolError):
            await fetch(script)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024
    assert sent < 64 * 1024 * 1024, "what fits into the sockets, not more"


@pytest.mark.parametrize("start", [b"5;", b"0\r\nTrailer: "], ids=["chunk extension", "trailer"])
async def test_a_chunk_without_end_is_refused(start: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(CHUNKED + start)
        while True:
            await peer.send(b"x" * 10_000)

    with pytest.raises(httpx.RemoteProtocolError):
        await fetch(script)


async def test_a_second_answer_in_advance_is_never_the_next_requests() -> None:
    """Response splitting upstream, or an answer to a request of somebody else."""

    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(response(b"%d" % peer.number) + response(b"evil"))
        await peer.wait_closed()

    assert await fetch(script) == b"2"


async def test_an_answer_to_nothing_is_never_the_next_requests() -> None:
    async def script(peer: Peer) -> None:
        if peer.number > 1:
            await answering(response(b"honest"))(peer)
            return
        await peer.read_head()
        await peer.send(response(b"first"))
        await peer.send(response(b"evil"))
        await peer.wait_closed()

    assert await fetch(script) == b"honest"


async def test_an_endless_body_takes_no_memory_while_nobody_reads() -> None:
    sent = 0
    stuck = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.read_head()
        await peer.send(OK + b"\r\n")
        while True:
            try:
                async with asyncio.timeout(0.3):
                    await peer.send(b"x" * 65536)
            except TimeoutError:
                stuck.set()
                return
            sent += 65536

    async with ScriptedUpstream(script) as server:
        transport = UpstreamTransport(LOOPBACK, server.port, tls_context=None, monotonic=lambda: 0.0)
        answer = await transport.handle_async_request(httpx.Request("GET", f"http://{LOOPBACK}"))
        await stuck.wait()
        await answer.aclose()
        await transport.aclose()
    assert sent < 64 * 1024 * 1024, "the buffers of two sockets and ours"
