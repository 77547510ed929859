"""Only public asymmetric keys made for signatures are kept, each for the algorithms of its type."""

import pytest

from proxy.authn.signing_keys import MAX_KEYS, RSA_ALGORITHMS, SigningKeys, parse_signing_keys
from tests.support.credentials import TokenSigner, jwk_set

EC = TokenSigner("ec")
RSA = TokenSigner("rsa", kind="RSA")


def algorithms(keys: SigningKeys, key_id: str | None) -> set[str]:
    every = (*RSA_ALGORITHMS, "ES256", "ES384", "ES512", "HS256", "HS512", "none", "EdDSA")
    return {algorithm for algorithm in every if any(keys.candidates(key_id, algorithm))}


def test_key_without_alg_serves_every_algorithm_of_its_type() -> None:
    keys = parse_signing_keys(jwk_set(EC.jwk(), RSA.jwk()))
    assert algorithms(keys, "ec") == {"ES256"}
    assert algorithms(keys, "rsa") == set(RSA_ALGORITHMS)


def test_key_with_alg_serves_that_one_only() -> None:
    assert algorithms(parse_signing_keys(jwk_set(RSA.jwk(alg="PS512"))), "rsa") == {"PS512"}


def test_token_without_kid_tries_every_key_and_one_with_kid_only_keys_of_that_name() -> None:
    keys = parse_signing_keys(jwk_set(RSA.jwk(kid="a"), RSA.jwk(kid="b"), RSA.jwk(kid=None), RSA.jwk(kid="a")))
    assert [key.key_id for key in keys.candidates(None, "RS256")] == ["a", "b", None, "a"]
    assert [key.key_id for key in keys.candidates("a", "RS256")] == ["a", "a"]
    assert not keys.has_key_id("c")


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I", "kid": "x"}, id="symmetric"),
        pytest.param(EC.jwk(use="enc"), id="for encryption"),
        pytest.param(EC.jwk(key_ops=["encrypt"]), id="not to verify"),
        pytest.param(EC.jwk(key_ops="verify"), id="key_ops no list"),
        pytest.param(EC.private_jwk(), id="private"),
        pytest.param(EC.jwk(alg="RS256"), id="algorithm of another type"),
        pytest.param(RSA.jwk(alg="HS256"), id="public key as HMAC secret"),
        pytest.param(EC.jwk(crv="P-384"), id="point of another curve"),
        pytest.param(EC.jwk(crv=["P-256"]), id="curve no text"),
        pytest.param(EC.jwk(x="AAAA"), id="point not on the curve"),
        pytest.param(EC.jwk(x=7), id="coordinate no text"),
        pytest.param(RSA.jwk(n=None), id="no modulus"),
        pytest.param(RSA.jwk(kid=7), id="kid no text"),
        pytest.param(TokenSigner("weak", kind="RSA", bits=1024).jwk(), id="RSA too short"),
        pytest.param({"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}, id="algorithm upstream does not allow"),
    ],
)
def test_unusable_key_is_dropped_and_others_stay(bad: dict[str, object]) -> None:
    keys = parse_signing_keys(jwk_set(bad, EC.jwk(kid="good")))
    assert [key.key_id for algorithm in (*RSA_ALGORITHMS, "ES256") for key in keys.candidates(None, algorithm)] == [
        "good"
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": null}',
        b'{"keys": {}}',
        b'{"keys": []}',
        b'{"keys": [7, null, "x"]}',
        b'{"keys": [{"kty": "oct", "k": "AAAA"}]}',
        jwk_set(*[EC.jwk()] * (MAX_KEYS + 1)),
    ],
)
def test_set_without_a_usable_key_or_with_too_many_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError):
        parse_signing_keys(content)
