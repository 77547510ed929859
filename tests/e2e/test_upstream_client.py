"""The upstream client over real TLS: identity, targets, rotation of credentials, and what failures become."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from prometheus_client import CollectorRegistry

from proxy.api.status import StatusError, TooManyRequests
from proxy.telemetry.upstream_meter import UpstreamMeter
from proxy.upstream.client import UpstreamClient
from proxy.upstream.config import PemSource, UpstreamConfig, config_from_flags, parse_server
from proxy.upstream.errors import ConfigError, UpstreamResponseTooLarge, UpstreamUnavailable
from proxy.upstream.transport import LONG_RUNNING
from tests.support.httpx_transport import HttpxTransport
from tests.support.pki import Certificate, Pki
from tests.support.ports import LOOPBACK, ReservedPort
from tests.support.scripted_upstream import OK, Peer, Script, ScriptedUpstream, response, until

pytestmark = pytest.mark.anyio

MAX_BODY_BYTES = 1024 * 1024


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def mutual_tls(pki: Pki) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = pki.server()
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(pki.ca_file)
    return context


class Seen:
    """What the upstream saw: heads, and the common name of each connection's client certificate."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.names: list[str] = []

    async def script(self, peer: Peer) -> None:
        tls = peer.writer.get_extra_info("ssl_object")
        certificate = tls.getpeercert() if tls else None
        self.names.append(certificate["subject"][0][0][1] if certificate else "")
        while True:
            self.heads.append(await peer.read_head())
            await peer.send(response(b"{}"))

    def header(self, name: str) -> str | None:
        for line in self.heads[-1].decode("utf-8").split("\r\n"):
            key, _, value = line.partition(": ")
            if key.lower() == name:
                return value
        return None


def plain(server: ScriptedUpstream, **options: object) -> UpstreamConfig:
    return UpstreamConfig(server=parse_server(f"http://{LOOPBACK}:{server.port}", where="test"), **options)  # type: ignore[arg-type]


def scripted(answer: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(answer)

    return script


async def test_the_proxy_shows_its_certificate_and_its_token(pki: Pki, tmp_path: Path) -> None:
    seen = Seen()
    token_file = tmp_path / "token"
    token_file.write_text("t0ken\n")
    certificate = pki.client("watchkeeper")
    async with ScriptedUpstream(seen.script, context=mutual_tls(pki)) as server:
        client = UpstreamClient(
            config_from_flags(
                url=f"https://{LOOPBACK}:{server.port}",
                ca_file=pki.ca_file,
                client_cert_file=certificate.cert_file,
                client_key_file=certificate.key_file,
                token_file=token_file,
            )
        )
        answer = await client.get("/version", max_body_bytes=MAX_BODY_BYTES)
        await client.aclose()
    assert (answer.status, answer.body) == (200, b"{}")
    assert seen.names == ["watchkeeper"]
    assert seen.header("authorization") == "Bearer t0ken"
    assert seen.header("accept") == "application/json"
    assert seen.header("host") == f"{LOOPBACK}:{server.port}"


@pytest.fixture
def empty_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder of temporary files, which must be empty again at the end."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("empty_temporary_folder")
async def test_inline_pem_works_as_files_do_and_is_on_no_disk_afterwards(pki: Pki) -> None:
    seen = Seen()
    certificate = pki.client("inline")
    async with ScriptedUpstream(seen.script, context=mutual_tls(pki)) as server:
        client = UpstreamClient(
            UpstreamConfig(
                server=parse_server(f"https://{LOOPBACK}:{server.port}", where="test"),
                ca=pki.ca_file.read_bytes(),
                client_certificate=certificate.cert_file.read_bytes(),
                client_key=certificate.key_file.read_bytes(),
            )
        )
        await client.get("/version", max_body_bytes=MAX_BODY_BYTES)
        await client.aclose()
    assert seen.names == ["inline"]
    assert seen.header("authorization") is None


async def test_the_target_is_built_below_the_base_path_and_sent_as_built() -> None:
    seen = Seen()
    async with ScriptedUpstream(seen.script) as server:
        base = parse_server(f"http://{LOOPBACK}:{server.port}/k8s/clusters/c-1", where="test")
        client = UpstreamClient(UpstreamConfig(server=base))
        await client.get(
            "/api/v1/namespaces/a/pods/a..%2f.b ;\\#?",
            [("fieldSelector", "metadata.name=x,a!=b&c"), ("watch", "true")],
            max_body_bytes=MAX_BODY_BYTES,
        )
        for path in ("/api/v1/../secrets", "/api//v1", "/.", "api"):
            with pytest.raises(ValueError):
                await client.get(path, max_body_bytes=MAX_BODY_BYTES)
        await client.aclose()
    assert [head.split(b" ")[1] for head in seen.heads] == [
        b"/k8s/clusters/c-1/api/v1/namespaces/a/pods/a..%252f.b%20%3B%5C%23%3F"
        b"?fieldSelector=metadata.name%3Dx%2Ca%21%3Db%26c&watch=true"
    ]


async def test_the_stock_httpx_transport_sends_the_same_target() -> None:
    seen = Seen()
    async with ScriptedUpstream(seen.script) as server:
        client = UpstreamClient(plain(server), transport=HttpxTransport(httpx.AsyncHTTPTransport()))
        answer = await client.get("/api/v1/pods/a%2e", [("x", "/")], max_body_bytes=MAX_BODY_BYTES)
        await client.aclose()
    assert answer.body == b"{}"
    assert seen.heads[0].startswith(b"GET /api/v1/pods/a%252e?x=%2F HTTP/1.1\r\n")


async def test_headers_of_a_relay_go_out_in_utf_8_and_cannot_break_out() -> None:
    seen = Seen()
    async with ScriptedUpstream(seen.script) as server:
        client = UpstreamClient(plain(server))
        async with client.stream("GET", "/api", headers=[("Impersonate-User", "Jürgen")]) as answer:
            await answer.aread()
        assert seen.header("impersonate-user") == "Jürgen"
        with pytest.raises(StatusError) as raised:
            async with client.stream("GET", "/api", headers=[("Impersonate-User", "x\r\nImpersonate-Group: root")]):
                raise AssertionError
        assert raised.value.code == 400
        for name in ("Authorization", "host", "Content-Length", "Transfer-Encoding", "connection", "Upgrade"):
            with pytest.raises(ValueError):
                async with client.stream("GET", "/api", headers=[(name, "x")]):
                    raise AssertionError
        await client.aclose()
    assert len(seen.heads) == 1


async def test_a_relayed_body_is_streamed() -> None:
    received = []

    async def script(peer: Peer) -> None:
        await peer.read_head()
        received.append(await peer.reader.readuntil(b"0\r\n\r\n"))
        await peer.send(response(b"created"))

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with ScriptedUpstream(script) as server:
        client = UpstreamClient(plain(server))
        async with client.stream("POST", "/api/v1/pods", content=body()) as answer:
            assert (await client.buffer(answer)).body == b"created"
        await client.aclose()
    assert received == [b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"]


# --- failures ---


async def failure(client: UpstreamClient, **options: float) -> StatusError:
    with pytest.raises(StatusError) as raised:
        await client.get("/api", max_body_bytes=1000, **options)  # type: ignore[arg-type]
    return raised.value


async def test_an_upstream_that_is_away_is_503_with_the_reason_and_a_delay() -> None:
    port = ReservedPort()
    try:
        client = UpstreamClient(UpstreamConfig(server=parse_server(f"http://{LOOPBACK}:{port.number}", where="test")))
        error = await failure(client)
        assert isinstance(error, UpstreamUnavailable)
        assert error.message == "the API server cannot be reached: connection refused"
        assert (error.code, error.retry_after_seconds) == (503, 1)
        with pytest.raises(UpstreamUnavailable, match="connection refused"):
            async with client.stream("GET", "/api"):
                raise AssertionError
        await client.aclose()
    finally:
        port.release()


async def test_an_upstream_with_a_strange_certificate_is_503_with_the_reason(pki: Pki, tmp_path: Path) -> None:
    async with ScriptedUpstream(Seen().script, context=mutual_tls(Pki(tmp_path))) as server:
        for ca_file in (pki.ca_file, None):  # another authority, and the system's roots
            client = UpstreamClient(config_from_flags(url=f"https://{LOOPBACK}:{server.port}", ca_file=ca_file))
            assert (await failure(client)).message.startswith(
                "the API server cannot be reached: its certificate is not trusted: "
            )
            await client.aclose()


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", OK + b"Content-Length: 9\r\n\r\nhalf"])
async def test_a_broken_answer_is_503(answer: bytes) -> None:
    async with ScriptedUpstream(scripted(answer)) as server:
        client = UpstreamClient(plain(server))
        assert isinstance(await failure(client), UpstreamUnavailable)
        await client.aclose()


async def test_a_stream_that_breaks_inside_of_the_context_is_503() -> None:
    async with ScriptedUpstream(scripted(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")) as server:
        client = UpstreamClient(plain(server))
        received = []
        with pytest.raises(UpstreamUnavailable, match="closed in the middle"):
            async with client.stream("GET", "/api") as answer:
                async for data in answer.aiter_raw():
                    received.append(data)
        assert received == [b"x"]
        await client.aclose()


async def test_a_silent_upstream_is_503_after_the_time_for_the_whole_request() -> None:
    async def dripping(peer: Peer) -> None:
        await peer.send(OK + b"Content-Length: 100000\r\n\r\n")
        while True:
            await peer.send(b"x")
            await asyncio.sleep(0.001)

    for script in (Peer.wait_closed, dripping):
        async with ScriptedUpstream(script) as server:
            client = UpstreamClient(plain(server))
            with pytest.raises(UpstreamUnavailable, match="does not answer"):
                await client.get("/api", max_body_bytes=MAX_BODY_BYTES, timeout_seconds=0.1)
            await client.aclose()


async def test_a_silent_stream_is_503_after_the_time_for_each_part() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_head()
        if peer.number > 1:
            await peer.send(OK + b"\r\n")
        await peer.wait_closed()

    async with ScriptedUpstream(script) as server:
        client = UpstreamClient(plain(server))
        with pytest.raises(UpstreamUnavailable, match="does not answer"):
            async with client.stream("GET", "/api", header_timeout_seconds=0.05):
                raise AssertionError
        with pytest.raises(UpstreamUnavailable, match="does not answer"):
            async with client.stream("GET", "/api", read_timeout_seconds=0.05) as answer:
                await answer.aread()
        await client.aclose()


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 2000\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n7d0\r\n"]
)
@pytest.mark.parametrize("own_transport", [True, False])
async def test_an_answer_that_is_too_large_is_not_read(framing: bytes, own_transport: bool) -> None:
    async with ScriptedUpstream(scripted(OK + framing + b"x" * 2000)) as server:
        client = UpstreamClient(
            plain(server), transport=None if own_transport else HttpxTransport(httpx.AsyncHTTPTransport())
        )
        assert isinstance(await failure(client), UpstreamResponseTooLarge)
        await client.aclose()


async def test_a_full_line_is_429_with_a_delay() -> None:
    class Full(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            assert LONG_RUNNING not in request.extensions
            raise httpx.PoolTimeout("too many")

    client = UpstreamClient(
        UpstreamConfig(server=parse_server("https://api", where="test")), transport=HttpxTransport(Full())
    )
    error = await failure(client)
    assert isinstance(error, TooManyRequests)
    assert error.retry_after_seconds == 1


async def test_a_cancelled_get_is_a_cancellation_and_no_503() -> None:
    async with ScriptedUpstream(Peer.wait_closed) as server:
        client = UpstreamClient(plain(server))
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(client.get("/api", max_body_bytes=1))
            await until(lambda: server.connections == 1)
            task.cancel()
        assert task.cancelled()
        await client.aclose()


# --- credentials that change ---


async def test_a_rotated_token_is_used_within_ten_seconds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    seen = Seen()
    token_file = tmp_path / "token"
    token_file.write_text("first")

    async def used() -> str | None:
        await client.get("/api", max_body_bytes=MAX_BODY_BYTES)
        return seen.header("authorization")

    with caplog.at_level(logging.DEBUG):
        async with ScriptedUpstream(seen.script) as server:
            client = UpstreamClient(plain(server, token="ignored", token_file=token_file), monotonic=lambda: now)
            assert await used() == "Bearer first"
            token_file.write_text("second")
            now = 10.0
            assert await used() == "Bearer second"
            for broken in ("", "two words", "line\nbreak", "\x00", "é"):
                token_file.write_text(broken)
                now += 10.0
                assert await used() == "Bearer second", "a token that cannot be used leaves the last good one"
            token_file.unlink()
            now += 10.0
            assert await used() == "Bearer second"
            token_file.write_text("third")
            now += 10.0
            assert await used() == "Bearer third"
            await client.aclose()
    assert "cannot be read" in caplog.text
    for secret in ("first", "second", "third", "two words"):
        assert secret not in caplog.text


def install(certificate: Certificate, cert_file: Path, key_file: Path) -> None:
    """Replaces both files the way Kubernetes does: by a rename."""
    for source, target in ((certificate.cert_file, cert_file), (certificate.key_file, key_file)):
        shutil.copy(source, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)


async def test_a_rotated_certificate_is_used_for_the_next_request(pki: Pki, tmp_path: Path) -> None:
    now = 0.0
    seen = Seen()
    files = (tmp_path / "tls.crt", tmp_path / "tls.key")
    install(pki.client("first"), *files)
    async with ScriptedUpstream(seen.script, context=mutual_tls(pki)) as server:
        client = UpstreamClient(
            config_from_flags(
                url=f"https://{LOOPBACK}:{server.port}",
                ca_file=pki.ca_file,
                client_cert_file=files[0],
                client_key_file=files[1],
            ),
            monotonic=lambda: now,
        )
        await client.get("/api", max_body_bytes=MAX_BODY_BYTES)
        install(pki.client("second"), *files)
        now = 10.0
        await client.get("/api", max_body_bytes=MAX_BODY_BYTES)
        files[1].write_text("half a pair")
        now = 20.0
        await client.get("/api", max_body_bytes=MAX_BODY_BYTES)
        install(pki.client("third"), *files)
        now = 30.0
        await client.get("/api", max_body_bytes=MAX_BODY_BYTES)
        await client.aclose()
    assert seen.names == ["first", "second", "third"]


# --- what it cannot start with ---


async def test_credentials_that_cannot_be_used_are_one_clear_line(pki: Pki, tmp_path: Path) -> None:
    certificate, other = pki.client("a"), pki.client("b")
    empty = tmp_path / "empty"
    empty.touch()
    encrypted = tmp_path / "encrypted.key"
    key = serialization.load_pem_private_key(certificate.key_file.read_bytes(), None)
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    server = parse_server("https://api", where="test")
    missing = tmp_path / "missing"
    not_ca = "holds no CA certificate in PEM form"
    absent = "cannot be read: No such file or directory"
    not_pair = "not a certificate and its unencrypted key in PEM form"

    def pair(cert: PemSource, key: PemSource) -> UpstreamConfig:
        return UpstreamConfig(server=server, ca=pki.ca_file, client_certificate=cert, client_key=key)

    for config, message in (
        (UpstreamConfig(server=server, ca=missing), f"{missing}: {absent}"),
        (UpstreamConfig(server=server, ca=empty), f"{empty}: {not_ca}"),
        (UpstreamConfig(server=server, ca=b"junk \xff"), f"the upstream CA: {not_ca}"),
        (UpstreamConfig(server=server, ca=certificate.key_file), f"{certificate.key_file}: {not_ca}"),
        (pair(certificate.cert_file, other.key_file), f"{certificate.cert_file} and {other.key_file}: {not_pair}"),
        (pair(certificate.cert_file, encrypted), f"{certificate.cert_file} and {encrypted}: {not_pair}"),
        (pair(certificate.cert_file, missing), f"{certificate.cert_file} and {missing}: {absent}"),
        (pair(b"x", b"y"), f"the upstream client certificate: {not_pair}"),
        (UpstreamConfig(server=server, token_file=missing), f"{missing}: {absent}"),
        (UpstreamConfig(server=server, token_file=empty), f"{empty}: empty"),
        (UpstreamConfig(server=server, token="a b"), "the upstream token: not a bearer token"),
        (UpstreamConfig(server=server, token=""), "the upstream token: empty"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as raised:
            UpstreamClient(config)
        assert str(raised.value) == message


async def test_a_meter_is_told_of_answers_and_of_failures() -> None:
    registry = CollectorRegistry()
    meter = UpstreamMeter(registry, lambda: 0.0)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"watchkeeper_upstream_{name}_total", labels)

    async with ScriptedUpstream(scripted(response(b"{}"))) as server:
        client = UpstreamClient(plain(server), meter=meter)
        await client.get("/version", max_body_bytes=MAX_BODY_BYTES)
        assert (value("requests", method="GET", code="200"), meter.heard_within(1)) == (1, True)
    with pytest.raises(UpstreamUnavailable):
        await client.get("/version", max_body_bytes=MAX_BODY_BYTES)
    with pytest.raises(UpstreamUnavailable):
        async with client.stream("POST", "/api/v1/pods"):
            raise AssertionError("nobody answers")
    await client.aclose()
    assert (value("errors", kind="connect"), value("errors", kind="timeout")) == (2, 0)
    assert not meter.heard_within(1)
