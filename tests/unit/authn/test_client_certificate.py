"""Only a certificate that a trusted CA issued for a client makes a user, and it makes exactly one."""

from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from proxy.authn.client_certificate import UID_OID, ClientCertificateVerifier, InvalidClientCA
from proxy.authn.outcome import Authenticated, RefusalKind, Refused
from tests.support.credentials import CLIENT_USAGE, HOUR, IS_AUTHORITY, NOW, NOW_DATE, Authority, name, user_name

AUTHORITY = Authority()
ALICE = AUTHORITY.issue(user_name("alice", "team-b", "team-a"))


def verify(der: bytes, *, now: float = NOW, authority: Authority = AUTHORITY) -> Authenticated | Refused:
    return ClientCertificateVerifier(authority.pem).verify(der, now)


def user_of(subject: x509.Name) -> Authenticated | Refused:
    return verify(AUTHORITY.issue(subject))


IDENTITY = Refused(RefusalKind.CERTIFICATE_IDENTITY)
UNTRUSTED = Refused(RefusalKind.CERTIFICATE_UNTRUSTED)
OUTSIDE = Refused(RefusalKind.CERTIFICATE_OUTSIDE_VALIDITY)


def test_common_name_is_the_user_and_organizations_are_groups_in_their_order() -> None:
    outcome = verify(ALICE)
    assert isinstance(outcome, Authenticated)
    assert (outcome.user.name, outcome.user.groups, outcome.user.uid) == ("alice", ("team-b", "team-a"), "")
    assert outcome.expires_at == NOW + 3600


def test_the_credential_id_is_the_digest_of_the_certificate() -> None:
    outcome = verify(ALICE)
    assert isinstance(outcome, Authenticated)
    assert outcome.user.extra_values("authentication.kubernetes.io/credential-id") == (
        f"X509SHA256={sha256(ALICE).hexdigest()}",
    )


def test_uid_attribute_is_the_uid() -> None:
    outcome = user_of(name((NameOID.COMMON_NAME, "alice"), (UID_OID, "42")))
    assert isinstance(outcome, Authenticated)
    assert outcome.user.uid == "42"


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(name((NameOID.COMMON_NAME, "alice"), (UID_OID, "1"), (UID_OID, "2")), id="two uids"),
        pytest.param(name((NameOID.COMMON_NAME, "alice"), (UID_OID, "")), id="empty uid"),
        pytest.param(name((NameOID.COMMON_NAME, "")), id="empty CN"),
        pytest.param(name((NameOID.ORGANIZATION_NAME, "team-a")), id="no CN"),
        pytest.param(x509.Name([]), id="no subject"),
        pytest.param(name((NameOID.COMMON_NAME, "alice"), (NameOID.COMMON_NAME, "admin")), id="two CNs"),
        pytest.param(
            x509.Name(
                [
                    x509.RelativeDistinguishedName(
                        [x509.NameAttribute(NameOID.COMMON_NAME, n) for n in ("alice", "admin")]
                    )
                ]
            ),
            id="two CNs in one RDN",
        ),
        pytest.param(user_name("admin\x00.evil"), id="NUL"),
        pytest.param(user_name("alice\r\nImpersonate-Group: system:masters"), id="header injection"),
        pytest.param(user_name("admin "), id="trailing space"),
        pytest.param(user_name("admin\u200b"), id="zero width space"),
        pytest.param(user_name("alice", ""), id="empty group"),
        pytest.param(user_name("alice", " system:masters"), id="padded group"),
        pytest.param(user_name("a" * 1025), id="long name"),
        pytest.param(user_name("ü" * 513), id="long in bytes"),
    ],
)
def test_subject_that_is_not_plainly_one_user_is_refused(subject: x509.Name) -> None:
    assert user_of(subject) == IDENTITY


@pytest.mark.parametrize("asn1_type", [_ASN1Type.OctetString, _ASN1Type.BMPString, _ASN1Type.T61String])
@pytest.mark.parametrize("oid", [NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, UID_OID])
def test_name_in_an_encoding_that_others_read_differently_is_refused(
    asn1_type: _ASN1Type, oid: x509.ObjectIdentifier
) -> None:
    odd = x509.NameAttribute(oid, "admin", _type=asn1_type, _validate=False)
    plain = [] if oid == NameOID.COMMON_NAME else [x509.NameAttribute(NameOID.COMMON_NAME, "alice")]
    assert user_of(x509.Name([*plain, odd])) == IDENTITY


def test_longest_name_is_accepted() -> None:
    assert isinstance(user_of(user_name("ü" * 512)), Authenticated)


def test_certificate_without_extensions_is_accepted_as_kubeadm_and_openssl_make_them() -> None:
    assert isinstance(verify(AUTHORITY.issue(user_name("alice"), extensions=())), Authenticated)


@pytest.mark.parametrize(
    ("usages", "is_accepted"),
    [
        ([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH], True),
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], True),
        ([ExtendedKeyUsageOID.SERVER_AUTH], False),
        ([ExtendedKeyUsageOID.CODE_SIGNING], False),
    ],
)
def test_extended_key_usage_must_allow_clients(usages: list[x509.ObjectIdentifier], is_accepted: bool) -> None:
    der = AUTHORITY.issue(user_name("alice"), extensions=[(x509.ExtendedKeyUsage(usages), True)])
    assert isinstance(verify(der), Authenticated) is is_accepted


@pytest.mark.parametrize("now", [NOW - 3601, NOW + 3600, NOW + 3600.5, NOW + 10**6])
def test_certificate_counts_from_its_begin_and_ends_at_its_end(now: float) -> None:
    assert verify(ALICE, now=now) == OUTSIDE


def test_certificate_known_from_the_cache_still_ends() -> None:
    verifier = ClientCertificateVerifier(AUTHORITY.pem)
    assert isinstance(verifier.verify(ALICE, NOW), Authenticated)
    assert isinstance(verifier.verify(ALICE, NOW + 3599), Authenticated)
    assert verifier.verify(ALICE, NOW + 3600) == OUTSIDE


def test_certificate_ends_with_its_authority() -> None:
    """The credential of a CA that ends before the leaf lives no longer than the CA, from the cache neither."""
    short = Authority(not_after=NOW_DATE + HOUR)
    der = short.issue(user_name("alice"), not_after=NOW_DATE + 10 * HOUR)
    verifier = ClientCertificateVerifier(short.pem)
    outcome = verifier.verify(der, NOW)
    assert isinstance(outcome, Authenticated)
    assert outcome.expires_at == NOW + 3600
    assert verifier.verify(der, NOW + 3601) == UNTRUSTED


def test_certificate_of_another_authority_of_the_same_name_is_refused() -> None:
    assert verify(Authority().issue(user_name("alice"))) == UNTRUSTED


def test_self_signed_certificate_is_refused() -> None:
    other = Authority(extensions=())
    assert verify(other.der) == UNTRUSTED


def test_an_authority_is_not_a_client() -> None:
    assert verify(AUTHORITY.der) == UNTRUSTED
    assert verify(AUTHORITY.issue(user_name("alice"), extensions=[IS_AUTHORITY, CLIENT_USAGE])) == UNTRUSTED


def test_leaf_of_the_authority_issues_nothing() -> None:
    """A user must not issue certificates with the key of their own."""
    alice = Authority()
    alice.certificate = x509.load_der_x509_certificate(
        AUTHORITY.issue(alice.subject, public_key=alice.key.public_key())
    )
    assert verify(alice.issue(user_name("admin"))) == UNTRUSTED


def test_authority_that_may_not_sign_certificates_is_no_issuer() -> None:
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    weak = Authority(extensions=[IS_AUTHORITY, (usage, True)])
    assert verify(weak.issue(user_name("alice")), authority=weak) == UNTRUSTED


def test_unknown_critical_extension_is_refused() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert verify(AUTHORITY.issue(user_name("alice"), extensions=[(unknown, True)])) == UNTRUSTED


@pytest.mark.parametrize(
    ("public_key", "is_accepted"),
    [
        (rsa.generate_private_key(65537, 2048).public_key(), True),
        (rsa.generate_private_key(65537, 1024).public_key(), False),
        (ed25519.Ed25519PrivateKey.generate().public_key(), True),
        (ec.generate_private_key(ec.SECP521R1()).public_key(), True),
        (ec.generate_private_key(ec.SECP192R1()).public_key(), False),
    ],
)
def test_weak_keys_are_refused(public_key: object, is_accepted: bool) -> None:
    outcome = verify(AUTHORITY.issue(user_name("alice"), public_key=public_key))
    assert isinstance(outcome, Authenticated) is is_accepted


@pytest.mark.parametrize("der", [b"", b"\x30\x00", ALICE[:-1], ALICE + b"\x00", b"\x30" * 20000])
def test_bytes_that_are_no_certificate_are_refused_without_raising(der: bytes) -> None:
    assert verify(der) == Refused(RefusalKind.CERTIFICATE_MALFORMED)


@given(position=st.integers(0, len(ALICE) - 1), value=st.integers(0, 255))
def test_a_certificate_changed_in_any_byte_makes_no_other_user_and_never_raises(position: int, value: int) -> None:
    """The signature has idle bits (unused bits of its BIT STRING), what is signed has none."""
    changed = ALICE[:position] + bytes([value]) + ALICE[position + 1 :]
    outcome = verify(changed)
    if isinstance(outcome, Authenticated):
        assert (outcome.user.name, outcome.user.groups, outcome.user.uid) == ("alice", ("team-b", "team-a"), "")
        assert changed.startswith(ALICE[: -len(x509.load_der_x509_certificate(ALICE).signature) - 1])


@pytest.mark.parametrize("pem", [b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_bundle_that_is_no_bundle_is_an_error(pem: bytes) -> None:
    with pytest.raises(InvalidClientCA, match="not a PEM bundle"):
        ClientCertificateVerifier(pem)


def test_bundle_that_holds_a_leaf_is_an_error() -> None:
    with pytest.raises(InvalidClientCA, match="not a CA certificate"):
        ClientCertificateVerifier(AUTHORITY.pem + Authority(extensions=()).pem)
