"""What the head of a response says, and what it does not give away."""

import pytest

from tests.support.raw_client import RawResponse, request_bytes
from tests.wire.conftest import ALICE, ROOT, Wire

UNIQUE = {"date", "audit-id"}


def facts(response: RawResponse) -> tuple[int, list[tuple[str, str]], bytes]:
    """All of a response but what differs between any two."""
    return response.status, [pair for pair in response.headers if pair[0] not in UNIQUE], response.body


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/version", 200),
        ("/api/v1/pods", 200),
        ("/api/v1/namespaces/team-a/pods/web", 200),
        ("/api/v1/namespaces/team-a/pods/absent", 404),
        ("/api/v1/pods?limit=x", 400),
        ("/api/v1/pods?resourceVersionMatch=Exact", 422),
        ("/apis/none.example/v1/nothing", 404),
    ],
)
def test_every_answer_is_json_that_nobody_caches_or_guesses_at(wire: Wire, target: str, status: int) -> None:
    with wire.connect() as client:
        response = client.request(target)
    assert response.status == status
    assert response.header("content-type") == "application/json"
    assert response.header("cache-control") == "no-cache, private"
    assert len(response.header("audit-id") or "") == 36
    for name in ("server", "set-cookie", "via", "x-powered-by", "www-authenticate"):
        assert response.header(name) is None


def test_audit_ids_are_the_proxys_own_and_never_the_clients(wire: Wire) -> None:
    with wire.connect() as client:
        headers = {"Audit-ID": "chosen-by-the-client"}
        ids = {client.request("/version", headers=headers).header("audit-id") for _ in range(3)}
    assert len(ids) == 3
    assert "chosen-by-the-client" not in ids


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer  root-token"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic cm9vdDpyb290"},
        {"Authorization": "root-token"},
        {"Authorization": f"Bearer {'x' * 20_000}"},
        {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0."},
        {"X-Remote-User": "root"},
        {"X_Remote_User": "root"},
        {"X-Remote-Group": "system:masters"},
        {"X-Forwarded-User": "root"},
        {"Impersonate-User": "root"},
        {"Cookie": "token=root-token"},
        {"Proxy-Authorization": "Bearer root-token"},
        {"Sec-WebSocket-Protocol": "base64url.bearer.authorization.k8s.io.cm9vdC10b2tlbg, v4.channel.k8s.io"},
    ],
)
@pytest.mark.parametrize("target", ["/version", "/api/v1/pods", "/api/v1/pods?watch=1", "/api/v1/namespaces/none/x/y"])
def test_all_causes_of_a_401_look_alike(wire: Wire, headers: dict[str, str], target: str) -> None:
    with wire.connect(None) as client:
        plain = client.request("/version")
        assert plain.status == 401
        assert facts(client.request(target, headers=headers)) == facts(plain)


def test_only_the_first_of_two_authorization_headers_counts(wire: Wire) -> None:
    """As upstream: a second one, added behind a filter's back, changes nobody's identity."""
    with wire.connect(None) as client:
        good, bad = ("Authorization", "Bearer root-token"), ("Authorization", "Bearer wrong")
        assert client.request("/api/v1/pods", headers=[good, bad]).status == 200
        assert client.request("/api/v1/pods", headers=[bad, good]).status == 401


def test_a_valid_certificate_wins_over_any_token(wire: Wire) -> None:
    with wire.connect(ALICE) as client:
        for token in ("root-token", "wrong"):
            response = client.request("/api/v1/secrets", headers={"Authorization": f"Bearer {token}"})
            assert response.status == 403
            assert 'User "alice"' in response.json["message"]


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/namespaces/team-b/{}/web",
        "/api/v1/namespaces/team-b/{}",
        "/api/v1/namespaces/nowhere/{}/web",
        "/api/v1/namespaces/team-b/{}?watch=1",
        "/api/v1/namespaces/team-b/{}?limit=x",
        "/api/v1/namespaces/team-b/{}?labelSelector=!!",
        "/api/v1/namespaces/team-b/{}?resourceVersion=x&resourceVersionMatch=y",
        "/api/v1/namespaces/team-b/{}?continue=x",
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "application/vnd.kubernetes.protobuf", "nonsense"])
def test_403_comes_before_anything_is_said_about_options(wire: Wire, target: str, accept: str) -> None:
    with wire.connect(ALICE) as client:
        response = client.request(target.format("pods"), headers={"Accept": accept})
    assert (response.status, response.json["reason"]) == (403, "Forbidden")
    assert response.header("x-content-type-options") == "nosniff"


def test_a_watch_has_its_head_before_any_event(wire: Wire) -> None:
    with wire.connect() as client:
        client.send(request_bytes("/api/v1/namespaces/empty/pods?watch=1&timeoutSeconds=1"))
        status, headers = client.read_head()
        assert (status, dict(headers)["content-type"]) == (200, "application/json")
        assert "content-length" not in dict(headers)
        assert client.read_chunk() == b""  # the clean end, after a second


def test_head_has_no_body(wire: Wire) -> None:
    with wire.connect(ROOT) as client:
        response = client.request("/version", method="HEAD")
        assert response.status == 200
        assert client.request("/api/v1/pods", method="HEAD").status == 405
        assert client.request("/version").status == 200
