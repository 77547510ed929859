"""Where one request ends and the next begins is never in doubt: no second request can be hidden in a first.

In every test the bytes that hide it are followed by, or contain, a request for `/version`: its answer must not come.
"""

import pytest

from tests.support.raw_client import request_bytes
from tests.wire.conftest import ALICE, ROOT, Wire

HIDDEN = request_bytes("/version")
EMPTY_CHUNKS = b"0\r\n\r\n"


def post(*fields: str, body: bytes = b"") -> bytes:
    """A POST to pods with these header lines."""
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"POST /api/v1/namespaces/team-a/pods HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode("latin-1") + body


@pytest.mark.parametrize(
    "request_head",
    [
        post("Content-Length: 4", "Transfer-Encoding: chunked"),
        post("Transfer-Encoding: chunked", "Content-Length: 4"),
        post("Content-Length: 4", "Content-Length: 4"),
        post("Content-Length: 4", "Content-Length: 5"),
        post("Content-Length: 4, 4"),
        post("Content-Length: +4"),
        post("Content-Length: -4"),
        post("Content-Length: 0x4"),
        post("Content-Length: 4 4"),
        post("Content-Length: "),
        post("Content-Length : 4"),
        post("Content-Length: 99999999999999999999"),
        post("Transfer-Encoding: chunked, identity"),
        post("Transfer-Encoding: identity"),
        post("Transfer-Encoding: gzip, chunked"),
        post("Transfer-Encoding: xchunked"),
        post("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        post("Transfer-Encoding: identity", "Transfer-Encoding: chunked"),
        post("Transfer-Encoding: \x0bchunked"),
        post("Transfer-Encoding : chunked"),
        post("Transfer-Encoding:", " chunked"),
        post("X: y\rTransfer-Encoding: chunked"),
        post('Transfer-Encoding: "chunked"'),
        post("Transfer_Encoding: chunked", "Transfer-Encoding: chunked;q=1"),
    ],
)
def test_framing_that_two_servers_could_read_differently_is_refused(wire: Wire, request_head: bytes) -> None:
    with wire.connect() as client:
        client.send(request_head + EMPTY_CHUNKS + HIDDEN)
        response = client.read_response()
        assert (response.status, response.json["reason"], response.closes) == (400, "BadRequest", True)
        assert client.read_until_closed() == b""


@pytest.mark.parametrize(
    "chunks",
    [
        b"-1\r\n\r\n",
        b"0x1\r\na\r\n0\r\n\r\n",
        b"1 \r\na\r\n0\r\n\r\n",
        b"1\na\n0\n\n",
        b"1\r\nab\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\na\r\n0\r\n\r\n",
        b"1;\x00\r\na\r\n0\r\n\r\n",
        b"g\r\n",
    ],
)
def test_chunks_that_are_none_end_the_connection(wire: Wire, chunks: bytes) -> None:
    with wire.connect() as client:
        client.send(post("Transfer-Encoding: chunked") + chunks + HIDDEN)
        assert client.read_response().status == 400
        assert client.read_until_closed() == b""


@pytest.mark.parametrize("trailer", ["Authorization: Bearer root-token", "authorization: bearer root-token"])
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "OPTIONS"])
def test_a_trailer_is_no_credential(wire: Wire, trailer: str, method: str) -> None:
    """What checks the headers in front of the proxy does not look at trailers."""
    head = f"{method} /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with wire.connect(None) as client:
        client.send(f"{head}0\r\n{trailer}\r\n\r\n".encode())
        assert client.read_response().status == 401
        assert client.request("/version").status == 401


def test_an_answer_before_the_whole_request_ends_the_connection(wire: Wire) -> None:
    """Else the rest of the body could pass for a request."""
    with wire.connect(None) as client:
        client.send(post(f"Content-Length: {len(HIDDEN) + 1}"))
        response = client.read_response()
        assert (response.status, response.closes) == (401, True)
        client.send(HIDDEN)
        assert client.read_until_closed() == b""


def test_a_body_that_comes_whole_is_not_read_as_a_request(wire: Wire) -> None:
    with wire.connect(None) as client:
        client.send(post(f"Content-Length: {len(HIDDEN)}", body=HIDDEN))
        assert client.read_response().status == 401
        response = client.request("/api/v1/pods", headers={"Authorization": "Bearer root-token"})
        assert response.json["kind"] == "PodList"


def test_a_client_that_waits_to_be_told_to_go_on_is_refused_at_once(wire: Wire) -> None:
    """`Expect: 100-continue` without permission: the body is never asked for, and the connection is over."""
    with wire.connect(None) as client:
        client.send(post("Expect: 100-continue", "Content-Length: 10"))
        response = client.read_response()
        assert (response.status, response.closes) == (401, True)
        assert client.read_until_closed() == b""


@pytest.mark.parametrize("identity", [None, ROOT])
@pytest.mark.parametrize(
    "upgrade",
    [
        ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAA", "Sec-WebSocket-Version: 13"),
        ("Connection: Upgrade", "Upgrade: SPDY/3.1"),
        ("Connection: keep-alive, upgrade", "Upgrade: h2c, x"),
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    ],
)
@pytest.mark.parametrize(
    "target", ["/version", "/api/v1/namespaces/team-a/pods/web/exec?command=sh", "/api/v1/pods?watch=1"]
)
def test_nothing_can_be_said_behind_a_request_to_leave_http(
    wire: Wire, identity: object, upgrade: tuple[str, ...], target: str
) -> None:
    """Whatever the answer, it is no 101, and what follows on the connection is nobody's request."""
    fields = "".join(f"{field}\r\n" for field in upgrade)
    with wire.connect(ROOT if identity else None) as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode() + HIDDEN)
        status, headers = client.read_head()
        assert status != 101
        assert ("connection", "close") in headers
        if ("transfer-encoding", "chunked") not in headers:
            rest = client.read_until_closed()
            assert b"audit-id" not in rest


def test_requests_in_a_row_are_answered_in_that_row(wire: Wire) -> None:
    """Each with its own caller's eyes: nothing of one request is left for the next."""
    with wire.connect(None) as client:
        token = {"Authorization": "Bearer alice-token"}
        client.send(
            request_bytes("/api/v1/namespaces/team-a/pods", headers=token)
            + request_bytes("/api/v1/namespaces/team-a/pods")
            + request_bytes("/api/v1/namespaces/team-b/pods", headers=token)
            + request_bytes("/api/v1/namespaces/team-a/pods", headers=token)
        )
        assert [client.read_response().status for _ in range(4)] == [200, 401, 403, 200]


def test_nothing_is_answered_behind_connection_close(wire: Wire) -> None:
    with wire.connect() as client:
        client.send(request_bytes("/version", headers={"Connection": "close"}) + HIDDEN)
        assert client.read_response().closes
        assert client.read_until_closed() == b""


@pytest.mark.parametrize("behind", [HIDDEN, b"\x00", b"G", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n"])
@pytest.mark.parametrize("together", [True, False])
def test_whatever_comes_behind_a_watch_ends_it(wire: Wire, behind: bytes, together: bool) -> None:
    """While something waited behind a stream nobody would read on, and see that the client has gone."""
    watch = request_bytes("/api/v1/pods?watch=1")
    with wire.connect() as client:
        if together and behind != b"G":
            client.send(watch + behind)
        else:
            client.send(watch)
            client.read_head()
            client.send(behind)
        assert client.read_until_closed().count(b"\r\naudit-id") <= 1


@pytest.mark.parametrize("behind", [HIDDEN, b"\x00"])
def test_a_client_that_does_not_say_goodbye_after_that_holds_up_nobody(wire: Wire, behind: bytes) -> None:
    """A connection can be closing for half a minute; events that come meanwhile must not make its stream spin."""
    with wire.connect() as client, wire.connect() as other:
        client.send(request_bytes("/api/v1/configmaps?watch=1"))
        client.read_head()
        client.send(behind)
        name = f"event-{behind.hex()[:8]}"
        wire.cluster.server.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "team-a"}, "data": {}}
        )
        assert name in other.request("/api/v1/configmaps").body.decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"Connection": "authorization, host, x-remote-user", "X-Remote-User": "root"},
        {"Connection": "close, accept"},
        {"X-Remote-User": "root", "X-Remote-Group": "system:masters"},
        {"X_Remote_User": "root"},
        {"x-remote-extra-scopes": "all"},
        {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Real-IP": "127.0.0.1"},
        {"X-Original-URL": "/api/v1/secrets", "X-Rewrite-URL": "/api/v1/secrets"},
        {"X-HTTP-Method-Override": "DELETE"},
        {"Host": "upstream.example"},
    ],
)
def test_headers_about_identity_or_target_change_nothing(wire: Wire, headers: dict[str, str]) -> None:
    fields = [(name, value) for name, value in headers.items() if name != "Host"]
    with wire.connect(ALICE) as client:
        assert client.request("/api/v1/namespaces/team-b/pods", headers=fields).status == 403
    with wire.connect(ALICE) as client:
        shown = client.request("/api/v1/pods", headers=fields).json["items"]
        assert {each["metadata"]["namespace"] for each in shown} == {"team-a"}


@pytest.mark.parametrize(
    "name",
    [
        "Impersonate-User",
        "impersonate-user",
        "IMPERSONATE-USER",
        "Impersonate_User",
        "Impersonate-Group",
        "Impersonate-Uid",
        "Impersonate-Extra-scopes",
        "Impersonate-Extra-%41",
        "Impersonate-Anything",
    ],
)
@pytest.mark.parametrize("connection", [None, "Impersonate-User", "close"])
def test_who_may_not_impersonate_does_not_in_any_spelling(wire: Wire, name: str, connection: str | None) -> None:
    """A spelling that some server would fold to another is refused, and not passed by."""
    fields = [(name, "root")] + ([("Connection", connection)] if connection else [])
    with wire.connect(ALICE) as client:
        response = client.request("/api/v1/namespaces/team-a/pods", headers=fields)
    assert response.status in (400, 403)
    assert response.json["status"] == "Failure"
