"""Responses as servers send them, and as attackers do."""

from __future__ import annotations

import gc
import weakref

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.response_parser import MAX_BODY_OVERHEAD_BYTES, MAX_HEAD_BYTES, ResponseParser

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def parsed(*pieces: bytes, method: str = "GET") -> ResponseParser:
    parser = ResponseParser(method=method)
    for piece in pieces:
        parser.feed(piece)
    return parser


@pytest.mark.parametrize(
    ("response", "body"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (CHUNKED + b"1;ext=1\r\nh\r\n4\r\nello\r\n0\r\nTrailer: x\r\n\r\n", b"hello"),
        (OK + b"Content-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b""),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
            + OK
            + b"Content-Length: 1\r\n\r\nx",
            b"x",
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_response_is_the_same_however_it_is_cut(response: bytes, body: bytes, size: int) -> None:
    parser = parsed(*(response[at : at + size] for at in range(0, len(response), size)))
    assert parser.complete
    assert parser.is_reusable
    assert parser.take() == body
    assert not parser.has_data


def test_headers_of_informational_responses_and_trailers_are_not_the_responses() -> None:
    parser = parsed(
        b"HTTP/1.1 103 Early Hints\r\nLink: evil\r\n\r\n",
        CHUNKED + b"0\r\nContent-Type: evil\r\n\r\n",
    )
    assert parser.status == 200
    assert parser.headers == [(b"Transfer-Encoding", b"chunked")]


def test_a_body_without_a_length_ends_with_the_connection_and_so_does_its_reuse() -> None:
    parser = parsed(OK + b"\r\nhello")
    assert not parser.complete
    parser.end()
    assert parser.complete
    assert parser.take() == b"hello"
    assert not parser.is_reusable


@pytest.mark.parametrize(
    "headers", [b"Connection: close\r\nContent-Length: 1\r\n", b"Content-Length: 1\r\nconnection: x, Close\r\n"]
)
def test_a_connection_that_the_server_closes_is_not_reused(headers: bytes) -> None:
    assert not parsed(OK + headers + b"\r\nx").is_reusable


def test_the_answer_to_head_has_no_body_whatever_it_says() -> None:
    parser = parsed(OK + b"Content-Length: 5\r\n\r\n", method="HEAD")
    assert parser.complete
    assert not parser.is_reusable
    assert parsed(OK + b"Content-Length: 5\r\n\r\nhello", method="HEAD").take() == b""


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"H",
        OK,
        OK + b"Content-Length: 5\r\n",
        OK + b"Content-Length: 5\r\n\r\nhell",
        CHUNKED,
        CHUNKED + b"5\r\nhel",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_a_response_that_is_cut_off_is_never_complete(response: bytes) -> None:
    parser = parsed(response)
    assert not parser.complete
    with pytest.raises(httpx.RemoteProtocolError):
        parser.end()


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 600 High\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"Content-Length: 5, 5\r\n\r\nhello",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 0x5\r\n\r\nhello",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"FFFFFFFFFFFFFFFFFF\r\nx",
        CHUNKED + b"-1\r\nx",
        CHUNKED + b"2\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"\r\n\r\n",
        OK + b"A : b\r\n\r\n",
        OK + b"A: b\r\n folded\r\n\r\n",
        OK + b"A: b\x00c\r\n\r\n",
        OK + b"no colon\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_gives_no_complete_response(response: bytes) -> None:
    parser = ResponseParser(method="GET")
    with pytest.raises(httpx.RemoteProtocolError):
        parser.feed(response)
    assert not parser.complete
    assert not parser.is_reusable


@pytest.mark.parametrize(
    "behind",
    [b"x", b"\r\n\r\nx", OK + b"Content-Length: 4\r\n\r\nevil", b"HTTP/1.1 100 Continue\r\n\r\n", b"\x00\xff", b"{}"],
)
@pytest.mark.parametrize("response", [OK + b"Content-Length: 2\r\n\r\nok", CHUNKED + b"2\r\nok\r\n0\r\n\r\n"])
def test_bytes_behind_a_response_change_nothing_of_it_and_end_the_connection(response: bytes, behind: bytes) -> None:
    """Response splitting: a second answer must not be taken for that of the next request."""
    for pieces in ([response + behind], [response, behind]):
        parser = parsed(*pieces)
        assert parser.status == 200
        assert parser.take() == b"ok"
        assert not parser.is_reusable


@pytest.mark.parametrize("piece", [b"A: " + b"a" * 1000 + b"\r\n", b"a" * 1000, b"A:" * 500, b"a: b\r\n" * 200])
def test_a_header_section_that_does_not_end_is_refused(piece: bytes) -> None:
    parser = ResponseParser(method="GET")
    parser.feed(OK + b"X: ")
    with pytest.raises(httpx.RemoteProtocolError):
        for _ in range(MAX_HEAD_BYTES // len(piece) + 2):
            parser.feed(piece)


def test_a_large_header_section_in_one_piece_is_refused() -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        parsed(OK + b"A: b\r\n" * (MAX_HEAD_BYTES // 2) + b"\r\n")


def test_endless_informational_responses_are_refused() -> None:
    parser = ResponseParser(method="GET")
    with pytest.raises(httpx.RemoteProtocolError):
        for _ in range(MAX_HEAD_BYTES):
            parser.feed(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize("start", [b"5;", b"5;a=", b"0\r\nTrailer: "])
def test_chunk_extensions_and_trailers_do_not_go_on_for_ever(start: bytes) -> None:
    parser = parsed(CHUNKED + start)
    with pytest.raises(httpx.RemoteProtocolError):
        for _ in range(MAX_BODY_OVERHEAD_BYTES // 1000 + 2):
            parser.feed(b"a" * 1000)


@given(st.binary(max_size=40), st.sampled_from([b"", OK, CHUNKED, OK + b"Content-Length: 3\r\n\r\n"]))
def test_any_bytes_are_a_response_or_a_protocol_error(garbage: bytes, start: bytes) -> None:
    parser = ResponseParser(method="GET")
    try:
        parser.feed(start + garbage)
        parser.end()
    except httpx.RemoteProtocolError:
        return
    assert parser.complete


def test_a_discarded_response_is_freed_at_once() -> None:
    """Else each request leaves garbage for the cycle collector, whose runs are steps of the event loop."""
    parser = parsed(OK + b"Content-Length: 5\r\n\r\nhello")
    parser.discard()
    freed = weakref.ref(parser)
    gc.disable()
    try:
        del parser
        assert freed() is None
    finally:
        gc.enable()
