"""No header that says who is calling, where to, or how long the message is passes the proxy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.header_hygiene import (
    PASSED_UPSTREAM,
    client_response_headers,
    is_upgrade,
    upstream_request_headers,
)

NEVER_UPSTREAM = [
    b"accept-encoding",
    b"authorization",
    b"connection",
    b"content-length",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"http2-settings",
    b"impersonate-user",
    b"impersonate_group",
    b"keep-alive",
    b"origin",
    b"proxy-authorization",
    b"sec-websocket-protocol",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"x-forwarded-for",
    b"x-forwarded-uri",
    b"x-http-method-override",
    b"x-original-url",
    b"x-remote-extra-scopes",
    b"x-remote-group",
    b"x-remote-uid",
    b"x-remote-user",
    b"x_remote_user",
    b"x-remote_group",
]


@pytest.mark.parametrize("name", NEVER_UPSTREAM)
def test_what_carries_identity_framing_or_target_never_goes_upstream(name: bytes) -> None:
    assert upstream_request_headers([(name, b"x"), (name.title(), b"x"), (b"accept", b"*/*")]) == [(b"accept", b"*/*")]


def test_what_describes_the_request_goes_upstream_in_order_and_lower_case() -> None:
    headers = [(b"Content-Type", b"application/json"), (b"accept", b"a"), (b"accept", b"b"), (b"user-agent", b"u")]
    assert upstream_request_headers(headers) == [(name.lower(), value) for name, value in headers]


def test_what_the_connection_header_names_is_of_one_hop() -> None:
    headers = [(b"connection", b"keep-alive, Accept"), (b"Connection", b"range"), (b"accept", b"a"), (b"range", b"r")]
    assert upstream_request_headers(headers) == []


@given(st.lists(st.tuples(st.sampled_from([*NEVER_UPSTREAM, *sorted(PASSED_UPSTREAM)]), st.binary(max_size=4))))
def test_nothing_but_the_named_headers_goes_upstream(headers: list[tuple[bytes, bytes]]) -> None:
    passed = upstream_request_headers(headers)
    assert {name for name, _ in passed} <= PASSED_UPSTREAM
    assert [header for header in headers if header in passed] == passed or b"connection" in dict(headers)


@pytest.mark.parametrize(
    "name",
    [
        b"connection",
        b"content-length",
        b"date",
        b"keep-alive",
        b"proxy-authenticate",
        b"server",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"Transfer-Encoding",
        b"x-hop",
    ],
)
def test_what_is_of_one_hop_or_ours_to_say_is_not_passed_back(name: bytes) -> None:
    named = [(b"connection", b"close, X-Hop")]
    assert client_response_headers([(name, b"x"), (b"etag", b"e"), *named]) == [(b"etag", b"e")]


@pytest.mark.parametrize(
    "name",
    [b"content-type", b"warning", b"retry-after", b"etag", b"vary", b"cache-control", b"content-encoding", b"location"],
)
def test_what_describes_the_answer_is_passed_back(name: bytes) -> None:
    assert client_response_headers([(name, b"x"), (name, b"y")]) == [(name, b"x"), (name, b"y")]


@pytest.mark.parametrize(
    ("connection", "upgrade"),
    [
        (b"Upgrade", b"SPDY/3.1"),
        (b"keep-alive, upgrade", b"websocket"),
        (b"upgrade", b"h2c, websocket"),
        (b"UPGRADE", b"x"),
    ],
)
def test_leaving_http_is_an_upgrade(connection: bytes, upgrade: bytes) -> None:
    assert is_upgrade([(b"connection", connection), (b"upgrade", upgrade)])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"upgrade", b"websocket")],
        [(b"connection", b"upgrade")],
        [(b"connection", b"keep-alive"), (b"upgrade", b"websocket")],
        [(b"connection", b"Upgrade, HTTP2-Settings"), (b"upgrade", b"h2c")],
    ],
)
def test_anything_less_is_not(headers: list[tuple[bytes, bytes]]) -> None:
    assert not is_upgrade(headers)
