"""A service account's token is its user as the API server sees it, or nobody. The tests try to get in otherwise."""

import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from proxy.authn.jwt_verifier import ENDLESS_TOKEN_SECONDS, JwtVerifier
from proxy.authn.outcome import Authenticated, KeyMissing, RefusalKind, Refused
from proxy.authn.service_account_tokens import LEGACY_ISSUER, BoundTokens, LegacyTokens
from proxy.authn.signing_keys import SigningKeys, parse_signing_keys
from proxy.authn.user import User
from tests.support.credentials import NOW, TokenSigner, encode, jwk_set

ISSUER = "https://kubernetes.default.svc"
OLD_ISSUER = "https://old.example"
SIGNER = TokenSigner("k1", kind="RSA")
OTHER_CLUSTER = TokenSigner("k1", kind="RSA")
KEYS = dict.fromkeys((ISSUER, OLD_ISSUER, LEGACY_ISSUER), parse_signing_keys(jwk_set(SIGNER.jwk(alg="RS256"))))

BOUND = {
    "iss": ISSUER,
    "sub": "system:serviceaccount:team-a:builder",
    "aud": [ISSUER],
    "exp": int(NOW) + 600,
    "iat": int(NOW),
    "nbf": int(NOW),
    "jti": "7a1b",
    "kubernetes.io": {"namespace": "team-a", "serviceaccount": {"name": "builder", "uid": "uid-1"}},
}
LEGACY = {
    "iss": LEGACY_ISSUER,
    "sub": "system:serviceaccount:team-a:builder",
    "kubernetes.io/serviceaccount/namespace": "team-a",
    "kubernetes.io/serviceaccount/secret.name": "builder-token",
    "kubernetes.io/serviceaccount/service-account.name": "builder",
    "kubernetes.io/serviceaccount/service-account.uid": "uid-1",
}
POD, NODE = {"name": "web", "uid": "pod-uid"}, {"name": "n1", "uid": "node-uid"}

Outcome = Authenticated | Refused | KeyMissing


def verifier() -> JwtVerifier:
    return JwtVerifier({ISSUER: BoundTokens(), OLD_ISSUER: BoundTokens(), LEGACY_ISSUER: LegacyTokens()})


def verify(token: bytes, *, keys: dict[str, SigningKeys] = KEYS, now: float = NOW) -> Outcome:
    return verifier().verify(token, keys, now)


def claims(base: dict[str, Any] = BOUND, **changes: Any) -> dict[str, Any]:
    """Claims with changes; None removes one."""
    return {name: value for name, value in (base | changes).items() if value is not None}


def private(**changes: Any) -> dict[str, Any]:
    """The claims with changes in `kubernetes.io`; None removes a member."""
    return claims(**{"kubernetes.io": claims(BOUND["kubernetes.io"], **changes)})  # type: ignore[arg-type]


def refusal(payload: dict[str, Any], **header: object) -> RefusalKind:
    outcome = verify(SIGNER.token(payload, **header))
    assert isinstance(outcome, Refused)
    return outcome.kind


def user(token: bytes) -> User:
    outcome = verify(token)
    assert isinstance(outcome, Authenticated)
    return outcome.user


def test_bound_token_is_its_service_account_until_it_ends() -> None:
    assert verify(SIGNER.token(BOUND)) == Authenticated(
        User(
            name="system:serviceaccount:team-a:builder",
            uid="uid-1",
            groups=("system:serviceaccounts", "system:serviceaccounts:team-a"),
            extra=(("authentication.kubernetes.io/credential-id", ("JTI=7a1b",)),),
        ),
        expires_at=NOW + 600,
        audiences=(ISSUER,),
    )


def test_what_a_token_is_bound_to_is_in_extra() -> None:
    assert user(SIGNER.token(private(pod=POD, node=NODE))).extra == (
        ("authentication.kubernetes.io/credential-id", ("JTI=7a1b",)),
        ("authentication.kubernetes.io/node-name", ("n1",)),
        ("authentication.kubernetes.io/node-uid", ("node-uid",)),
        ("authentication.kubernetes.io/pod-name", ("web",)),
        ("authentication.kubernetes.io/pod-uid", ("pod-uid",)),
    )
    assert len(user(SIGNER.token(private(pod=POD))).extra) == 3
    assert len(user(SIGNER.token(private(node=NODE))).extra) == 3
    assert len(user(SIGNER.token(private(secret={"name": "s", "uid": "u"}))).extra) == 1
    assert user(SIGNER.token(claims(jti=None))).extra == ()


def test_every_issuer_is_accepted_and_no_audience_means_the_api() -> None:
    outcome = verify(SIGNER.token(claims(iss=OLD_ISSUER, aud=None)))
    assert isinstance(outcome, Authenticated)
    assert outcome.audiences is None


def test_legacy_token_is_its_service_account_for_ever() -> None:
    outcome = verify(SIGNER.token(LEGACY))
    assert outcome == Authenticated(
        User(
            name="system:serviceaccount:team-a:builder",
            uid="uid-1",
            groups=("system:serviceaccounts", "system:serviceaccounts:team-a"),
        ),
        expires_at=None,
        audiences=None,
    )


def test_a_token_that_never_ends_ends_with_its_key() -> None:
    remembering, token = verifier(), SIGNER.token(LEGACY)
    assert isinstance(remembering.verify(token, KEYS, NOW), Authenticated)
    assert isinstance(remembering.verify(token, KEYS, NOW + ENDLESS_TOKEN_SECONDS + 1), Authenticated)
    rotated = {LEGACY_ISSUER: parse_signing_keys(jwk_set(TokenSigner("k2").jwk()))}
    assert remembering.verify(token, rotated, NOW) == KeyMissing(LEGACY_ISSUER, "k1")


# ---- signature


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "HS512", "EdDSA", "rs256", ["RS256"], None])
@pytest.mark.parametrize("base", [BOUND, LEGACY])
def test_algorithm_outside_the_allow_list_is_refused(base: dict[str, Any], algorithm: object) -> None:
    assert refusal(base, alg=algorithm) is RefusalKind.BEARER_ALGORITHM


def test_unsigned_token_is_refused() -> None:
    token = encode(b'{"alg":"none"}') + b"." + encode(json.dumps(BOUND).encode()) + b"."
    assert verify(token) == Refused(RefusalKind.BEARER_UNKNOWN)


def test_public_key_is_no_hmac_secret() -> None:
    for file_format in (serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1):
        pem = SIGNER.key.public_key().public_bytes(serialization.Encoding.PEM, file_format)
        signed = encode(b'{"alg":"HS256","kid":"k1"}') + b"." + encode(json.dumps(BOUND).encode())
        token = signed + b"." + encode(hmac.digest(pem, signed, "sha256"))
        assert verify(token) == Refused(RefusalKind.BEARER_ALGORITHM)


@pytest.mark.parametrize("base", [BOUND, LEGACY])
def test_token_of_another_cluster_is_refused(base: dict[str, Any]) -> None:
    """The same issuer, as in every cluster with default names, the same kid; without kid; with another kid."""
    assert verify(OTHER_CLUSTER.token(base)) == Refused(RefusalKind.BEARER_SIGNATURE)
    assert verify(OTHER_CLUSTER.token(base, kid=None)) == Refused(RefusalKind.BEARER_SIGNATURE)
    assert verify(OTHER_CLUSTER.token(base, kid="k9")) == KeyMissing(base["iss"], "k9")


def test_key_for_rs256_verifies_no_other_algorithm() -> None:
    assert refusal(BOUND, alg="PS256") is RefusalKind.BEARER_SIGNATURE
    assert refusal(BOUND, alg="RS512") is RefusalKind.BEARER_SIGNATURE


def test_issuer_that_is_not_configured_is_unknown() -> None:
    assert refusal(claims(iss="https://kubernetes.default.svc/")) is RefusalKind.BEARER_UNKNOWN
    legacy_off = JwtVerifier({ISSUER: BoundTokens()})
    assert legacy_off.verify(SIGNER.token(LEGACY), KEYS, NOW) == Refused(RefusalKind.BEARER_UNKNOWN)


def test_a_token_longer_than_any_is_unknown() -> None:
    assert refusal(claims(x="x" * 8192)) is RefusalKind.BEARER_UNKNOWN


# ---- claims


@pytest.mark.parametrize("seconds", [0, 59])
def test_exp_has_no_leeway_and_nbf_and_iat_a_minute(seconds: int) -> None:
    assert refusal(claims(exp=int(NOW) - seconds)) is RefusalKind.BEARER_EXPIRED
    assert isinstance(verify(SIGNER.token(claims(nbf=int(NOW) + seconds, iat=int(NOW) + seconds))), Authenticated)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_token_of_the_future_is_refused(claim: str) -> None:
    assert refusal(claims(**{claim: int(NOW) + 61})) is RefusalKind.BEARER_NOT_YET_VALID


@pytest.mark.parametrize("changes", [{"exp": None}, {"exp": "never"}, {"nbf": "1"}, {"iat": True}, {"aud": 7},
                                     {"aud": [ISSUER, 7]}, {"aud": {"a": 1}}, {"jti": 7}, {"jti": ""}])  # fmt: skip
def test_claim_of_another_type_is_refused(changes: dict[str, Any]) -> None:
    assert refusal(claims(**changes)) is RefusalKind.BEARER_CLAIMS


@pytest.mark.parametrize(
    "subject",
    [
        "system:serviceaccount:team-b:builder",
        "system:serviceaccount:team-a:other",
        "system:serviceaccount:team-a",
        "system:serviceaccount:team-a:builder:x",
        "system:serviceaccount::builder",
        "builder",
        "system:admin",
        "",
        7,
        None,
    ],
)
@pytest.mark.parametrize("base", [BOUND, LEGACY])
def test_subject_must_be_the_account_of_the_other_claims(base: dict[str, Any], subject: object) -> None:
    assert refusal(claims(base, sub=subject)) is RefusalKind.BEARER_CLAIMS


@pytest.mark.parametrize("account", [("team:a", "x"), ("team-a", "a:b"), ("..", "x"), ("Team", "x"), ("team-a", "")])
def test_names_that_no_account_has_are_refused(account: tuple[str, str]) -> None:
    namespace, name = account
    payload = private(namespace=namespace, serviceaccount={"name": name, "uid": "u"})
    assert refusal(payload | {"sub": f"system:serviceaccount:{namespace}:{name}"}) is RefusalKind.BEARER_CLAIMS


@pytest.mark.parametrize(
    "changes",
    [
        {"namespace": None},
        {"namespace": ["team-a"]},
        {"serviceaccount": None},
        {"serviceaccount": "builder"},
        {"serviceaccount": {"name": "builder"}},
        {"serviceaccount": {"name": "builder", "uid": ""}},
        {"serviceaccount": {"name": "builder", "uid": 7}},
        {"serviceaccount": {"uid": "uid-1"}},
        {"pod": "web"},
        {"pod": {"name": "web"}},
        {"pod": {"name": "web", "uid": ""}},
        {"pod": {"name": "web\n", "uid": "u"}},
        {"node": {"uid": "u"}},
        {"secret": []},
        {"secret": {"name": ""}},
    ],
)
def test_private_claims_must_be_whole(changes: dict[str, Any]) -> None:
    assert refusal(private(**changes)) is RefusalKind.BEARER_CLAIMS


def test_bound_token_without_private_claims_is_refused() -> None:
    assert refusal(claims(**{"kubernetes.io": None})) is RefusalKind.BEARER_CLAIMS
    assert refusal(claims(LEGACY, iss=ISSUER, exp=int(NOW) + 60)) is RefusalKind.BEARER_CLAIMS
    assert refusal(claims(iss=LEGACY_ISSUER)) is RefusalKind.BEARER_CLAIMS


@pytest.mark.parametrize("claim", [name for name in LEGACY if name.startswith("kubernetes.io/")])
def test_legacy_token_needs_all_of_its_claims(claim: str) -> None:
    assert refusal(claims(LEGACY, **{claim: None})) is RefusalKind.BEARER_CLAIMS
    assert refusal(claims(LEGACY, **{claim: 7})) is RefusalKind.BEARER_CLAIMS


def test_legacy_token_that_says_when_it_ends_does() -> None:
    assert refusal(claims(LEGACY, exp=int(NOW))) is RefusalKind.BEARER_EXPIRED
    outcome = verify(SIGNER.token(claims(LEGACY, exp=int(NOW) + 9)))
    assert isinstance(outcome, Authenticated)
    assert outcome.expires_at == NOW + 9
