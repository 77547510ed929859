"""A certificate authority for development: certificates of 30 days for the servers and the demo's identities.

Existing certificates stay while they are good, so that running servers go on; one that is about to end, was issued by
another CA, or does not fit its key is issued anew. Keys are ECDSA P-256, in files only their owner can read.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

LIFETIME: Final = timedelta(days=30)
RENEW_BEFORE_END: Final = timedelta(days=7)
CLOCK_SKEW: Final = timedelta(minutes=5)

PRIVATE_MODE: Final = 0o600
PUBLIC_MODE: Final = 0o644
DIRECTORY_MODE: Final = 0o700

AUTHORITY: Final = "ca"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a certificate is for: the stem of its files, CN, O values, and for a server the names it is reached by."""

    stem: str
    common_name: str
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    @property
    def usage(self) -> ObjectIdentifier:
        """A profile with hosts is a server."""
        return ExtendedKeyUsageOID.SERVER_AUTH if self.hosts else ExtendedKeyUsageOID.CLIENT_AUTH

    def subject(self) -> x509.Name:
        """The subject: O values in their order, then CN."""
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in self.groups]
        return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, self.common_name)])

    def alternative_names(self) -> x509.SubjectAlternativeName | None:
        """The hosts as subjectAltName, None for a client."""
        return x509.SubjectAlternativeName([_general_name(host) for host in self.hosts]) if self.hosts else None


SERVER: Final = Profile(stem="server", common_name="localhost", hosts=("localhost", "127.0.0.1", "::1"))
UPSTREAM_CLIENT: Final = Profile(stem="watchkeeper", common_name="watchkeeper")
CALLERS: Final = (
    Profile(stem="admin", common_name="admin", groups=("watchkeeper:admins",)),
    Profile(stem="alice", common_name="alice"),
    Profile(stem="bob", common_name="bob"),
    Profile(stem="node1", common_name="system:node:node1", groups=("system:nodes",)),
    Profile(stem="kube-proxy", common_name="system:kube-proxy"),
)
PROFILES: Final = (SERVER, UPSTREAM_CLIENT, *CALLERS)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """The key in PEM (PKCS #8), not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pki:
    """The CA and a pair for each profile, by stem; `renewed` holds the stems that were issued just now."""

    authority: KeyPair
    pairs: dict[str, KeyPair]
    renewed: frozenset[str]


def ensure_pki(directory: Path, *, now: datetime, force: bool) -> Pki:
    """Brings the files `STEM.crt` and `STEM.key` in `directory` up to date. `now` has a time zone.

    `force` issues everything anew. Raises OSError when the directory cannot be written.
    """
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    renewed: set[str] = set()
    authority = None if force else _read_pair(directory, AUTHORITY)
    if authority is None or not _is_good_authority(authority.certificate, now):
        authority = _issue_authority(now)
        _write_pair(directory, AUTHORITY, authority)
        renewed.add(AUTHORITY)
    pairs: dict[str, KeyPair] = {}
    for profile in PROFILES:
        pair = None if force else _read_pair(directory, profile.stem)
        if pair is None or not _is_good(pair.certificate, profile, authority.certificate, now):
            pair = issue(profile, authority, now)
            _write_pair(directory, profile.stem, pair)
            renewed.add(profile.stem)
        pairs[profile.stem] = pair
    return Pki(authority=authority, pairs=pairs, renewed=frozenset(renewed))


def write_atomically(path: Path, content: bytes, mode: int) -> None:
    """Replaces `path`, never the target of a link at `path`; nobody sees it half written or with a wider mode."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read_pair(directory: Path, stem: str) -> KeyPair | None:
    """None when a file is missing, unreadable, readable by others, or the two do not belong together."""
    key_file = directory / f"{stem}.key"
    try:
        certificate = x509.load_pem_x509_certificate((directory / f"{stem}.crt").read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        is_private = key_file.stat().st_mode & 0o077 == 0
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if (
        not isinstance(key, ec.EllipticCurvePrivateKey)
        or not is_private
        or certificate.public_key() != key.public_key()
    ):
        return None
    return KeyPair(certificate, key)


def _write_pair(directory: Path, stem: str, pair: KeyPair) -> None:
    write_atomically(directory / f"{stem}.key", pair.key_pem(), PRIVATE_MODE)
    write_atomically(directory / f"{stem}.crt", pair.certificate_pem(), PUBLIC_MODE)


def _is_good_authority(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.subject == certificate.issuer == _AUTHORITY_NAME and _is_lasting(certificate, now)


def _is_good(certificate: x509.Certificate, profile: Profile, authority: x509.Certificate, now: datetime) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    names = [entry.value for entry in certificate.extensions if isinstance(entry.value, x509.SubjectAlternativeName)]
    wanted = profile.alternative_names()
    return (
        certificate.subject == profile.subject()
        and names == ([wanted] if wanted is not None else [])
        and _is_lasting(certificate, now)
    )


def _is_lasting(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc - RENEW_BEFORE_END


_AUTHORITY_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "watchkeeper development CA")])


def _issue_authority(now: datetime) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_AUTHORITY_NAME, key, now).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    builder = builder.add_extension(_key_usage(is_authority=True), critical=True)
    return KeyPair(builder.sign(key, hashes.SHA256()), key)


def issue(profile: Profile, authority: KeyPair, now: datetime) -> KeyPair:
    """A new key and its certificate, from now on for LIFETIME."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(profile.subject(), key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([profile.usage]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    names = profile.alternative_names()
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return KeyPair(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_AUTHORITY_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
