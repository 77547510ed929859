"""What is authorized is what is sent: the target of an upstream request."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.target import encode_target

SEGMENTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text not in (".", "..") and "/" not in text
)


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("/", (), b"/"),
        ("/version/", (), b"/version/"),
        ("/api/v1/namespaces/a/pods/p/proxy/x y/", (), b"/api/v1/namespaces/a/pods/p/proxy/x%20y/"),
        ("/api/v1/namespaces/team-a/pods/web.1", (), b"/api/v1/namespaces/team-a/pods/web.1"),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node", (), None),
        ("/api/v1/pods/...", (), b"/api/v1/pods/..."),
        ("/api/v1/pods/a b", (), b"/api/v1/pods/a%20b"),
        ("/api/v1/pods/%2e%2e", (), b"/api/v1/pods/%252e%252e"),
        ("/api/v1/pods/a%2Fb", (), b"/api/v1/pods/a%252Fb"),
        ("/api/v1/pods/a?watch=1", (), b"/api/v1/pods/a%3Fwatch%3D1"),
        ("/api/v1/pods/a#b;c\\d", (), b"/api/v1/pods/a%23b%3Bc%5Cd"),
        ("/api/v1/pods/ü\r\n", (), b"/api/v1/pods/%C3%BC%0D%0A"),
        ("/api/v1/pods", [("watch", "true"), ("limit", "5")], b"/api/v1/pods?watch=true&limit=5"),
        ("/api/v1/pods", [("fieldSelector", "a=b&watch=1;x+y /")], None),
    ],
)
def test_a_target_is_the_path_and_query_and_nothing_else(
    path: str, query: list[tuple[str, str]], target: bytes | None
) -> None:
    encoded = encode_target("", path, query)
    assert target is None or encoded == target
    sent_path, _, sent_query = encoded.decode("ascii").partition("?")
    assert unquote(sent_path) == path
    assert parse_qsl(sent_query, keep_blank_values=True, strict_parsing=bool(query)) == list(query)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "api",
        "//",
        "/api//",
        "/api//v1",
        "//api",
        "/..",
        "/.",
        "/api/../v1",
        "/api/v1/.",
        "/api/v1/..",
        "../api",
        "/a/\ud800",
    ],
)
def test_a_path_that_is_not_canonical_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        encode_target("", path, ())


@given(segments=st.lists(SEGMENTS, min_size=1), query=st.lists(st.tuples(SEGMENTS, st.text("aé&=;+#% /?"))))
def test_no_text_escapes_its_place(segments: list[str], query: list[tuple[str, str]]) -> None:
    """Whatever the names are, the API server splits the target into the same segments and pairs."""
    path = "/" + "/".join(segments)
    encoded = encode_target("/base", path, query).decode("ascii")
    sent_path, _, sent_query = encoded.partition("?")
    assert [unquote(segment) for segment in sent_path.split("/")] == ["", "base", *segments]
    assert parse_qsl(sent_query, keep_blank_values=True) == query


def test_httpx_would_have_rewritten_the_target() -> None:
    """Why the target is not left to httpx: it collapses what it takes for dot segments."""
    assert httpx.URL("https://h/api/v1/namespaces/a/pods/../../b/secrets").raw_path == b"/api/v1/namespaces/b/secrets"
