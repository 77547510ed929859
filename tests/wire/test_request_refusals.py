"""What is refused before anybody is asked who they are: the exact status, Status and fate of the connection.

The rows are those of the architecture's table of refusals. A connection goes on where it is certain where the refused
request ends, and is closed where it is not.
"""

from typing import Any

import pytest

from tests.support.raw_client import RawResponse, request_bytes
from tests.wire.conftest import Wire

PODS = "/api/v1/pods"
NOT_A_PATH = "the request target must be a path that begins with `/`"
FOREIGN = "the request target contains a character that must be percent-encoded"
ENCODED = "the path contains an encoded `/`, `\\`, `%` or NUL"
SEGMENT = "the path contains a segment that is empty, `.` or `..`"
ESCAPE = "the request target contains an invalid `%` escape"
MALFORMED = "the request is not valid HTTP/1.1"
METHOD = "the server does not allow this method on the requested resource"


def failure(code: int, reason: str, message: str, **more: Any) -> dict[str, Any]:
    """The Status a refusal has."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return {**status, "reason": reason, **more, "code": code}


def assert_refused(response: RawResponse, code: int, reason: str, message: str, *, closes: bool, **more: Any) -> None:
    assert response.json == failure(code, reason, message, **more)
    assert response.status == code
    assert response.header("content-type") == "application/json"
    assert response.header("cache-control") == "no-cache, private"
    assert response.closes is closes


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("http://localhost/api/v1/pods", NOT_A_PATH),
        ("https://other.example/api/v1/pods", NOT_A_PATH),
        ("*", NOT_A_PATH),
        ("/api/v1/pods\\x", FOREIGN),
        ("/api/v1/pods#fragment", FOREIGN),
        ("/api/v1/pods?x=#y", FOREIGN),
        ("/api/v1/%zz", ESCAPE),
        ("/api/v1/pods%2", ESCAPE),
        ("/api/v1/pods?x=%zz", ESCAPE),
        ("/api/v1/pods?x=%", ESCAPE),
        ("/api/v1/pods%00", ENCODED),
        ("/api%2Fv1/pods", ENCODED),
        ("/api/v1/namespaces/team-a%2fpods", ENCODED),
        ("/api/v1/namespaces/..%5c..", ENCODED),
        ("/api/v1/pods%252e", ENCODED),
        ("/api//v1/pods", SEGMENT),
        ("//api/v1/pods", SEGMENT),
        ("/api/v1/namespaces//pods", SEGMENT),
        ("/api/v1/pods//", SEGMENT),
        ("/api/v1/./pods", SEGMENT),
        ("/api/v1/%2E/pods", SEGMENT),
        ("/api/v1/pods/../secrets", SEGMENT),
        ("/api/v1/namespaces/team-a/pods/%2e%2e/secrets", SEGMENT),
        ("/api/v1/namespaces/team-a/pods/.%2E", SEGMENT),
        ("/version/..", SEGMENT),
        ("/api/v1/pods%0d%0ax:y", "the path contains a control character"),
        ("/api/v1/pods%7f", "the path contains a control character"),
        ("/api/v1/%ff", "the request target is not UTF-8"),
        ("/api/v1/pods%c0%af", "the request target is not UTF-8"),
        ("/api/v1/pods?labelSelector=%fe", "the request target is not UTF-8"),
        ("/api/v1/pods?watch=1;x=2", "the query contains `;`, which separates nothing"),
        ("/api/v1/pods?watch=0&watch=1", "query parameter `watch` is given twice"),
        ("/api/v1/pods?watch=1&%77atch=1", "query parameter `watch` is given twice"),
        ("/api/v1/pods?fieldSelector=a%3Db&fieldSelector=a%3Db", "query parameter `fieldSelector` is given twice"),
        ("/api/v1/pods?labelSelector=&labelSelector", "query parameter `labelSelector` is given twice"),
        ("/api/v1/pods?limit=1&limit=1", "query parameter `limit` is given twice"),
        ("/api/v1/pods?continue=a&continue=b", "query parameter `continue` is given twice"),
        ("/api/v1/watch/pods", "the `/watch/` prefix is not served: use the query parameter `watch=true`"),
        (
            "/api/v1/watch/namespaces/team-a/pods/web",
            "the `/watch/` prefix is not served: use the query parameter `watch=true`",
        ),
        ("/apis/apps/v1/watch", "the `/watch/` prefix is not served: use the query parameter `watch=true`"),
    ],
)
def test_a_target_that_can_be_read_in_two_ways_is_a_bad_request(wire: Wire, target: str, message: str) -> None:
    """The refusal comes without credentials, and the connection serves the next request."""
    with wire.connect(None) as client:
        assert_refused(client.request(target), 400, "BadRequest", message, closes=False)
        assert client.request("/version").status == 401


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PURGE", "LINK", "PROPFIND", "SEARCH"])
def test_a_method_kubernetes_does_not_know_is_not_allowed(wire: Wire, method: str) -> None:
    with wire.connect(None) as client:
        response = client.request(PODS, method=method)
        assert_refused(response, 405, "MethodNotAllowed", METHOD, closes=method == "CONNECT", details={})


@pytest.mark.parametrize("method", ["FOO", "get", "G@T", ""])
def test_a_method_http_does_not_know_is_not_told_from_garbage(wire: Wire, method: str) -> None:
    """kube-apiserver answers 405; the parser cannot know where such a request ends, so the connection is closed."""
    with wire.connect(None) as client:
        assert_refused(client.request(PODS, method=method), 400, "BadRequest", MALFORMED, closes=True)
        assert client.read_until_closed() == b""


@pytest.mark.parametrize("target", ["localhost:443", "/api/v1/pods\x01", "/api/v1/p\xf6ds", ""])
def test_a_target_that_is_no_target_closes_the_connection(wire: Wire, target: str) -> None:
    method = "CONNECT" if ":" in target else "GET"
    with wire.connect(None) as client:
        assert_refused(client.request(target, method=method), 400, "BadRequest", MALFORMED, closes=True)
        assert client.read_until_closed() == b""


@pytest.mark.parametrize(
    "head",
    [
        b"GET /version\r\n\r\n",
        b"GET /version HTTP/0.9\r\nHost: x\r\n\r\n",
        b"GET /version HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET /version HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
        b"GET /version HTTP/1.2\r\nHost: x\r\n\r\n",
        b"GET /version HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /version http/1.1\r\nHost: x\r\n\r\n",
        b"GET /version HTTP/1.1x\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_only_http_1_1_is_spoken(wire: Wire, head: bytes) -> None:
    """A stream in chunks would be garbage to a client of HTTP/1.0."""
    with wire.connect() as client:
        client.send(head)
        assert_refused(client.read_response(), 400, "BadRequest", MALFORMED, closes=True)
        assert client.read_until_closed() == b""


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Host: x\r\nHost: x\r\n",
        b"Host: x\r\nX: a\r\n folded\r\n",
        b"Host: x\r\n\tfolded\r\n",
        b" Host: x\r\n",
        b"Host: x\r\nX: a\nY: b\r\n",
        b"Host: x\r\nX: a\rY: b\r\n",
        b"Host: x\r\nX: a\x00b\r\n",
        b"Host: x\r\nX\x00: a\r\n",
        b"Host: x\r\nX: \x0b\r\n",
        b"Host: x\r\nX: \x7f\r\n",
        b"Host: x\r\n: a\r\n",
        b"Host: x\r\nX y: a\r\n",
        b"Host: x\r\nX : a\r\n",
        b"Host: x\r\nX\xe9: a\r\n",
        b"Host: x\r\nX(y): a\r\n",
        b"Host: x\r\ngarbage\r\n",
    ],
)
def test_a_header_that_can_be_read_in_two_ways_closes_the_connection(wire: Wire, fields: bytes) -> None:
    with wire.connect() as client:
        client.send(b"GET /version HTTP/1.1\r\n" + fields + b"\r\n" + request_bytes("/version"))
        assert_refused(client.read_response(), 400, "BadRequest", MALFORMED, closes=True)
        assert client.read_until_closed() == b""


def test_lines_that_end_in_a_bare_line_feed_are_refused(wire: Wire) -> None:
    with wire.connect() as client:
        client.send(b"GET /version HTTP/1.1\nHost: x\n\n")
        assert_refused(client.read_response(), 400, "BadRequest", MALFORMED, closes=True)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "framing", ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
def test_a_read_with_a_body_closes_the_connection(wire: Wire, method: str, framing: str) -> None:
    with wire.connect() as client:
        client.send(f"{method} /version HTTP/1.1\r\nHost: x\r\n{framing}".encode() + request_bytes("/version"))
        response = client.read_response(method=method)
        assert (response.status, response.closes) == (400, True)
        if method == "GET":
            assert response.json == failure(400, "BadRequest", "a GET request has no body")
        assert client.read_until_closed() == b""


@pytest.mark.parametrize("length", ["0", "00"])
def test_a_read_with_an_empty_body_is_served(wire: Wire, length: str) -> None:
    """Python's kubernetes client sends `Content-Length: 0` with some reads."""
    with wire.connect() as client:
        assert client.request("/version", headers={"Content-Length": length}).status == 200
        assert client.request("/version").status == 200


@pytest.mark.parametrize(
    "target", ["/api/v1/pods/", "/api/v1/pods?unknown=%3B&unknown=2", "/api/v1/pods?", "/api/v1/pods?&&"]
)
def test_what_can_be_read_in_one_way_only_is_served(wire: Wire, target: str) -> None:
    with wire.connect() as client:
        assert client.request(target).json["kind"] == "PodList"


@pytest.mark.parametrize(
    "target", ["/API/v1/pods", "/api/V1/pods", "/api/v1/Pods", "/api/v1/pods%20", "/api/v1/p%C3%B6ds"]
)
def test_paths_are_compared_with_case_and_as_they_are(wire: Wire, target: str) -> None:
    """For alice such a path is one that nobody granted, not another spelling of one that somebody did."""
    with wire.connect() as client:
        assert client.request(target).status == 404
    with wire.connect(None) as client:
        headers = {"Authorization": "Bearer alice-token"}
        assert client.request(target.replace("/v1/", "/v1/namespaces/team-a/"), headers=headers).status == 403


def test_a_watch_of_one_object_is_a_get(wire: Wire) -> None:
    """`watch` counts for collections only; authorization and service agree on that."""
    with wire.connect() as client:
        assert client.request("/api/v1/namespaces/team-a/pods/web?watch=1").json["kind"] == "Pod"


@pytest.mark.parametrize(
    "query", ["watch", "watch=", "watch=1", "watch=TRUE", "%77atch=1", "watch=no", "watch=%66alsey"]
)
def test_every_spelling_of_true_is_a_watch(wire: Wire, query: str) -> None:
    with wire.connect() as client:
        client.send(request_bytes(f"{PODS}?{query}&timeoutSeconds=1"))
        _, headers = client.read_head()
        assert ("transfer-encoding", "chunked") in headers


@pytest.mark.parametrize("query", ["watch=0", "watch=false", "watch=FALSE", "Watch=1", "watch%20=1", "xwatch=1"])
def test_every_spelling_of_false_is_a_list(wire: Wire, query: str) -> None:
    with wire.connect() as client:
        assert client.request(f"{PODS}?{query}").json["kind"] == "PodList"
