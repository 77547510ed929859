"""The load generator of the benchmarks tells of every fault in a sequence: a run with one is void."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.support.fleet import Fleet, Watcher
from benchmarks.support.load import Load, Requests
from benchmarks.support.load_process import HOW_TO_GET_GO, VoidRun
from benchmarks.support.mark import write_mark
from tests.support.pki import Pki

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason=HOW_TO_GET_GO)

LIST = b'{"kind":"ConfigMapList","metadata":{"resourceVersion":"7"},"items":[{"data":{"benchmark":"busy 3 0"}}]}'
WATCHER = Watcher(path="/api/v1/configmaps", object="busy")


def event(number: int, *, name: str = "busy", kind: bytes = b"MODIFIED") -> bytes:
    mark = write_mark(name, number, time.time_ns())
    return b'{"type":"%b","object":{"metadata":{"resourceVersion":"9"},"data":{"benchmark":"%b"}}}\n' % (kind, mark)


@contextmanager
def server(directory: Path, answers: Sequence[bytes], *, closes: bool = False) -> Iterator[tuple[str, Path]]:
    """Gives each request of its one connection the next answer; then closes, or holds until the block ends."""
    pki = Pki(directory)
    certificate = pki.server(["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with context.wrap_socket(connection, server_side=True) as client:
                for answer in answers:
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        received = client.recv(4096)
                        if not received:
                            return
                        head += received
                    client.sendall(answer)
                if not closes:
                    ended.wait()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listening.getsockname()[1]}", pki.ca_file
        finally:
            ended.set()
            thread.join()


def plain(body: bytes, *, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def chunked(*chunks: bytes) -> bytes:
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + framed


def test_events_in_order_are_counted_however_they_are_cut(tmp_path: Path) -> None:
    events = event(4) + event(5) + event(6)
    cut = [events[:10], events[10:300], events[300:]]
    with server(tmp_path, [plain(LIST), chunked(*cut)]) as (url, ca_file), Fleet(url, ca_file, [WATCHER]) as fleet:
        delivery = fleet.settle({"busy": 6})
    assert delivery.delivered == 3
    assert delivery.event_bytes == len(events) / 3
    assert delivery.latencies.total() == 3


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([event(4), event(6)], "busy: 6 after 4"),
        ([event(4), event(4)], "busy: 4 after 4"),
        ([event(5), event(4)], "busy: 5 after 3"),
        ([event(4, name="other")], "the watcher of busy was shown"),
        ([event(4, kind=b"ADDED")], "the watcher of busy was shown"),
        ([b'{"type":"ERROR","object":{"code":410}}\n'], "the watcher of busy was shown"),
    ],
    ids=["gap", "double", "wrong order", "somebody else's", "not a change", "error"],
)
def test_a_fault_in_the_sequence_makes_the_run_void(tmp_path: Path, events: Sequence[bytes], told: str) -> None:
    with server(tmp_path, [plain(LIST), chunked(*events)]) as (url, ca_file), Fleet(url, ca_file, [WATCHER]) as fleet:
        with pytest.raises(VoidRun, match=told):
            fleet.settle({"busy": 1_000})


def test_a_watch_that_ends_by_itself_makes_the_run_void(tmp_path: Path) -> None:
    answers = [plain(LIST), chunked(event(4))]
    with server(tmp_path, answers, closes=True) as (url, ca_file), Fleet(url, ca_file, [WATCHER]) as fleet:
        with pytest.raises(VoidRun, match="ended by itself"):
            fleet.settle({"busy": 5})


def test_requests_are_answered_one_after_the_other_on_a_connection_that_is_kept(tmp_path: Path) -> None:
    answers = [plain(b"12345"), chunked(b"12", b"345") + b"0\r\n\r\n", plain(b"12345")]
    asked = Requests(target="/x", connections=1, requests=3)
    with server(tmp_path, answers) as (url, ca_file), Load(url, ca_file, asked) as load:
        answered = load.run()
    assert (answered.bytes, len(answered.latencies_ms)) == (15, 3)


def test_an_answer_that_is_no_success_makes_the_run_void(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    answers = [plain(b"slow down", status=b"429 Too Many Requests")]
    asked = Requests(target="/x", connections=1, requests=1)
    with server(tmp_path, answers) as (url, ca_file), Load(url, ca_file, asked) as load:
        with pytest.raises(VoidRun):
            load.run()
    assert "answered with 429: slow down" in capfd.readouterr().err
