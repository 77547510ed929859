"""The rows of upstream's RequestInfo, and every target that is refused because it could be read in two ways."""

import pytest

from proxy.api.request_info import RequestInfo
from proxy.api.request_target import MAX_TARGET_BYTES, canonical_target, parse_request
from proxy.api.status import BadRequest, MethodNotAllowed, StatusError, TargetTooLong


def info(target: str, method: str = "GET") -> RequestInfo:
    return parse_request(method, target.encode()).info


def row(target: str, method: str = "GET") -> tuple[str, str, str, str, str]:
    """(verb, namespace, resource, name, subresource) of a resource request."""
    found = info(target, method)
    assert found.is_resource_request
    return (found.verb, found.namespace, found.resource, found.name, found.subresource)


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        ("GET /api/v1/pods", ("list", "", "pods", "", "")),
        ("GET /api/v1/pods?watch=1", ("watch", "", "pods", "", "")),
        ("GET /api/v1/namespaces/a/pods/p?watch=1", ("get", "a", "pods", "p", "")),
        ("HEAD /api/v1/pods", ("list", "", "pods", "", "")),
        ("HEAD /api/v1/namespaces/a/pods/p", ("get", "a", "pods", "p", "")),
        ("DELETE /api/v1/namespaces/a/pods", ("deletecollection", "a", "pods", "", "")),
        ("DELETE /api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dp", ("deletecollection", "a", "pods", "", "")),
        ("DELETE /api/v1/namespaces/a/pods/p", ("delete", "a", "pods", "p", "")),
        ("GET /api/v1/namespaces/a/pods/", ("list", "a", "pods", "", "")),
        ("POST /api/v1/namespaces/a/pods?watch=1", ("create", "a", "pods", "", "")),
        ("PUT /api/v1/namespaces/a/pods/p/status", ("update", "a", "pods", "p", "status")),
        ("PATCH /apis/apps/v1/namespaces/a/deployments/d/scale", ("patch", "a", "deployments", "d", "scale")),
        ("OPTIONS /api/v1/pods", ("", "", "pods", "", "")),
        ("GET /api/v1/namespaces", ("list", "", "namespaces", "", "")),
        ("GET /api/v1/namespaces/a", ("get", "a", "namespaces", "a", "")),
        ("GET /api/v1/namespaces/a/status", ("get", "a", "namespaces", "a", "status")),
        ("PUT /api/v1/namespaces/a/finalize", ("update", "a", "namespaces", "a", "finalize")),
        ("GET /api/v1/namespaces/status", ("get", "status", "namespaces", "status", "")),
        ("GET /api/v1/namespaces/a/namespaces/b", ("get", "a", "namespaces", "b", "")),
        ("GET /api/v1/namespaces/a/watch/pods", ("get", "a", "watch", "pods", "")),
        ("GET /api/v1/namespaces/a/pods/p/proxy/any/thing", ("get", "a", "pods", "p", "proxy")),
        ("GET /api/v1/proxy/namespaces/a/pods/p/x", ("proxy", "a", "pods", "p", "")),
        ("GET /apis/example.com/v1/things", ("list", "", "things", "", "")),
        ("GET /api/v1/%70ods", ("list", "", "pods", "", "")),
        ("GET /apis/rbac.authorization.k8s.io/v1/clusterroles/a:b", ("get", "", "clusterroles", "a:b", "")),
    ],
)
def test_a_resource_request_has_upstreams_attributes(request_line: str, expected: tuple[str, ...]) -> None:
    method, _, target = request_line.partition(" ")
    assert row(target, method) == expected


@pytest.mark.parametrize(
    ("query", "verb", "name"),
    [
        ("watch", "watch", ""),
        ("watch=", "watch", ""),
        ("watch=no", "watch", ""),
        ("%77atch=1", "watch", ""),
        ("watch=0", "list", ""),
        ("watch=FALSE", "list", ""),
        ("watch=fal%C5%BFe", "list", ""),
        ("Watch=1", "list", ""),
        ("fieldSelector=metadata.name%3Dp", "list", "p"),
        ("fieldSelector=metadata.name%3D%3Dp&watch=1", "watch", "p"),
        ("fieldSelector=spec.x%3Dy%2Cmetadata.name%3Dp", "list", "p"),
        ("fieldSelector=metadata.name%3Dc%2Cmetadata.name%3D%3Dz", "list", "z"),
        ("fieldSelector=metadata.name!%3Dp", "list", ""),
        ("fieldSelector=metadata.name%3D..", "list", ""),
        ("fieldSelector=metadata.name%3Da%2Fb", "list", ""),
        ("fieldSelector=metadata.name%3Da%2525", "list", ""),
        ("fieldSelector=metadata.name%3Dp&limit=x", "list", ""),
        ("watch=1&labelSelector=%28", "watch", ""),
        ("watch=false&limit=x", "list", ""),
    ],
)
def test_the_query_of_a_collection_decides_verb_and_name(query: str, verb: str, name: str) -> None:
    """Options that cannot be decoded are answered 400 after authorization; until then `watch` alone counts."""
    assert row(f"/api/v1/pods?{query}") == (verb, "", "pods", name, "")


@pytest.mark.parametrize(
    ("request_line", "verb", "path"),
    [
        ("GET /", "get", "/"),
        ("GET /api", "get", "/api"),
        ("HEAD /api", "head", "/api"),
        ("GET /api/v1", "get", "/api/v1"),
        ("GET /api/v1/", "get", "/api/v1/"),
        ("GET /apis/apps/v1", "get", "/apis/apps/v1"),
        ("GET /apis/apps/v1/", "get", "/apis/apps/v1/"),
        ("POST /version/", "post", "/version/"),
        ("OPTIONS /healthz", "options", "/healthz"),
        ("GET /openapi/v3/apis/apps/v1?hash=1", "get", "/openapi/v3/apis/apps/v1"),
        ("GET /API/v1/pods", "get", "/API/v1/pods"),
        ("GET /a%20b", "get", "/a b"),
    ],
)
def test_other_paths_are_non_resource_requests_of_the_method(request_line: str, verb: str, path: str) -> None:
    method, _, target = request_line.partition(" ")
    assert info(target, method) == RequestInfo(is_resource_request=False, verb=verb, path=path)


def test_group_and_version_come_from_the_path() -> None:
    core, named = info("/api/v1/pods"), info("/apis/apps/v1/deployments")
    assert (core.api_prefix, core.api_group, core.api_version) == ("api", "", "v1")
    assert (named.api_prefix, named.api_group, named.api_version) == ("apis", "apps", "v1")


@pytest.mark.parametrize(
    "target",
    [
        "",
        "*",
        "api/v1/pods",
        "http://other/api/v1/pods",
        "other:443",
        "//api/v1/pods",
        "/api//v1/pods",
        "/api/v1/namespaces//pods",
        "/api/v1/pods//",
        "/api/v1/./pods",
        "/api/v1/namespaces/a/pods/../../b/secrets",
        "/api/v1/namespaces/a/pods/..",
        "/api/v1/namespaces/a/pods/%2e%2E/secrets",
        "/api/v1/namespaces/a/pods/%2E",
        "/api/v1/namespaces/a/pods/.%2e",
        "/api/v1/namespaces/a%2Fpods",
        "/api/v1/namespaces/a%2fpods",
        "/api/v1/namespaces/a%5Cpods",
        "/api/v1/namespaces/a%5cpods",
        "/api/v1/namespaces/a\\pods",
        "/api/v1/namespaces/a%252Fpods",
        "/api/v1/pods%00",
        "/api/v1/pods%0d%0aHost:x",
        "/api/v1/pods%7f",
        "/api/v1/pods%",
        "/api/v1/pods%4",
        "/api/v1/pods%zz",
        "/api/v1/pods%ff",
        "/api/v1/pods%C0%AFx",
        "/api/v1/pods%ED%A0%80",
        "/api/v1/pods#x",
        "/api/v1/pods?a=b#x",
        "/api/v1/po ds",
        "/api/v1/pods\t",
        "/api/v1/pods\r\nHost: x",
        "/api/v1/pods\0",
        "/api/v1/pods\x7f",
        "/api/v1/pöds",
    ],
)
def test_a_target_that_could_be_read_in_two_ways_is_refused(target: str) -> None:
    with pytest.raises(BadRequest):
        info(target)


@pytest.mark.parametrize(
    "query",
    [
        "watch=1;x=2",
        "x=1;watch=1",
        "watch=%zz",
        "watch=%",
        "%zz=1",
        "labelSelector=%ff",
        "watch=0&watch=1",
        "watch=1&watch=1",
        "watch=1&%77atch=0",
        "fieldSelector=a%3Db&fieldSelector=a%3Dc",
        "limit=1&limit=2",
        "pretty=1&pretty=0",
    ],
)
def test_a_query_that_could_be_read_in_two_ways_is_refused(query: str) -> None:
    with pytest.raises(BadRequest):
        info(f"/api/v1/pods?{query}")


def test_a_list_option_twice_is_refused_where_it_means_nothing_too() -> None:
    with pytest.raises(BadRequest):
        info("/api/v1/namespaces/a/pods/p?watch=0&watch=1")
    with pytest.raises(BadRequest):
        info("/api/v1/namespaces/a/pods?watch=0&watch=1", "POST")


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /api/v1/watch/pods",
        "GET /api/v1/watch/namespaces/a/pods/p",
        "GET /api/v1/watch",
        "DELETE /api/v1/watch/pods",
        "GET /apis/apps/v1/watch/deployments",
        "GET /api/v1/%77atch/pods",
    ],
)
def test_the_watch_prefix_is_refused_and_the_parameter_named(request_line: str) -> None:
    method, _, target = request_line.partition(" ")
    with pytest.raises(BadRequest, match="watch=true"):
        info(target, method)


def test_a_proxy_prefix_with_nothing_behind_it_is_refused() -> None:
    with pytest.raises(BadRequest, match="unable to determine kind and namespace from url"):
        info("/api/v1/proxy")


@pytest.mark.parametrize("method", ["get", "Get", "TRACE", "CONNECT", "LIST", "WATCH", "PROPFIND", "", "GET "])
def test_methods_are_the_seven_that_kubernetes_knows_in_upper_case(method: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        info("/api/v1/pods", method)
    assert caught.value.message == "the server does not allow this method on the requested resource"


def test_the_method_may_come_as_bytes() -> None:
    assert parse_request(b"HEAD", b"/api/v1/pods").method == "HEAD"
    with pytest.raises(MethodNotAllowed):
        parse_request(b"G\xffT", b"/api/v1/pods")


def test_a_target_is_bounded_before_anything_else_is_looked_at() -> None:
    longest = b"/" + b"a" * (MAX_TARGET_BYTES - 1)
    assert parse_request("GET", longest).info.path.encode() == longest
    with pytest.raises(TargetTooLong):
        parse_request("FOO", longest + b"%")


@pytest.mark.parametrize(
    ("target", "canonical"),
    [
        ("/api/v1/%70ods/", "/api/v1/pods"),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/a:b",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/a%3Ab",
        ),
        ("/api/v1/pods?watch&unknown=1", "/api/v1/pods?watch=true"),
        ("/api/v1/pods?sendInitialEvents=no&watch=FALSE", "/api/v1/pods?sendInitialEvents=true&watch=false"),
        ("/api/v1/pods?labelSelector=a+in+(b)", "/api/v1/pods?labelSelector=a%20in%20%28b%29"),
        ("/api/v1/pods?", "/api/v1/pods"),
        ("/api/v1/pods?&&limit=5&", "/api/v1/pods?limit=5"),
        ("/api/v1/pods?limit=5=6", "/api/v1/pods?limit=5%3D6"),
        ("/api/v1/namespaces/a/pods/p%3Fwatch=1", "/api/v1/namespaces/a/pods/p%3Fwatch%3D1"),
        ("/api/v1/namespaces/a/pods/p;v=1", "/api/v1/namespaces/a/pods/p%3Bv%3D1"),
        ("/api/v1/namespaces/a/pods/a+b", "/api/v1/namespaces/a/pods/a%2Bb"),
        ("/version/", "/version/"),
        ("/", "/"),
    ],
)
def test_the_target_sent_on_is_spelled_anew(target: str, canonical: str) -> None:
    parsed = parse_request("GET", target.encode())
    assert canonical_target(parsed.info, parsed.query).decode() == canonical


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_trailing_slash_is_sent_on_only_to_a_proxied_service(slash: str) -> None:
    """Behind a `proxy` subresource it is part of a foreign path; everywhere else it is trimmed."""
    proxied = f"/api/v1/namespaces/a/services/s/proxy{slash}"
    assert canonical_target(info(proxied), parse_request("GET", proxied.encode()).query).decode() == proxied
    log = f"/api/v1/namespaces/a/pods/p/log{slash}"
    assert info(log).path == "/api/v1/namespaces/a/pods/p/log"


def test_refusals_are_client_errors_that_do_not_repeat_the_target() -> None:
    with pytest.raises(StatusError) as caught:
        info("/api/v1/<script>\\")
    assert caught.value.code == 400
    assert "script" not in caught.value.message
