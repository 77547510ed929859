"""Credentials in memory, with whatever flaw a test asks for: client certificates in DER, JWTs and JWK Sets.

Nothing here reads a clock: certificates and tokens are valid around NOW.
"""

import base64
import json
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

NOW = 1_800_000_000.0
NOW_DATE = datetime.fromtimestamp(NOW, UTC)
HOUR = timedelta(hours=1)

Extension = tuple[x509.ExtensionType, bool]
CLIENT_USAGE: Extension = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
IS_AUTHORITY: Extension = (x509.BasicConstraints(ca=True, path_length=None), True)


def name(*attributes: tuple[ObjectIdentifier, str]) -> x509.Name:
    """A subject of attributes in their order, not validated, so that it may be wrong."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # the library's own bounds on names
        return x509.Name([x509.NameAttribute(oid, value, _validate=False) for oid, value in attributes])


def user_name(common_name: str, *groups: str) -> x509.Name:
    """The subject of a user: O values, then CN."""
    return name(*((NameOID.ORGANIZATION_NAME, group) for group in groups), (NameOID.COMMON_NAME, common_name))


class Authority:
    """A CA that signs anything."""

    def __init__(
        self, *, extensions: Sequence[Extension] = (IS_AUTHORITY,), not_after: datetime = NOW_DATE + 24 * HOUR
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = name((NameOID.COMMON_NAME, "test CA"))
        self.certificate = self._sign(self.subject, self.key.public_key(), extensions, NOW_DATE - 24 * HOUR, not_after)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def issue(
        self,
        subject: x509.Name,
        *,
        extensions: Sequence[Extension] = (CLIENT_USAGE,),
        not_before: datetime = NOW_DATE - HOUR,
        not_after: datetime = NOW_DATE + HOUR,
        public_key: Any = None,
    ) -> bytes:
        """A leaf in DER."""
        key = public_key or ec.generate_private_key(ec.SECP256R1()).public_key()
        leaf = self._sign(subject, key, extensions, not_before, not_after)
        return leaf.public_bytes(serialization.Encoding.DER)

    def _sign(
        self, subject: x509.Name, key: Any, extensions: Sequence[Extension], not_before: datetime, not_after: datetime
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
        )
        for value, is_critical in extensions:
            builder = builder.add_extension(value, critical=is_critical)
        return builder.sign(self.key, hashes.SHA256())


def encode(content: bytes) -> bytes:
    """base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _number(value: int, length: int | None = None) -> str:
    return encode(value.to_bytes(length or (value.bit_length() + 7) // 8, "big")).decode()


class TokenSigner:
    """A key pair of an issuer; signs any header and payload, well formed or not."""

    def __init__(self, key_id: str = "k1", *, kind: str = "EC", bits: int = 2048) -> None:
        self.key_id = key_id
        self.key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
        if kind == "EC":
            self.key = ec.generate_private_key(ec.SECP256R1())
        else:
            self.key = rsa.generate_private_key(65537, bits)

    def jwk(self, **changes: object) -> dict[str, object]:
        """The public key as a JWK; a change to None removes a member."""
        members: dict[str, object] = {"kid": self.key_id, "use": "sig"}
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            point = self.key.public_key().public_numbers()
            members |= {"kty": "EC", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)}
        else:
            numbers = self.key.public_key().public_numbers()
            members |= {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        return {name: value for name, value in (members | changes).items() if value is not None}

    def private_jwk(self) -> dict[str, object]:
        """An EC key as an issuer must never publish it."""
        numbers = self.key.private_numbers()
        assert isinstance(numbers, ec.EllipticCurvePrivateNumbers)
        return self.jwk(d=_number(numbers.private_value, 32))

    def token(self, payload: dict[str, Any] | bytes, **header: object) -> bytes:
        """A compact JWS. Members of `header` are added, None removes one."""
        algorithm = "ES256" if isinstance(self.key, ec.EllipticCurvePrivateKey) else "RS256"
        members: dict[str, object] = {"alg": algorithm, "kid": self.key_id, **header}
        head = json.dumps({name: value for name, value in members.items() if value is not None}).encode()
        return self.raw_token(head, payload if isinstance(payload, bytes) else json.dumps(payload).encode())

    def raw_token(self, header: bytes, payload: bytes) -> bytes:
        """A compact JWS of these very bytes."""
        signed = encode(header) + b"." + encode(payload)
        return signed + b"." + encode(self.sign(signed, header))

    def sign(self, content: bytes, header: bytes) -> bytes:
        """The signature the header's `alg` asks for, where this key can make it."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self.key.sign(content, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if b"PS256" in header:
            return self.key.sign(content, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        digest = hashes.SHA512() if b"RS512" in header else hashes.SHA256()
        return self.key.sign(content, padding.PKCS1v15(), digest)


def jwk_set(*keys: dict[str, object]) -> bytes:
    """A JWK Set as its issuer serves it."""
    return json.dumps({"keys": keys}).encode()
