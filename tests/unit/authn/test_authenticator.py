"""Kubernetes' order of credentials: a valid certificate wins, then the token decides; nothing may be anonymous."""

from dataclasses import replace

import pytest

from proxy.authn.authentication_config import AnonymousAccess
from proxy.authn.authenticator import Authenticator, Credentials
from proxy.authn.client_certificate import ClientCertificateVerifier
from proxy.authn.jwt_verifier import JwtVerifier
from proxy.authn.outcome import Authenticated, KeyMissing, RefusalKind, Refused
from proxy.authn.service_account_tokens import BoundTokens
from proxy.authn.signing_keys import parse_signing_keys
from proxy.authn.static_tokens import parse_token_file
from proxy.authn.user import User, is_valid_identity
from tests.support.credentials import CLIENT_USAGE, NOW, Authority, TokenSigner, jwk_set, user_name

AUTHORITY = Authority()
VALID = AUTHORITY.issue(user_name("carol", "team-c"))
UNTRUSTED = Authority().issue(user_name("admin"), extensions=[CLIENT_USAGE])
TOKENS = parse_token_file(b'secret,bob,1,"team-b,system:nodes"\n', "tokens.csv")
BOTH = Authenticator(
    certificates=ClientCertificateVerifier(AUTHORITY.pem), tokens=TOKENS, jwt=None, anonymous=None, api_audiences=()
)


def authenticate(
    certificate: bytes | None, token: bytes | None, *, authenticator: Authenticator = BOTH
) -> Authenticated | Refused | KeyMissing:
    return authenticator.authenticate(Credentials(certificate, token, "/api"), {}, NOW)


def name_of(outcome: Authenticated | Refused | KeyMissing) -> str | RefusalKind:
    match outcome:
        case Authenticated(user):
            return user.name
        case Refused(kind):
            return kind
        case KeyMissing():
            raise AssertionError(outcome)


@pytest.mark.parametrize(
    ("certificate", "token", "expected"),
    [
        (VALID, None, "carol"),
        (VALID, b"secret", "carol"),
        (VALID, b"wrong", "carol"),
        (UNTRUSTED, b"secret", "bob"),
        (b"no certificate", b"secret", "bob"),
        (UNTRUSTED, b"wrong", RefusalKind.BEARER_UNKNOWN),
        (UNTRUSTED, None, RefusalKind.CERTIFICATE_UNTRUSTED),
        (None, b"secret", "bob"),
        (None, b"wrong", RefusalKind.BEARER_UNKNOWN),
        (None, b"", RefusalKind.BEARER_UNKNOWN),
        (None, None, RefusalKind.NO_CREDENTIALS),
    ],
)
def test_order_of_credentials(certificate: bytes | None, token: bytes | None, expected: str | RefusalKind) -> None:
    assert name_of(authenticate(certificate, token)) == expected


def test_everybody_is_a_member_of_system_authenticated() -> None:
    for outcome, groups in (
        (authenticate(VALID, None), ("team-c", "system:authenticated")),
        (authenticate(None, b"secret"), ("team-b", "system:nodes", "system:authenticated")),
    ):
        assert isinstance(outcome, Authenticated)
        assert outcome.user.groups == groups


def test_certificate_ends_and_static_token_does_not() -> None:
    by_certificate, by_token = authenticate(VALID, None), authenticate(None, b"secret")
    assert isinstance(by_certificate, Authenticated)
    assert by_certificate.expires_at == NOW + 3600
    assert by_token == Authenticated(
        User(name="bob", uid="1", groups=("team-b", "system:nodes", "system:authenticated")), None
    )


def test_ways_that_are_not_configured_authenticate_nobody() -> None:
    nothing = replace(BOTH, certificates=None, tokens=None)
    assert name_of(authenticate(VALID, None, authenticator=nothing)) == RefusalKind.NO_CREDENTIALS
    assert name_of(authenticate(VALID, b"secret", authenticator=nothing)) == RefusalKind.BEARER_UNKNOWN


@pytest.mark.parametrize("text", ["alice", "système", "a b", "system:node:n1", "名前", "a" * 1024])
def test_plain_text_is_an_identity(text: str) -> None:
    assert is_valid_identity(text)


@pytest.mark.parametrize("text", ["", " ", "a\t", "\u00a0a", "a\x7f", "a\x85", "a\u2028b", "a\u202eb", "\ud800"])
def test_text_that_changes_on_its_way_is_no_identity(text: str) -> None:
    assert not is_valid_identity(text)


# ---- whom a token is meant for


ISSUER = "https://kubernetes.default.svc"
SIGNER = TokenSigner()
KEYS = {ISSUER: parse_signing_keys(jwk_set(SIGNER.jwk()))}
FOR_API = replace(BOTH, jwt=JwtVerifier({ISSUER: BoundTokens()}), api_audiences=("api", ISSUER))


def account_token(*audiences: str) -> bytes:
    account = {"namespace": "a", "serviceaccount": {"name": "b", "uid": "u"}}
    claims = {"iss": ISSUER, "sub": "system:serviceaccount:a:b", "aud": audiences, "exp": NOW + 9}
    return SIGNER.token({**claims, "kubernetes.io": account})


def audiences_of(token: bytes, *asked: str, authenticator: Authenticator = FOR_API) -> tuple[str, ...] | None:
    """What of the audiences asked for a token is meant for."""
    outcome = authenticator.authenticate_token(token, asked, KEYS, NOW)
    if outcome == Refused(RefusalKind.BEARER_AUDIENCE):
        return ()
    assert isinstance(outcome, Authenticated)
    assert outcome.user.groups[-1] == "system:authenticated"
    return outcome.audiences


def test_a_token_is_for_whom_it_says() -> None:
    assert audiences_of(account_token("api", "vault"), "vault", "x", "api") == ("vault", "api")
    assert audiences_of(account_token("vault"), "api") == ()
    assert audiences_of(account_token("vault"), "vault") == ("vault",)


def test_a_token_that_says_nothing_is_for_this_api() -> None:
    for token in (account_token(), b"secret"):
        assert audiences_of(token, "api") == ("api",)
        assert audiences_of(token, ISSUER, "vault", "api") == (ISSUER, "api")
        assert audiences_of(token, "vault") == ()
    nameless = replace(FOR_API, api_audiences=())
    assert audiences_of(b"secret", authenticator=nameless) is None
    assert audiences_of(b"secret", "vault", authenticator=nameless) == ()


def test_a_request_needs_a_token_for_this_api() -> None:
    for audiences, expected in (
        (("vault",), RefusalKind.BEARER_AUDIENCE),
        (("vault", "api"), "system:serviceaccount:a:b"),
        ((), "system:serviceaccount:a:b"),
    ):
        outcome = FOR_API.authenticate(Credentials(None, account_token(*audiences), "/api"), KEYS, NOW)
        assert name_of(outcome) == expected


# ---- anonymous requests


ANYWHERE, PROBES = AnonymousAccess(frozenset()), AnonymousAccess(frozenset({"/livez", "/readyz"}))


@pytest.mark.parametrize(
    ("access", "path", "is_served"),
    [
        (None, "/livez", False),
        (ANYWHERE, "/api/v1/pods", True),
        (PROBES, "/livez", True),
        (PROBES, "/readyz", True),
        (PROBES, "/livez/", False),
        (PROBES, "/livez/ping", False),
        (PROBES, "/LIVEZ", False),
        (PROBES, "/api", False),
        (AnonymousAccess(frozenset({""})), "/", False),
    ],
)
def test_who_shows_nothing_is_anonymous_where_that_is_enough(
    access: AnonymousAccess | None, path: str, is_served: bool
) -> None:
    outcome = replace(BOTH, anonymous=access).authenticate(Credentials(None, None, path), {}, NOW)
    if is_served:
        assert outcome == Authenticated(User(name="system:anonymous", groups=("system:unauthenticated",)), None)
    else:
        assert outcome == Refused(RefusalKind.NO_CREDENTIALS)


@pytest.mark.parametrize(("certificate", "token"), [(UNTRUSTED, None), (b"x", None), (None, b"wrong"), (None, b"")])
def test_who_shows_something_wrong_is_not_anonymous(certificate: bytes | None, token: bytes | None) -> None:
    outcome = authenticate(certificate, token, authenticator=replace(BOTH, anonymous=ANYWHERE))
    assert isinstance(outcome, Refused)


def test_who_shows_something_right_is_not_anonymous() -> None:
    assert name_of(authenticate(VALID, None, authenticator=replace(BOTH, anonymous=ANYWHERE))) == "carol"
    assert name_of(authenticate(None, b"secret", authenticator=replace(BOTH, anonymous=ANYWHERE))) == "bob"
