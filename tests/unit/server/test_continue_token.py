"""Continue tokens: opaque, and good for one caller, one request and one scope."""

from __future__ import annotations

import base64

import pytest

from proxy.api.selectors import parse_field_selector, parse_label_selector
from proxy.api.status import BadRequest, Expired
from proxy.authz.scope import EVERYTHING, NOTHING, Grant, Scope
from proxy.policy.namespace_set import NamespaceSet
from proxy.server.continue_token import KEY_BYTES, ContinueTokens, Position, is_ours, scope_digest

TOKENS = ContinueTokens(bytes(KEY_BYTES))
NONCE = b"n" * 12
BOUND = b"alice lists pods"


def position(scope: Scope = EVERYTHING) -> Position:
    return Position(
        rv="40",
        part="team-a",
        upstream_token="eyJzdGFydCI6InNlY3JldCJ9",
        last_namespace="team-a",
        last_name="visible",
        scope=scope_digest(scope),
    )


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def test_a_token_opens_to_the_position_it_was_made_of() -> None:
    token = TOKENS.seal(position(), BOUND, NONCE)
    assert TOKENS.open(token, BOUND, EVERYTHING) == position()


def test_a_token_goes_into_a_url_as_it_is() -> None:
    assert set(TOKENS.seal(position(), BOUND, bytes(range(240, 252)))) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


def test_nothing_of_it_can_be_read() -> None:
    inside = raw(TOKENS.seal(position(), BOUND, NONCE))
    for text in (b"team-a", b"visible", b"eyJzdGFydCI6", b"40"):
        assert text not in inside


@pytest.mark.parametrize("bound_to", [b"", b"bob lists pods", b"alice lists pods ", b"alice lists secrets"])
def test_a_token_of_another_caller_or_request_is_refused(bound_to: bytes) -> None:
    with pytest.raises(BadRequest):
        TOKENS.open(TOKENS.seal(position(), BOUND, NONCE), bound_to, EVERYTHING)


def test_a_token_of_another_key_has_expired() -> None:
    """The proxy was started anew, or another replica made it: 410 has clients begin a new list."""
    with pytest.raises(Expired):
        ContinueTokens(b"k" * KEY_BYTES).open(TOKENS.seal(position(), BOUND, NONCE), BOUND, EVERYTHING)


def test_a_token_of_the_api_server_has_expired() -> None:
    """It was handed to a caller who saw everything then."""
    token = unpadded(b'{"v":"meta.k8s.io/v1","rv":40,"start":"team-a/visible\\u0000"}')
    assert not is_ours(token)
    with pytest.raises(Expired):
        TOKENS.open(token, BOUND, EVERYTHING)


def test_tokens_are_told_from_others_whatever_their_key() -> None:
    assert is_ours(ContinueTokens(b"k" * KEY_BYTES).seal(position(), BOUND, NONCE))
    assert not any(map(is_ours, ["", "x", "....", "ü", "a" * 5000, unpadded(b"{}")]))


def test_no_bit_of_a_token_can_be_changed() -> None:
    inside = raw(TOKENS.seal(position(), BOUND, NONCE))
    for index in range(len(inside)):
        changed = inside[:index] + bytes([inside[index] ^ 1]) + inside[index + 1 :]
        names_another_key = 1 <= index <= 4
        with pytest.raises(Expired if names_another_key else BadRequest):
            TOKENS.open(unpadded(changed), BOUND, EVERYTHING)
        with pytest.raises((BadRequest, Expired)):
            TOKENS.open(unpadded(inside[:index]), BOUND, EVERYTHING)


@pytest.mark.parametrize(
    "token", ["x", "....", "ü", "a" * 5000, unpadded(b""), unpadded(b"n" * 12), unpadded(b"n" * 200), "AAAA=AAAA", " "]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(BadRequest):
        TOKENS.open(token, BOUND, EVERYTHING)


def grant(**conditions: object) -> Grant:
    whole: dict[str, object] = {
        "namespaces": None, "names": None, "field_selector": None, "label_selector": None, **conditions
    }  # fmt: skip
    return Grant(**whole)  # type: ignore[arg-type]


SCOPES = [
    EVERYTHING,
    NOTHING,
    *(
        Scope(False, frozenset({grant(**conditions)}))
        for conditions in (
            {"namespaces": NamespaceSet(frozenset({"a", "b"}))},
            {"namespaces": NamespaceSet(frozenset({"a,b"}))},
            {"namespaces": NamespaceSet(frozenset({"a"}), frozenset({"b"}))},
            {"namespaces": NamespaceSet(frozenset(), frozenset({"a", "b"}))},
            {"names": frozenset({"a", "b"})},
            {"names": frozenset({"a"})},
            {"field_selector": parse_field_selector("a=b")},
            {"field_selector": parse_field_selector("a!=b")},
            {"label_selector": parse_label_selector("a=b")},
            {"label_selector": parse_label_selector("a")},
        )
    ),
]


def test_different_scopes_have_different_digests() -> None:
    assert len({scope_digest(scope) for scope in SCOPES}) == len(SCOPES)


def test_the_digest_does_not_depend_on_the_order_in_which_a_scope_was_built() -> None:
    names = [f"n{number}" for number in range(50)]
    one = grant(namespaces=NamespaceSet(frozenset(names)), names=frozenset(names))
    same = grant(namespaces=NamespaceSet(frozenset(reversed(names))), names=frozenset(reversed(names)))
    other = grant(names=frozenset({"z"}))
    assert scope_digest(Scope(False, frozenset([one, other]))) == scope_digest(Scope(False, frozenset([other, same])))


def test_a_token_that_was_made_under_another_scope_has_expired() -> None:
    for scope in SCOPES[1:]:
        with pytest.raises(Expired):
            TOKENS.open(TOKENS.seal(position(), BOUND, NONCE), BOUND, scope)
