"""Only the issuer's own signature, for us, in its time, makes a user of a token. The tests try to get in otherwise."""

import hmac
import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from proxy.authn.authentication_config import Issuer, JwtAuthenticator, PrefixedClaim
from proxy.authn.bearer_token import MAX_TOKEN_BYTES
from proxy.authn.issuer_tokens import IssuerTokens
from proxy.authn.jwt_verifier import JwtVerifier
from proxy.authn.outcome import Authenticated, KeyMissing, RefusalKind, Refused
from proxy.authn.signing_keys import SigningKeys, parse_signing_keys
from tests.support.credentials import NOW, TokenSigner, encode, jwk_set

ISSUER = "https://issuer.example"
OTHER = "https://other.example"
CONFIG = JwtAuthenticator(
    issuer=Issuer(url=ISSUER, discovery_url="", certificate_authority="", audiences=("us", "them")),
    username=PrefixedClaim("sub", "oidc:"),
    groups=PrefixedClaim("groups", "oidc:"),
    uid_claim=None,
    required_claims=(),
)
OTHER_CONFIG = replace(CONFIG, issuer=replace(CONFIG.issuer, url=OTHER), username=PrefixedClaim("sub", "other:"))
SIGNER = TokenSigner("k1")
RSA = TokenSigner("rsa", kind="RSA")
OTHER_SIGNER = TokenSigner("k1")
KEYS = {
    ISSUER: parse_signing_keys(jwk_set(SIGNER.jwk(), RSA.jwk())),
    OTHER: parse_signing_keys(jwk_set(OTHER_SIGNER.jwk())),
}
CLAIMS = {"iss": ISSUER, "sub": "alice", "aud": "us", "exp": int(NOW) + 600}

Outcome = Authenticated | Refused | KeyMissing


def new_verifier() -> JwtVerifier:
    return JwtVerifier({each.issuer.url: IssuerTokens(each) for each in (CONFIG, OTHER_CONFIG)})


def verify(token: bytes, *, keys: dict[str, SigningKeys] = KEYS, now: float = NOW) -> Outcome:
    return new_verifier().verify(token, keys, now)


def claims(**changes: Any) -> dict[str, Any]:
    """CLAIMS with changes; None removes one."""
    return {name: value for name, value in (CLAIMS | changes).items() if value is not None}


def refused(kind: RefusalKind) -> Refused:
    return Refused(kind)


def test_token_of_the_issuer_is_its_user_until_it_ends() -> None:
    outcome = verify(SIGNER.token(claims(groups=["a", "b"], jti="7")))
    assert isinstance(outcome, Authenticated)
    assert (outcome.user.name, outcome.user.groups) == ("oidc:alice", ("oidc:a", "oidc:b"))
    assert outcome.user.extra_values("authentication.kubernetes.io/credential-id") == ("JTI=7",)
    assert outcome.expires_at == NOW + 600


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256"])
def test_rsa_key_without_alg_verifies_every_rsa_algorithm(algorithm: str) -> None:
    assert isinstance(verify(RSA.token(CLAIMS, alg=algorithm)), Authenticated)


def test_token_without_kid_is_tried_against_every_key() -> None:
    assert isinstance(verify(RSA.token(CLAIMS, kid=None)), Authenticated)
    assert isinstance(verify(SIGNER.token(CLAIMS, kid=None)), Authenticated)


# ---- signature and algorithm


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", "HS256", "HS512", "EdDSA", "es256", ["ES256"], 7, None]
)
def test_algorithm_outside_the_allow_list_is_refused(algorithm: object) -> None:
    assert verify(SIGNER.token(CLAIMS, alg=algorithm)) == refused(RefusalKind.BEARER_ALGORITHM)


def test_unsigned_token_is_refused() -> None:
    head, payload = encode(b'{"alg":"none"}'), encode(json.dumps(CLAIMS).encode())
    assert verify(head + b"." + payload + b".") == refused(RefusalKind.BEARER_UNKNOWN)


def test_public_key_is_no_hmac_secret() -> None:
    pem = RSA.key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = encode(b'{"alg":"HS256","kid":"rsa"}') + b"." + encode(json.dumps(CLAIMS).encode())
    token = signed + b"." + encode(hmac.digest(pem, signed, "sha256"))
    assert verify(token) == refused(RefusalKind.BEARER_ALGORITHM)


def test_algorithm_of_another_key_type_is_refused() -> None:
    assert verify(SIGNER.token(CLAIMS, alg="RS256")) == refused(RefusalKind.BEARER_SIGNATURE)


def test_signature_of_another_key_with_the_same_kid_is_refused() -> None:
    assert verify(OTHER_SIGNER.token(CLAIMS)) == refused(RefusalKind.BEARER_SIGNATURE)


def test_one_issuer_cannot_sign_for_another() -> None:
    assert verify(OTHER_SIGNER.token(claims(iss=ISSUER))) == refused(RefusalKind.BEARER_SIGNATURE)
    assert verify(OTHER_SIGNER.token(claims(iss=ISSUER), kid=None)) == refused(RefusalKind.BEARER_SIGNATURE)
    assert verify(SIGNER.token(claims(iss=OTHER))) == refused(RefusalKind.BEARER_SIGNATURE)


def test_key_in_the_header_is_never_used() -> None:
    evil = TokenSigner("k1")
    token = evil.token(CLAIMS, jwk=evil.jwk(), jku="https://evil.example/jwks", x5u="https://evil.example")
    assert verify(token) == refused(RefusalKind.BEARER_SIGNATURE)


@pytest.mark.parametrize(
    "extension", [{"crit": ["b64"], "b64": True}, {"crit": []}, {"crit": ["x"], "x": 1}, {"b64": False}, {"b64": True}]
)
def test_header_extensions_are_refused(extension: dict[str, object]) -> None:
    assert verify(SIGNER.token(CLAIMS, **extension)) == refused(RefusalKind.BEARER_MALFORMED)


# ---- kid


@pytest.mark.parametrize("key_id", ["k2", "../../etc/passwd", "K1", "k1 ", "", "\ud800"])
def test_unknown_kid_asks_for_newer_keys_and_tries_no_other_key(key_id: str) -> None:
    assert verify(SIGNER.token(CLAIMS, kid=key_id)) == KeyMissing(ISSUER, key_id)


@pytest.mark.parametrize("key_id", [7, True, ["k1"], {"k1": 1}, "k" * 257])
def test_kid_that_is_no_name_is_refused(key_id: object) -> None:
    assert verify(SIGNER.token(CLAIMS, kid=key_id)) == refused(RefusalKind.BEARER_MALFORMED)


def test_key_without_kid_does_not_answer_to_a_named_one() -> None:
    keys = {ISSUER: parse_signing_keys(jwk_set(SIGNER.jwk(kid=None)))}
    assert verify(SIGNER.token(CLAIMS), keys=keys) == KeyMissing(ISSUER, "k1")


# ---- issuer


@pytest.mark.parametrize(
    "issuer", [ISSUER + "/", ISSUER.upper(), "http://issuer.example", "https://issuer.example.evil", ""]
)
def test_issuer_that_is_not_configured_letter_by_letter_is_refused(issuer: str) -> None:
    assert verify(SIGNER.token(claims(iss=issuer))) == refused(RefusalKind.BEARER_UNKNOWN)


@pytest.mark.parametrize("issuer", [None, 7, [ISSUER], {"x": ISSUER}])
def test_issuer_that_is_no_text_is_refused(issuer: object) -> None:
    assert verify(SIGNER.token(claims(iss=issuer))) == refused(RefusalKind.BEARER_MALFORMED)


def test_token_is_refused_while_the_keys_of_its_issuer_are_not_fetched() -> None:
    assert verify(SIGNER.token(CLAIMS), keys={OTHER: KEYS[OTHER]}) == refused(RefusalKind.BEARER_ISSUER_NOT_READY)


# ---- times


@pytest.mark.parametrize("expiry", [NOW, NOW - 0.5, NOW - 1, 0, 1])
def test_expiry_has_no_leeway(expiry: float) -> None:
    assert verify(SIGNER.token(claims(exp=expiry))) == refused(RefusalKind.BEARER_EXPIRED)


def test_fraction_of_a_second_before_expiry_is_in_time() -> None:
    assert isinstance(verify(SIGNER.token(claims(exp=NOW + 0.25))), Authenticated)


@pytest.mark.parametrize(
    "expiry", [None, True, "1900000000", [1900000000], {}, -1, 10**30, 10**400, 1e300, 253402300800]
)
def test_expiry_that_is_no_date_is_refused(expiry: object) -> None:
    assert verify(SIGNER.token(claims(exp=expiry))) == refused(RefusalKind.BEARER_CLAIMS)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000])
def test_number_that_json_or_python_does_not_have_is_refused(number: bytes) -> None:
    payload = json.dumps(claims(exp=None)).encode()[:-1] + b', "exp": ' + number + b"}"
    assert verify(SIGNER.token(payload)) == refused(RefusalKind.BEARER_MALFORMED)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_begin_has_a_minute_of_leeway(claim: str) -> None:
    assert isinstance(verify(SIGNER.token(claims(**{claim: NOW + 60}))), Authenticated)
    assert verify(SIGNER.token(claims(**{claim: NOW + 61}))) == refused(RefusalKind.BEARER_NOT_YET_VALID)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize("value", [True, "1", [], -1])
def test_begin_that_is_no_date_is_refused(claim: str, value: object) -> None:
    assert verify(SIGNER.token(claims(**{claim: value}))) == refused(RefusalKind.BEARER_CLAIMS)


# ---- audience and subject


@pytest.mark.parametrize("audience", ["us", "them", ["x", "us"], ["us", "them"]])
def test_token_for_any_of_our_audiences_is_for_us(audience: object) -> None:
    assert isinstance(verify(SIGNER.token(claims(aud=audience))), Authenticated)


@pytest.mark.parametrize("audience", [None, "", "US", "us,them", [], ["x"], [["us"]], ["us", 7], {"us": 1}, 7, True])
def test_token_for_others_is_refused(audience: object) -> None:
    assert verify(SIGNER.token(claims(aud=audience))) == refused(RefusalKind.BEARER_AUDIENCE)


@pytest.mark.parametrize("subject", [None, "", 7, ["alice"], True])
def test_token_without_a_subject_is_refused(subject: object) -> None:
    assert verify(SIGNER.token(claims(sub=subject))) == refused(RefusalKind.BEARER_CLAIMS)


def test_user_that_the_claims_may_not_name_is_refused() -> None:
    assert verify(SIGNER.token(claims(groups=[7]))) == refused(RefusalKind.BEARER_CLAIMS)


# ---- form


def test_claim_given_twice_is_refused() -> None:
    payload = json.dumps(CLAIMS).encode()[:-1] + b', "sub": "admin"}'
    assert verify(SIGNER.token(payload)) == refused(RefusalKind.BEARER_MALFORMED)


def test_header_given_twice_is_refused() -> None:
    token = SIGNER.raw_token(b'{"alg":"none","alg":"ES256","kid":"k1"}', json.dumps(CLAIMS).encode())
    assert verify(token) == refused(RefusalKind.BEARER_MALFORMED)


def test_nesting_beyond_reason_is_refused() -> None:
    payload = json.dumps(CLAIMS).encode()[:-1] + b', "x": ' + b"[" * 2800 + b"]" * 2800 + b"}"
    assert verify(SIGNER.token(payload)) == refused(RefusalKind.BEARER_MALFORMED)


@pytest.mark.parametrize("payload", [b"[]", b'"x"', b"7", b"null", b"", b"\xff"])
def test_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    assert isinstance(verify(SIGNER.token(payload)), Refused)


def test_token_at_the_bound_is_read_and_one_beyond_is_not() -> None:
    base = SIGNER.token(claims(pad=""))
    room = (MAX_TOKEN_BYTES - len(base)) * 3 // 4
    at = next(t for n in range(room, 0, -1) if len(t := SIGNER.token(claims(pad="x" * n))) <= MAX_TOKEN_BYTES)
    beyond = next(t for n in range(room, room + 9) if len(t := SIGNER.token(claims(pad="x" * n))) > MAX_TOKEN_BYTES)
    assert isinstance(verify(at), Authenticated)
    assert verify(beyond) == refused(RefusalKind.BEARER_UNKNOWN)


GOOD = SIGNER.token(CLAIMS)


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b".",
        b"..",
        b"a.b",
        b"a.b.c.d",
        GOOD + b".",
        GOOD + b"=",
        b" " + GOOD,
        GOOD + b"\n",
        GOOD.replace(b".", b"..", 1),
    ],
)
def test_what_is_no_compact_jws_is_refused(token: bytes) -> None:
    assert verify(token) == refused(RefusalKind.BEARER_UNKNOWN)


def test_signature_is_accepted_in_one_spelling_only() -> None:
    """The last character of 64 bytes in base64url carries four idle bits; set, they make another token."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    respelled = GOOD[:-1] + bytes([alphabet[alphabet.index(GOOD[-1:]) ^ 1]])
    assert verify(respelled) == refused(RefusalKind.BEARER_SIGNATURE)


@given(position=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255))
def test_a_token_changed_in_any_byte_is_refused_without_raising(position: int, value: int) -> None:
    changed = GOOD[:position] + bytes([value]) + GOOD[position + 1 :]
    assert not isinstance(verify(changed), Authenticated) or changed == GOOD


@given(header=st.binary(max_size=60), payload=st.binary(max_size=60))
def test_any_signed_bytes_are_answered_without_raising(header: bytes, payload: bytes) -> None:
    assert isinstance(verify(SIGNER.raw_token(header, payload)), Refused)


# ---- the cache of verified tokens


def test_known_token_ends_at_its_expiry() -> None:
    verifier = new_verifier()
    assert isinstance(verifier.verify(GOOD, KEYS, NOW), Authenticated)
    assert isinstance(verifier.verify(GOOD, KEYS, NOW + 599), Authenticated)
    assert verifier.verify(GOOD, KEYS, NOW + 600) == refused(RefusalKind.BEARER_EXPIRED)


def test_known_token_ends_with_the_key_that_signed_it() -> None:
    """An issuer that withdraws a key withdraws its tokens, seen or not."""
    verifier = new_verifier()
    assert isinstance(verifier.verify(GOOD, KEYS, NOW), Authenticated)
    rotated = {ISSUER: parse_signing_keys(jwk_set(RSA.jwk()))}
    assert verifier.verify(GOOD, rotated, NOW) == KeyMissing(ISSUER, "k1")
    assert verifier.verify(GOOD, {}, NOW) == refused(RefusalKind.BEARER_ISSUER_NOT_READY)


def test_known_token_is_found_by_all_of_its_bytes() -> None:
    verifier = new_verifier()
    assert isinstance(verifier.verify(GOOD, KEYS, NOW), Authenticated)
    assert sha256(GOOD).digest() != sha256(GOOD[:-2] + b"AA").digest()
    assert verifier.verify(GOOD[:-2] + b"AA", KEYS, NOW) == refused(RefusalKind.BEARER_SIGNATURE)
