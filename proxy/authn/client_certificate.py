"""A client certificate becomes a User: CN is the name, each O a group, in their order.

The chain is verified here, at every first sight of a certificate and whatever the handshake said, so that a new CA
bundle counts at once. Certificates as kubeadm makes them (no subjectAltName, usage optional) are accepted. Only the
leaf is looked at, so intermediate CAs stand in the CA bundle.

Stricter than upstream: several CNs, a CA as a leaf, weak leaf keys and names that are not plain text are refused.

Source: k8s.io/apiserver/pkg/authentication/request/x509
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from proxy.authn.expiring_cache import ExpiringCache
from proxy.authn.outcome import Authenticated, RefusalKind, Refused
from proxy.authn.user import CREDENTIAL_ID_EXTRA, User, is_valid_identity

UID_OID: Final = ObjectIdentifier("1.3.6.1.4.1.57683.2")

# A certificate with a hundred long groups is below 8 KiB.
MAX_CERTIFICATE_BYTES: Final = 16 * 1024
CACHED_CERTIFICATES: Final = 4096
MIN_RSA_BITS: Final = 2048
STRONG_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

# UTF8String, NumericString, PrintableString, IA5String. Other types read as text here and as no text elsewhere (Go
# skips an OCTET STRING), so that whoever approved the request saw another subject.
TEXT_TAGS: Final = frozenset({12, 18, 19, 22})

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class InvalidClientCA(ValueError):
    """The CA bundle cannot be used."""


class ClientCertificateVerifier:
    """Verifies client certificates against a PEM bundle of CAs. Raises InvalidClientCA for a bundle it cannot use."""

    def __init__(self, ca_pem: bytes) -> None:
        try:
            authorities = x509.load_pem_x509_certificates(ca_pem)
            not_authorities = [ca.subject.rfc4514_string() for ca in authorities if not _is_authority(ca)]
        except UNREADABLE as error:
            raise InvalidClientCA("not a PEM bundle of certificates") from error
        if not_authorities:
            raise InvalidClientCA(f"not a CA certificate: `{not_authorities[0]}`")
        self._store = Store(authorities)
        self._verified: ExpiringCache[Authenticated] = ExpiringCache(CACHED_CERTIFICATES)

    def verify(self, der: bytes, now: float) -> Authenticated | Refused:
        """The user of a DER leaf at `now` (seconds since the epoch). Never raises for a bad certificate."""
        if len(der) > MAX_CERTIFICATE_BYTES:
            return Refused(RefusalKind.CERTIFICATE_MALFORMED)
        digest = sha256(der).digest()
        known = self._verified.get(digest, now)
        if known is not None:
            return known
        try:
            # The library warns of what it reads but finds odd: names over 64 bytes, which Kubernetes has, and flaws
            # that a client could fill the log with.
            with warnings.catch_warnings(action="ignore"):
                outcome, ends = self._verify(x509.load_der_x509_certificate(der), digest, now)
        except UNREADABLE:
            return Refused(RefusalKind.CERTIFICATE_MALFORMED)
        if isinstance(outcome, Authenticated):
            self._verified.put(digest, outcome, ends)
        return outcome

    def _verify(self, leaf: x509.Certificate, digest: bytes, now: float) -> tuple[Authenticated | Refused, float]:
        """The outcome, and until when it holds."""
        if not leaf.not_valid_before_utc.timestamp() <= now < leaf.not_valid_after_utc.timestamp():
            return Refused(RefusalKind.CERTIFICATE_OUTSIDE_VALIDITY), 0
        chain = _verified_chain(leaf, self._store, now)
        if chain is None or not _has_strong_key(leaf):
            return Refused(RefusalKind.CERTIFICATE_UNTRUSTED), 0
        user = _user(leaf, digest)
        if user is None:
            return Refused(RefusalKind.CERTIFICATE_IDENTITY), 0
        ends = min(certificate.not_valid_after_utc.timestamp() for certificate in chain)
        return Authenticated(user, expires_at=ends), ends


def _verified_chain(leaf: x509.Certificate, store: Store, now: float) -> list[x509.Certificate] | None:
    # A verifier fixes its time when it is built, so that one is built for each certificate.
    verifier = (
        PolicyBuilder()
        .store(store)
        .time(datetime.fromtimestamp(now, UTC))
        .extension_policies(ca_policy=_AUTHORITY_POLICY, ee_policy=_LEAF_POLICY)
        .build_client_verifier()
    )
    try:
        return verifier.verify(leaf, []).chain
    except VerificationError:
        return None


def _check_authority(_: Policy, __: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("the issuer is not a CA")


def _check_authority_usage(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the issuer may not sign certificates")


def _check_not_authority(_: Policy, __: x509.Certificate, constraints: x509.BasicConstraints | None) -> None:
    if constraints is not None and constraints.ca:
        raise ValueError("a CA is not a client")


def _check_client_usage(_: Policy, __: x509.Certificate, usages: x509.ExtendedKeyUsage | None) -> None:
    allowed = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if usages is not None and not any(usage in usages for usage in allowed):
        raise ValueError("not for client authentication")


_AUTHORITY_POLICY: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _check_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _check_authority_usage)
)
_LEAF_POLICY: Final = (
    ExtensionPolicy.permit_all()
    .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _check_not_authority)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _check_client_usage)
)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _has_strong_key(leaf: x509.Certificate) -> bool:
    match leaf.public_key():
        case rsa.RSAPublicKey() as key:
            return key.key_size >= MIN_RSA_BITS
        case ec.EllipticCurvePublicKey() as key:
            return isinstance(key.curve, STRONG_CURVES)
        case ed25519.Ed25519PublicKey():
            return True
        case _:
            return False


def _user(leaf: x509.Certificate, digest: bytes) -> User | None:
    """None when the subject is not that of one user."""
    names = _texts(leaf.subject, NameOID.COMMON_NAME)
    groups = _texts(leaf.subject, NameOID.ORGANIZATION_NAME)
    uids = _texts(leaf.subject, UID_OID)
    if names is None or groups is None or uids is None or len(names) != 1 or len(uids) > 1:
        return None
    return User(
        name=names[0],
        uid=uids[0] if uids else "",
        groups=groups,
        extra=((CREDENTIAL_ID_EXTRA, (f"X509SHA256={digest.hex()}",)),),
    )


def _texts(subject: x509.Name, oid: ObjectIdentifier) -> tuple[str, ...] | None:
    """The values of one attribute in their order; None when one of them cannot be a name."""
    texts: list[str] = []
    for attribute in subject.get_attributes_for_oid(oid):
        value = attribute.value
        if attribute._type.value not in TEXT_TAGS or not isinstance(value, str) or not is_valid_identity(value):
            return None
        texts.append(value)
    return tuple(texts)
