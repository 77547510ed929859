"""Upstream's answers and failures, as the StatusErrors that callers are answered with."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api import status as api
from proxy.upstream.errors import (
    MAX_RETRY_AFTER_SECONDS,
    UpstreamIdentityRefused,
    error_from_transport,
    status_error_from_response,
)
from proxy.upstream.response import UpstreamResponse


def answer(status: int, body: bytes | dict[str, Any] = b"", **headers: str) -> UpstreamResponse:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return UpstreamResponse(status=status, raw_headers=httpx.Headers(fields).raw, body=content)


def status(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return {**body, "reason": reason, "code": code, **({"details": details} if details else {})}


@pytest.mark.parametrize(
    ("code", "reason", "error_class"),
    [
        (400, "BadRequest", api.BadRequest),
        (404, "NotFound", api.NotFound),
        (405, "MethodNotAllowed", api.MethodNotAllowed),
        (406, "NotAcceptable", api.NotAcceptable),
        (409, "Conflict", api.StatusError),
        (410, "Expired", api.Expired),
        (410, "Gone", api.Expired),
        (415, "UnsupportedMediaType", api.StatusError),
        (422, "Invalid", api.Invalid),
        (429, "TooManyRequests", api.TooManyRequests),
        (500, "InternalError", api.InternalError),
        (500, "ServerTimeout", api.InternalError),
        (503, "ServiceUnavailable", api.ServiceUnavailable),
        (504, "Timeout", api.Timeout),
    ],
)
def test_a_status_of_upstream_keeps_code_reason_message_and_details(
    code: int, reason: str, error_class: type[api.StatusError]
) -> None:
    cause = {"reason": "R", "message": "m", "field": "f"}
    details = {"name": "n", "group": "g", "kind": "pods", "causes": [cause], "retryAfterSeconds": 7}
    sent = status(code, reason, "why not", **details)
    error = status_error_from_response(answer(code, sent))
    assert type(error) is error_class
    assert json.loads(error.body()) == sent
    assert error.retry_after_seconds == 7


@pytest.mark.parametrize("code", [401, 403])
def test_a_refusal_of_the_proxy_never_reads_as_the_callers(code: int, caplog: pytest.LogCaptureFixture) -> None:
    sent = status(code, "Forbidden", 'pods is forbidden: User "system:serviceaccount:wk:proxy" cannot list')
    error = status_error_from_response(answer(code, sent))
    assert isinstance(error, UpstreamIdentityRefused)
    assert (error.code, error.reason, error.retry_after_seconds) == (503, "ServiceUnavailable", 1)
    assert error.message == f"the API server refuses the proxy's own identity ({code})"
    assert b"system:serviceaccount" not in error.body(), "who the proxy is, is nobody's business"
    assert "system:serviceaccount" in error.upstream_message
    assert "system:serviceaccount" in caplog.text, "an operator needs to know"


def test_the_retry_after_header_is_kept_where_details_have_none() -> None:
    error = status_error_from_response(answer(429, status(429, "TooManyRequests", "m"), retry_after="9"))
    assert error.retry_after_seconds == 9
    assert status_error_from_response(answer(503, b"<html>", retry_after="9")).retry_after_seconds == 9


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", 0), ("-1", 0), ("soon", 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("\u00b2", 0), ("1.5", 0),
        ("9" * 5000, 0), ("99999999", MAX_RETRY_AFTER_SECONDS),
    ],
)  # fmt: skip
def test_an_odd_retry_after_does_no_harm(given: str, kept: int) -> None:
    response = UpstreamResponse(status=429, raw_headers=[(b"Retry-After", given.encode("utf-8"))], body=b"")
    assert status_error_from_response(response).retry_after_seconds == kept


def test_a_retry_after_in_details_that_is_no_delay_is_dropped() -> None:
    for seconds in (-5, 10**12):
        sent = status(504, "Timeout", "m", kind="pods", retryAfterSeconds=seconds)
        assert status_error_from_response(answer(504, sent)).retry_after_seconds == 0


@pytest.mark.parametrize(
    ("code", "message"),
    [(404, "the server could not find the requested resource"), (418, "the API server answered 418")],
)
def test_an_answer_without_a_status_keeps_its_code(code: int, message: str) -> None:
    error = status_error_from_response(answer(code, b"404 page not found\n"))
    assert (error.code, error.message) == (code, message)


@pytest.mark.parametrize("code", [200, 204, 301, 302, 304, 500, 502, 503, 504, 599])
def test_an_answer_that_no_api_server_gives_is_503(code: int) -> None:
    error = status_error_from_response(answer(code, b"<html>Bad Gateway</html>", location="https://evil"))
    assert (error.code, error.reason) == (503, "ServiceUnavailable")
    assert error.message == f"the API server answered {code} without a Status"
    assert error.retry_after_seconds == 1


def test_the_code_of_the_answer_counts_not_the_one_in_its_body() -> None:
    assert status_error_from_response(answer(404, status(200, "NotFound", "m"))).code == 404


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"kind":"Status","message":"\xff\xfe"}', b'{"kind":"Status","message":{}}', b'{"kind":"Pod"}',
     b"null", b'"Status"', b'{"kind":"Status","details":{"causes":[1]}}', b'{"kind":"Status","x":' + b"[" * 100_000],
)  # fmt: skip
def test_a_garbage_body_survives(body: bytes) -> None:
    error = status_error_from_response(answer(404, body))
    assert (error.code, error.reason) == (404, "NotFound")
    assert error.message == "the server could not find the requested resource"


@given(st.integers(100, 999), st.binary(max_size=60))
def test_every_answer_gives_an_error_that_can_be_sent(code: int, body: bytes) -> None:
    error = status_error_from_response(answer(code, body))
    assert 400 <= json.loads(error.body())["code"] <= 999
    assert error.code not in (401, 403)


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (httpx.ConnectError("connection refused"), 503, "the API server cannot be reached: connection refused"),
        (httpx.ConnectTimeout("no connection for 5 s"), 503, "the API server cannot be reached: no connection for 5 s"),
        (httpx.ReadTimeout("nothing for 9 s"), 503, "the API server does not answer: nothing for 9 s"),
        (httpx.WriteTimeout("x"), 503, "the API server does not answer: x"),
        (httpx.PoolTimeout("x"), 429, "too many requests are waiting for the API server"),
        (httpx.ReadError("reset"), 503, "the connection to the API server broke: reset"),
        (httpx.RemoteProtocolError("not HTTP"), 503, "the connection to the API server broke: not HTTP"),
        (httpx.LocalProtocolError("illegal"), 400, "the request cannot be sent to the API server: illegal"),
    ],
)
def test_every_failure_of_an_exchange_has_its_status(failure: httpx.TransportError, code: int, message: str) -> None:
    error = error_from_transport(failure)
    assert (error.code, error.message) == (code, message)
    assert error.retry_after_seconds == (0 if code == 400 else 1)
