"""What holds for every request target: the parse agrees with upstream's, and survives being sent on."""

import string
from urllib.parse import quote, unquote

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.api.query import Query
from proxy.api.request_target import ParsedRequest, canonical_target, parse_request
from proxy.api.status import BadRequest, StatusError
from tests.spec.request_info import request_info

METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
ROOTS = st.sampled_from(["", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/version", "/api/v1/proxy"])
WORDS = st.sampled_from(["namespaces", "pods", "a", "status", "finalize", "log", "proxy", "exec", "watch", "x:y", "ß"])
NAMES = st.text("ab.:;+ ?#&=é€😀", min_size=1, max_size=6)
TEXTS = st.text("aé%&=+ ;\\\x00😀", max_size=4)
SEGMENTS = (WORDS | NAMES).filter(lambda segment: segment not in (".", ".."))
FIELD_SELECTORS = st.lists(
    st.sampled_from(["metadata.name=p", "metadata.name==z", "metadata.name!=p", "spec.x=1", "metadata.name=..", ""]),
    max_size=3,
).map(",".join)
OPTIONS = {
    "watch": st.sampled_from(["", "1", "0", "true", "FALSE", "no"]),
    "fieldSelector": FIELD_SELECTORS,
    "labelSelector": st.sampled_from(["", "a=b", "a in (b, c)", "!a"]),
    "limit": st.sampled_from(["5", "x", "+1"]),
    "timeoutSeconds": st.sampled_from(["5", "1_0"]),
    "pretty": st.sampled_from(["1", "0"]),
    "dryRun": st.just("All"),
    "unknown": st.text("aé%&=+ \\", max_size=3),
}


@st.composite
def targets(draw: st.DrawFn) -> bytes:
    """Targets as clients write them: encoded here and there more than needed, never less."""
    segments = draw(st.lists(SEGMENTS, max_size=5))
    safe = draw(st.sampled_from(["", ":@!$&'()*,=+~"]))
    path = draw(ROOTS) + "".join("/" + quote(segment, safe=safe) for segment in segments)
    path += draw(st.sampled_from(["", "/"])) if path else "/"
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS)), unique=True, max_size=4))
    query = "&".join(f"{name}={quote(draw(OPTIONS[name]), safe=safe.replace('&', ''))}" for name in names)
    return (path + ("?" + query if query else "")).encode()


@given(METHODS, targets())
@example("GET", b"/api/v1/pods?fieldSelector=metadata.name%3D%3Dz,metadata.name%3Dc")
@example("GET", b"/api/v1/namespaces/a/services/s/proxy/")
def test_what_is_sent_on_is_parsed_to_the_same_request(method: str, target: bytes) -> None:
    parsed = _parsed(method, target)
    if parsed is not None:
        assert parse_request(method, canonical_target(parsed.info, parsed.query)) == parsed


@given(METHODS, targets())
@example("GET", b"/api/v1/namespaces/status")
@example("DELETE", b"/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dp")
def test_an_accepted_target_is_understood_as_upstream_understands_it(method: str, target: bytes) -> None:
    parsed = _parsed(method, target)
    if parsed is None:
        return
    path, _, query = target.decode().partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    expected = request_info(
        method, unquote(path), [(_form_decoded(name), _form_decoded(value)) for name, _, value in pairs]
    )
    facts = msgspec.structs.asdict(parsed.info)
    assert {name: facts[name] for name in expected} == expected


@given(METHODS, targets())
def test_the_canonical_target_has_nothing_that_another_parser_could_read_differently(
    method: str, target: bytes
) -> None:
    parsed = _parsed(method, target)
    if parsed is None:
        return
    canonical = canonical_target(parsed.info, parsed.query).decode()
    assert set(canonical) <= set(string.ascii_letters + string.digits + "-._~%/?&=")
    path, _, query = canonical.partition("?")
    segments = [unquote(segment) for segment in path.split("/")[1:]]
    assert not {".", ".."} & set(segments)
    assert "" not in segments[:-1]
    names = [pair.split("=")[0] for pair in query.split("&") if pair]
    assert len([name for name in names if name != "dryRun"]) == len({name for name in names if name != "dryRun"})


@given(st.sampled_from(["GET", "POST", "get", "FOO"]), st.text("/apiv1%25eF.;&?=#\\ \x00w", max_size=30))
def test_no_target_makes_the_parser_fail_in_another_way_than_a_status(method: str, target: str) -> None:
    try:
        parse_request(method, b"/" + target.encode())
    except StatusError as error:
        assert 400 <= error.code < 500


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=4))
def test_a_query_survives_encoding_whatever_its_text(pairs: list[tuple[str, str]]) -> None:
    target = canonical_target(parse_request("GET", b"/api/v1/nodes/n/proxy").info, Query(tuple(pairs)))
    assert parse_request("GET", target).query == Query(tuple(pairs))


def _parsed(method: str, target: bytes) -> ParsedRequest | None:
    try:
        return parse_request(method, target)
    except BadRequest:
        return None


def _form_decoded(text: str) -> str:
    return unquote(text.replace("+", " "))
