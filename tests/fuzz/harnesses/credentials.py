"""Credentials: tokens and certificates that the right key signed, whatever stands in them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.authn.authentication_config import Issuer, JwtAuthenticator, PrefixedClaim
from proxy.authn.bearer_token import parse_authorization
from proxy.authn.client_certificate import ClientCertificateVerifier
from proxy.authn.issuer_tokens import IssuerTokens
from proxy.authn.jwt_verifier import JwtVerifier
from proxy.authn.outcome import Authenticated, KeyMissing
from proxy.authn.signing_keys import parse_signing_keys
from proxy.authn.user import is_valid_identity
from tests.support.credentials import NOW, Authority, TokenSigner, jwk_set, user_name

_ISSUER = "https://issuer.example"
_SIGNER = TokenSigner("k1")
_KEYS = {_ISSUER: parse_signing_keys(jwk_set(_SIGNER.jwk()))}
_CONFIG = JwtAuthenticator(
    issuer=Issuer(url=_ISSUER, discovery_url="", certificate_authority="", audiences=("us",)),
    username=PrefixedClaim("sub", "oidc:"),
    groups=PrefixedClaim("groups", "oidc:"),
    uid_claim=None,
    required_claims=(),
)


def bearer_token(data: bytes) -> None:
    """The header and the payload of a JWT, a line each, are signed; the whole is also taken as a token and a header.

    Only what says plainly who, from whom, for whom and until when makes a user.
    """
    header, _, payload = data.partition(b"\n")
    verifier = JwtVerifier({_ISSUER: IssuerTokens(_CONFIG)})
    assert not isinstance(verifier.verify(data, _KEYS, NOW), Authenticated)
    token = parse_authorization([data])
    if token is not None:
        assert token and b" " not in token
        assert not isinstance(verifier.verify(token, _KEYS, NOW), Authenticated)
    outcome = verifier.verify(_SIGNER.raw_token(header, payload), _KEYS, NOW)
    if isinstance(outcome, KeyMissing):
        assert (outcome.issuer, json.loads(header)["kid"]) == (_ISSUER, outcome.key_id)
    if not isinstance(outcome, Authenticated):
        return
    claims = json.loads(payload)
    assert json.loads(header)["alg"] == "ES256"
    assert claims["iss"] == _ISSUER and claims["exp"] == outcome.expires_at > NOW
    assert claims["aud"] == "us" or "us" in claims["aud"]
    assert outcome.user.name == f"oidc:{claims['sub']}"
    assert all(is_valid_identity(each) and each.startswith("oidc:") for each in outcome.user.groups)
    assert not any(each.startswith("system:") for each in (outcome.user.name, *outcome.user.groups))


_CA = Authority()
_VERIFIER_PEM = _CA.pem
_TEMPLATE = x509.load_der_x509_certificate(_CA.issue(user_name("alice"), extensions=()))
_COMMON_NAME, _ORGANIZATION = b"\x55\x04\x03", b"\x55\x04\x0a"


def certificate_subject(data: bytes) -> None:
    """The content of a subject's SEQUENCE, in a certificate that the CA signed: one plain user, or refused."""
    outcome = ClientCertificateVerifier(_VERIFIER_PEM).verify(_certificate(data), NOW)
    if not isinstance(outcome, Authenticated):
        return
    attributes = list(_attributes(data))
    names = [value for oid, value in attributes if oid == _COMMON_NAME]
    groups = [value for oid, value in attributes if oid == _ORGANIZATION]
    assert [outcome.user.name.encode()] == names
    assert [group.encode() for group in outcome.user.groups] == groups
    assert all(map(is_valid_identity, (outcome.user.name, *outcome.user.groups)))


def _certificate(subject: bytes) -> bytes:
    """The template with this subject, signed anew."""
    _, content = next(_values(_TEMPLATE.tbs_certificate_bytes))
    signed = _tlv(0x30, content.replace(_TEMPLATE.subject.public_bytes(), _tlv(0x30, subject)))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    signature = _CA.key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return _tlv(0x30, signed + algorithm + _tlv(0x03, b"\x00" + signature))


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _values(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element of DER that a stricter reader has accepted."""
    while data:
        tag, size, at = data[0], data[1], 2
        if size & 0x80:
            at = 2 + (size & 0x7F)
            size = int.from_bytes(data[2:at], "big")
        yield tag, data[at : at + size]
        data = data[at + size :]


def _attributes(subject: bytes) -> Iterator[tuple[bytes, bytes]]:
    """OID and content of each attribute of a subject, in order."""
    for _, names in _values(subject):
        for _, attribute in _values(names):
            (_, oid), (_, value) = _values(attribute)
            yield oid, value
