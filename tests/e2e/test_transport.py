"""The upstream transport over real sockets and TLS, on both event loops."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.upstream.transport import LONG_RUNNING, UpstreamTransport
from tests.support.pki import Pki
from tests.support.ports import LOOPBACK, ReservedPort
from tests.support.scripted_upstream import OK, Peer, Script, ScriptedUpstream, response, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": request.param})


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def server_context(pki: Pki, hosts: tuple[str, ...] = (LOOPBACK,)) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = pki.server(hosts)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    return context


class Upstream:
    """A scripted upstream and the transport to it."""

    def __init__(self, server: ScriptedUpstream, transport: UpstreamTransport) -> None:
        self.server = server
        self.transport = transport

    def request(
        self,
        method: str = "GET",
        target: bytes = b"/",
        *,
        content: Any = None,
        long_running: bool = False,
        **timeouts: float,
    ) -> httpx.Request:
        extensions = {"target": target, "timeout": timeouts, LONG_RUNNING: long_running}
        return httpx.Request(method, f"http://{LOOPBACK}", content=content, extensions=extensions)

    async def send(self, *arguments: Any, **options: Any) -> httpx.Response:
        return await self.transport.handle_async_request(self.request(*arguments, **options))

    async def body(self, *arguments: Any, **options: Any) -> bytes:
        answer = await self.send(*arguments, **options)
        return b"".join([data async for data in answer.aiter_raw()])

    async def wait_for_no_connection(self) -> None:
        await until(lambda: not self.transport.open_connections)


@asynccontextmanager
async def upstream(
    script: Script,
    *,
    server_tls: ssl.SSLContext | None = None,
    tls: Callable[[], ssl.SSLContext] | None = None,
    **options: Any,
) -> AsyncIterator[Upstream]:
    async with ScriptedUpstream(script, context=server_tls) as server:
        options.setdefault("monotonic", asyncio.get_running_loop().time)
        transport = UpstreamTransport(LOOPBACK, server.port, tls_context=tls, **options)
        try:
            yield Upstream(server, transport)
        finally:
            await transport.aclose()
            await Upstream(server, transport).wait_for_no_connection()


async def echo_target(peer: Peer) -> None:
    """Answers every request with its target."""
    while True:
        head = await peer.read_head()
        await peer.send(response(head.split(b" ")[1]))


async def silent(peer: Peer) -> None:
    """Reads and never says a word."""
    await peer.wait_closed()


def once(answer: bytes) -> Script:
    """Answers the first request of each connection and closes."""

    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(answer)

    return script


# --- what works ---


async def test_one_tls_connection_carries_many_requests_with_the_client_certificate(pki: Pki) -> None:
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(peer.writer.get_extra_info("ssl_object").getpeercert()["subject"])
        await echo_target(peer)

    server_tls = server_context(pki)
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.load_verify_locations(pki.ca_file)
    client_tls = pki.client_context(pki.client("proxy"))
    async with upstream(script, server_tls=server_tls, tls=lambda: client_tls) as api:
        for number in range(20):
            assert await api.body(target=b"/%d" % number) == b"/%d" % number
        assert api.server.connections == 1
        assert seen == [((("commonName", "proxy"),),)]
        assert (api.transport.open_connections, api.transport.idle_connections) == (1, 1)


async def test_each_of_many_concurrent_requests_gets_its_own_answer() -> None:
    async with upstream(echo_target) as api, asyncio.TaskGroup() as tasks:
        bodies = [tasks.create_task(api.body(target=b"/%d" % number)) for number in range(200)]
    assert [body.result() for body in bodies] == [b"/%d" % number for number in range(200)]


async def test_a_target_goes_out_byte_for_byte() -> None:
    target = b"/api/v1/namespaces/a/pods/../../b/secrets%2e%2E//x?q=%2F&;="
    async with upstream(echo_target) as api:
        assert await api.body(target=target) == target


async def test_no_content_coding_is_asked_for() -> None:
    heads = []

    async def script(peer: Peer) -> None:
        heads.append(await peer.read_head())
        await peer.send(response(b""))

    async with upstream(script) as api:
        await api.body()
    assert b"\r\nAccept-Encoding: identity\r\n" in heads[0]
    assert heads[0].count(b"ccept-") == 1


@pytest.mark.parametrize(
    "answer",
    [
        response(b"hello"),
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        OK + b"\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + response(b"hello"),
    ],
)
@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
async def test_a_body_is_read_however_it_is_delimited(pki: Pki, answer: bytes, with_tls: bool) -> None:
    client_tls = pki.client_context(None)
    options: dict[str, Any] = {"server_tls": server_context(pki), "tls": lambda: client_tls} if with_tls else {}
    async with upstream(once(answer), **options) as api:
        assert await api.body() == b"hello"


async def test_a_large_body_arrives_whole_at_a_slow_reader(pki: Pki) -> None:
    size = 8 * 1024 * 1024
    client_tls = pki.client_context(None)
    async with upstream(once(response(b"x" * size)), server_tls=server_context(pki), tls=lambda: client_tls) as api:
        answer = await api.send()
        received = 0
        async for data in answer.aiter_raw():
            received += len(data)
            await asyncio.sleep(0)
    assert received == size


async def test_a_watch_gets_each_event_as_it_is_sent() -> None:
    acknowledged = asyncio.Semaphore(0)

    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        for number in range(3):
            await acknowledged.acquire()
            await peer.send(b"2\r\n%d\n\r\n" % number)
        await peer.send(b"0\r\n\r\n")

    async with upstream(script) as api:
        answer = await api.send(long_running=True)
        acknowledged.release()
        received = []
        async for data in answer.aiter_raw():
            received.append(data)
            acknowledged.release()
    assert received == [b"0\n", b"1\n", b"2\n"]


async def test_head_has_no_body_and_does_not_confuse_the_next_request() -> None:
    async def script(peer: Peer) -> None:
        while True:
            head = await peer.read_head()
            await peer.send(OK + b"Content-Length: 5\r\n\r\n" + (b"" if head.startswith(b"HEAD") else b"hello"))

    async with upstream(script) as api:
        assert await api.body("HEAD") == b""
        assert await api.body() == b"hello"


# --- request bodies ---


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_streamed_body_is_sent_in_chunks_and_a_whole_one_with_its_length() -> None:
    received = []

    async def script(peer: Peer) -> None:
        received.append((await peer.read_head()).lower())
        received.append(await peer.reader.readuntil(b"END"))
        await peer.send(response(b"", b"Connection: close"))
        await peer.wait_closed()

    async with upstream(script) as api:
        await api.body("POST", content=pieces(b"one", b"", b"END"))
        await api.body("POST", content=b"whole END")
    assert b"transfer-encoding: chunked" in received[0]
    assert received[1] == b"3\r\none\r\n3\r\nEND"
    assert b"content-length: 9" in received[2]
    assert received[3] == b"whole END"


async def test_an_answer_before_the_end_of_the_body_stops_the_upload() -> None:
    pulled = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pulled
        while True:
            pulled += 1
            yield b"x" * 65536
            await asyncio.sleep(0)

    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await peer.wait_closed()

    async with upstream(script) as api:
        answer = await api.send("POST", content=endless())
        assert answer.status_code == 413
        assert await answer.aread() == b"big"
        assert api.transport.idle_connections == 0, "the server still expects the rest of the body"
    assert pulled > 0


@pytest.mark.parametrize("parts", [[b"too long"], [b"sh"]])
async def test_a_body_that_is_not_as_long_as_said_is_not_finished(parts: list[bytes]) -> None:
    async with upstream(silent) as api:
        request = httpx.Request("POST", f"http://{LOOPBACK}", headers={"Content-Length": "3"}, content=pieces(*parts))
        with pytest.raises(httpx.LocalProtocolError):
            await api.transport.handle_async_request(request)
        await api.wait_for_no_connection()


# --- bounds and waiting ---


async def test_unary_requests_wait_in_line_and_long_running_ones_are_not_counted() -> None:
    release = asyncio.Event()
    in_flight: set[bytes] = set()
    most = 0

    async def script(peer: Peer) -> None:
        nonlocal most
        while True:
            target = (await peer.read_head()).split(b" ")[1]
            in_flight.add(target)
            most = max(most, sum(each != b"/watch" for each in in_flight))
            await release.wait()
            in_flight.discard(target)
            await peer.send(response(target))

    async with upstream(script, max_unary_requests=2) as api, asyncio.TaskGroup() as tasks:
        unary = [tasks.create_task(api.body(target=b"/%d" % number)) for number in range(6)]
        watches = [tasks.create_task(api.body(target=b"/watch", long_running=True)) for _ in range(3)]
        await until(lambda: api.server.connections == 5 and in_flight == {b"/0", b"/1", b"/watch"})
        assert not any(task.done() for task in unary)
        release.set()
    assert [task.result() for task in unary] == [b"/%d" % number for number in range(6)], "first come, first served"
    assert [task.result() for task in watches] == [b"/watch"] * 3
    assert most == 2


async def test_the_line_has_a_time_and_a_length() -> None:
    async with upstream(silent, max_unary_requests=1, max_waiting_requests=1) as api, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(api.body())
        await until(lambda: api.server.connections == 1)
        with pytest.raises(httpx.PoolTimeout):
            await api.body(pool=0.01)
        second = tasks.create_task(api.body())
        await asyncio.sleep(0)
        with pytest.raises(httpx.PoolTimeout, match="too many"):
            await api.body()
        second.cancel()
        first.cancel()


async def test_a_response_that_is_closed_unread_gives_its_place_back_and_ends_the_connection() -> None:
    async with upstream(once(response(b"x" * 100_000)), max_unary_requests=1) as api:
        for _ in range(3):
            answer = await api.send(pool=5.0)
            await answer.aclose()
            await answer.aclose()
        assert api.server.connections == 3


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_head_that_does_not_come_is_a_read_timeout(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(answer)
        await peer.wait_closed()

    async with upstream(script) as api:
        with pytest.raises(httpx.ReadTimeout):
            await api.send(headers=0.05)
        with pytest.raises(httpx.ReadTimeout):
            await api.send(read=0.05)
        await api.wait_for_no_connection()


async def test_a_head_that_drips_in_for_ever_is_a_read_timeout() -> None:
    """The timeout is for the whole head: each byte is in time."""

    async def script(peer: Peer) -> None:
        await peer.send(OK)
        while True:
            await peer.send(b"A: b\r\n")
            await asyncio.sleep(0.001)

    async with upstream(script) as api:
        with pytest.raises(httpx.ReadTimeout):
            await api.send(headers=0.1)


async def test_a_body_that_stops_coming_is_a_read_timeout() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(OK + b"Content-Length: 9\r\n\r\nhalf")
        await peer.wait_closed()

    async with upstream(script) as api:
        answer = await api.send(read=0.05)
        with pytest.raises(httpx.ReadTimeout):
            await answer.aread()
        await api.wait_for_no_connection()


async def test_a_tls_handshake_that_never_ends_is_a_connect_timeout(pki: Pki) -> None:
    client_tls = pki.client_context(None)
    async with upstream(silent, tls=lambda: client_tls) as api:
        with pytest.raises(httpx.ConnectTimeout):
            await api.send(connect=0.05)
        await api.wait_for_no_connection()


async def test_a_refused_connection_says_so() -> None:
    port = ReservedPort()
    try:
        transport = UpstreamTransport(LOOPBACK, port.number, tls_context=None, monotonic=lambda: 0.0)
        with pytest.raises(httpx.ConnectError, match=r"^connection refused$"):
            await transport.handle_async_request(httpx.Request("GET", f"http://{LOOPBACK}"))
        assert transport.open_connections == 0
    finally:
        port.release()


# --- connections that the server closed ---


def closing_on_second_request(sent_before: bytes = b"") -> Script:
    """The first connection dies on its second request, after these bytes; later ones live."""

    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(response(b"answer"))
        if peer.number == 1:
            await peer.read_head()
            await peer.send(sent_before)
            return
        await echo_target(peer)

    return script


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_a_request_on_a_connection_that_just_closed_is_sent_again(method: str) -> None:
    async with upstream(closing_on_second_request()) as api:
        assert await api.body() == b"answer"
        assert await api.body(method) == b"answer"
        assert api.server.connections == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_write_is_never_sent_twice(method: str) -> None:
    async with upstream(closing_on_second_request()) as api:
        assert await api.body() == b"answer"
        with pytest.raises(httpx.RemoteProtocolError):
            await api.body(method, content=b"x")
        assert api.server.connections == 1


async def test_a_request_whose_body_is_used_up_is_not_sent_again() -> None:
    async with upstream(closing_on_second_request()) as api:
        assert await api.body() == b"answer"
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await api.body("GET", content=pieces(b"x"))
        assert api.server.connections == 1


@pytest.mark.parametrize("sent", [b"H", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_request_whose_answer_had_begun_is_not_sent_again(sent: bytes) -> None:
    async with upstream(closing_on_second_request(sent)) as api:
        assert await api.body() == b"answer"
        with pytest.raises(httpx.RemoteProtocolError):
            await api.body()
        assert api.server.connections == 1


async def test_a_request_is_sent_again_once_only() -> None:
    async def script(peer: Peer) -> None:
        if peer.number == 1:
            await peer.read_head()
            await peer.send(response(b"answer"))
        await peer.read_head()

    async with upstream(script) as api:
        assert await api.body() == b"answer"
        with pytest.raises(httpx.RemoteProtocolError, match="closed without an answer"):
            await api.body()
        assert api.server.connections == 2


async def test_a_connection_closed_while_idle_is_forgotten() -> None:
    async with upstream(once(response(b"x"))) as api:
        for number in range(1, 4):
            assert await api.body() == b"x"
            await api.wait_for_no_connection()
            assert api.server.connections == number
            assert api.transport.idle_connections == 0


async def test_a_connection_idle_for_too_long_is_not_used() -> None:
    now = 0.0
    async with upstream(echo_target, monotonic=lambda: now, idle_seconds=30.0) as api:
        await api.body()
        now = 30.0
        await api.body()
        assert api.server.connections == 1
        now = 61.0
        await api.body()
        assert api.server.connections == 2


async def test_connections_that_were_idle_for_too_long_go_when_another_comes_back() -> None:
    now = 0.0
    async with upstream(echo_target, monotonic=lambda: now, idle_seconds=30.0) as api:
        first, second = await api.send(), await api.send()
        await first.aread()
        now = 31.0
        await second.aread()
        await until(lambda: api.transport.open_connections == 1)
        assert api.transport.idle_connections == 1


async def test_only_so_many_idle_connections_are_kept() -> None:
    async with upstream(echo_target, max_idle_connections=3) as api:
        answers = [await api.send() for _ in range(8)]
        assert api.transport.open_connections == 8
        for answer in answers:
            await answer.aread()
        assert api.transport.idle_connections == 3
        await until(lambda: api.transport.open_connections == 3)


async def test_a_connection_made_with_a_replaced_certificate_is_not_used_again(pki: Pki) -> None:
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(peer.writer.get_extra_info("ssl_object").getpeercert()["subject"][0][0][1])
        await echo_target(peer)

    server_tls = server_context(pki)
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.load_verify_locations(pki.ca_file)
    contexts = [pki.client_context(pki.client(name)) for name in ("old", "new")]
    current = contexts[0]
    async with upstream(script, server_tls=server_tls, tls=lambda: current) as api:
        await api.body()
        current = contexts[1]
        await api.body()
        await api.body()
    assert seen == ["old", "new"]


# --- TLS that must not succeed ---


async def test_a_certificate_of_another_authority_is_refused(pki: Pki, tmp_path: Path) -> None:
    stranger = Pki(tmp_path)
    client_tls = pki.client_context(None)
    async with upstream(echo_target, server_tls=server_context(stranger), tls=lambda: client_tls) as api:
        with pytest.raises(httpx.ConnectError, match="certificate is not trusted"):
            await api.body()
        await api.wait_for_no_connection()


async def test_a_certificate_for_another_name_is_refused_and_the_server_name_decides(pki: Pki) -> None:
    client_tls = pki.client_context(None)
    server_tls = server_context(pki, ("kubernetes.default",))
    async with upstream(echo_target, server_tls=server_tls, tls=lambda: client_tls) as api:
        with pytest.raises(httpx.ConnectError, match="certificate is not trusted"):
            await api.body()
    async with upstream(
        echo_target, server_tls=server_tls, tls=lambda: client_tls, tls_server_name="kubernetes.default"
    ) as api:
        assert await api.body() == b"/"


async def test_a_server_that_speaks_no_tls_is_refused(pki: Pki) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    client_tls = pki.client_context(None)
    async with upstream(script, tls=lambda: client_tls) as api:
        with pytest.raises(httpx.ConnectError):
            await api.body()


async def test_a_server_that_refuses_the_client_certificate_is_an_error_of_its_own(pki: Pki) -> None:
    server_tls = server_context(pki)
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.load_verify_locations(pki.ca_file)
    client_tls = pki.client_context(None)
    async with upstream(echo_target, server_tls=server_tls, tls=lambda: client_tls) as api:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError)):
            await api.body()


# --- leaving early ---


async def cancel_when(api: Upstream, ready: Callable[[], bool], **options: Any) -> None:
    """Begins a request, cancels it once `ready`, and sees that nothing of it is left and the next one is served."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(api.body(**options))
        await until(ready)
        task.cancel()
    assert task.cancelled()
    await api.wait_for_no_connection()


async def test_a_request_cancelled_while_it_waits_for_the_answer_leaves_nothing() -> None:
    async with upstream(silent, max_unary_requests=1) as api:
        for number in range(1, 4):
            await cancel_when(api, lambda number=number: api.server.connections == number)  # type: ignore[misc]


async def test_a_request_cancelled_in_its_tls_handshake_leaves_nothing(pki: Pki) -> None:
    client_tls = pki.client_context(None)
    async with upstream(silent, tls=lambda: client_tls, max_unary_requests=1) as api:
        for number in range(1, 4):
            await cancel_when(api, lambda number=number: api.server.connections == number)  # type: ignore[misc]


async def test_a_request_cancelled_in_its_body_leaves_nothing() -> None:
    begun = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal begun
        begun += 1
        yield b"x"
        await asyncio.Event().wait()

    async with upstream(silent, max_unary_requests=1) as api:
        for number in range(1, 4):
            await cancel_when(api, lambda number=number: begun == number, method="POST", content=body())  # type: ignore[misc]


async def test_a_response_cancelled_while_it_is_read_leaves_nothing() -> None:
    served = 0

    async def script(peer: Peer) -> None:
        nonlocal served
        await peer.read_head()
        await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        served += 1
        await peer.wait_closed()

    async with upstream(script, max_unary_requests=1) as api:
        for number in range(1, 4):
            await cancel_when(api, lambda number=number: served == number)  # type: ignore[misc]


async def test_a_request_cancelled_in_line_gives_its_place_to_the_next() -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            target = (await peer.read_head()).split(b" ")[1]
            await release.wait()
            await peer.send(response(target))

    async with upstream(script, max_unary_requests=1) as api, asyncio.TaskGroup() as tasks:
        first, second, third = (tasks.create_task(api.body(target=b"/%d" % number)) for number in range(3))
        await until(lambda: api.server.connections == 1)
        release.set()
        await first
        second.cancel()  # perhaps just as its turn came
    assert third.result() == b"/2"


async def test_closing_the_transport_fails_what_is_in_flight_and_what_comes_later() -> None:
    async with upstream(silent) as api, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_failure(api))
        await until(lambda: api.server.connections == 1)
        await api.transport.aclose()
        assert isinstance(await task, httpx.TransportError)
        with pytest.raises(httpx.ConnectError, match="closed"):
            await api.body()


async def _failure(api: Upstream) -> Exception:
    with pytest.raises(httpx.TransportError) as raised:
        await api.body()
    return raised.value


async def test_a_request_for_another_host_is_not_sent_here() -> None:
    async with upstream(echo_target) as api:
        with pytest.raises(httpx.LocalProtocolError):
            await api.transport.handle_async_request(httpx.Request("GET", "http://other.example.com/"))
        assert api.server.connections == 0
