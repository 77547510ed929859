"""Kubernetes' order of credentials: a valid certificate wins, then the token decides, nobody is anonymous."""

import pytest

from proxy.authn.authenticator import Authenticator, Credentials
from proxy.authn.client_certificate import ClientCertificateVerifier
from proxy.authn.outcome import Authenticated, KeyMissing, RefusalKind, Refused
from proxy.authn.static_tokens import parse_token_file
from proxy.authn.user import User, is_valid_identity
from tests.support.credentials import CLIENT_USAGE, NOW, Authority, user_name

AUTHORITY = Authority()
VALID = AUTHORITY.issue(user_name("carol", "team-c"))
UNTRUSTED = Authority().issue(user_name("admin"), extensions=[CLIENT_USAGE])
TOKENS = parse_token_file(b'secret,bob,1,"team-b,system:nodes"\n', "tokens.csv")
BOTH = Authenticator(certificates=ClientCertificateVerifier(AUTHORITY.pem), tokens=TOKENS, jwt=None)


def authenticate(
    certificate: bytes | None, token: bytes | None, *, authenticator: Authenticator = BOTH
) -> Authenticated | Refused | KeyMissing:
    return authenticator.authenticate(Credentials(certificate, token), {}, NOW)


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
    nothing = Authenticator(certificates=None, tokens=None, jwt=None)
    assert name_of(authenticate(VALID, None, authenticator=nothing)) == RefusalKind.NO_CREDENTIALS
    assert name_of(authenticate(VALID, b"secret", authenticator=nothing)) == RefusalKind.BEARER_UNKNOWN


@pytest.mark.parametrize("text", ["alice", "système", "a b", "system:node:n1", "名前", "a" * 1024])
def test_plain_text_is_an_identity(text: str) -> None:
    assert is_valid_identity(text)


@pytest.mark.parametrize("text", ["", " ", "a\t", "\u00a0a", "a\x7f", "a\x85", "a\u2028b", "a\u202eb", "\ud800"])
def test_text_that_changes_on_its_way_is_no_identity(text: str) -> None:
    assert not is_valid_identity(text)
