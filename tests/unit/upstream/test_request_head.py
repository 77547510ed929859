"""Nothing that could end a line early gets into a request head."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.request_head import encode_request_head


def test_a_head_is_written_as_given_and_asks_for_no_content_coding() -> None:
    head = encode_request_head(b"GET", b"/api?x=%20", [(b"Host", b"h:1"), (b"X-Empty", b""), (b"A", b"b \t c")])
    assert (
        head == b"GET /api?x=%20 HTTP/1.1\r\nHost: h:1\r\nX-Empty: \r\nA: b \t c\r\nAccept-Encoding: identity\r\n\r\n"
    )


def test_a_content_coding_that_the_caller_asks_for_is_kept() -> None:
    head = encode_request_head(b"GET", b"/", [(b"accept-encoding", b"gzip")])
    assert head == b"GET / HTTP/1.1\r\naccept-encoding: gzip\r\n\r\n"


@pytest.mark.parametrize("value", [b"a\r\nX: y", b"a\nb", b"a\rb", b"a\x00b", b"\x7f", b" a", b"a ", b"\ta", b"\r\n"])
def test_a_header_value_cannot_begin_another_header(value: bytes) -> None:
    with pytest.raises(httpx.LocalProtocolError) as raised:
        encode_request_head(b"GET", b"/", [(b"Impersonate-User", value)])
    assert repr(value)[2:-1] not in str(raised.value), "a header value may be a credential"


@pytest.mark.parametrize("name", [b"", b"A:", b"A B", b"A\r\nB", b"\xc3\xa4", b"A\x00"])
def test_a_header_name_is_a_token(name: bytes) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        encode_request_head(b"GET", b"/", [(name, b"x")])


@pytest.mark.parametrize("target", [b"", b"api", b"/a b", b"/a\r\n", b"/\x00", b"/\xc3\xa4", b"https://h/", b"*"])
def test_a_target_is_in_origin_form(target: bytes) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        encode_request_head(b"GET", target, [])


@pytest.mark.parametrize("method", [b"", b"GET /", b"GE\r\nT"])
def test_a_method_is_a_token(method: bytes) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        encode_request_head(method, b"/", [])


def test_two_framings_of_one_body_are_refused() -> None:
    with pytest.raises(httpx.LocalProtocolError):
        encode_request_head(b"POST", b"/", [(b"Content-Length", b"3"), (b"transfer-encoding", b"chunked")])


@given(
    name=st.binary(max_size=4),
    value=st.binary(max_size=6),
    target=st.binary(max_size=6).map(lambda suffix: b"/" + suffix),
)
def test_whatever_is_accepted_is_one_header_of_one_request(name: bytes, value: bytes, target: bytes) -> None:
    try:
        head = encode_request_head(b"GET", target, [(name, value)])
    except httpx.LocalProtocolError:
        return
    request_line, header, *rest = head.split(b"\r\n")
    assert request_line.split(b" ") == [b"GET", target, b"HTTP/1.1"]
    assert header.split(b": ", 1) == [name, value]
    assert rest[-2:] == [b"", b""]
    assert b"\n" not in header and b"\r" not in header
