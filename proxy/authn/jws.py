"""A compact JWS: what it says of itself before anybody believes it, and its payload once a key has vouched for it.

A token is looked at before its signature only to learn which keys to try: `iss`, `kid`, `alg`. Header extensions
(`crit`, `b64`) are refused, keys in the header are never looked at.

Source: RFC 7515, RFC 8725
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from jwt import PyJWS, PyJWTError

from proxy.authn.bearer_token import MAX_TOKEN_BYTES
from proxy.authn.outcome import RefusalKind, Refused
from proxy.authn.signing_keys import ALLOWED_ALGORITHMS, SigningKeys
from proxy.authn.strict_json import parse_object

MAX_KEY_ID_CHARACTERS: Final = 256

_COMPACT = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_JWS: Final = PyJWS(algorithms=sorted(ALLOWED_ALGORITHMS), options={"enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedToken:
    """What a token says of itself, to find the keys that may contradict it."""

    issuer: str
    header: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureHeader:
    """How a token says it is signed; the algorithm is one of the allow list."""

    algorithm: str
    key_id: str | None


def read_unverified(token: bytes) -> UnverifiedToken | Refused:
    """Takes a compact JWS apart. BEARER_UNKNOWN: it is no such thing, or longer than MAX_TOKEN_BYTES."""
    segments = _COMPACT.fullmatch(token) if len(token) <= MAX_TOKEN_BYTES else None
    if segments is None:
        return Refused(RefusalKind.BEARER_UNKNOWN)
    try:
        header = parse_object(_decode_segment(segments[1]))
        issuer = parse_object(_decode_segment(segments[2])).get("iss")
    except ValueError:
        return Refused(RefusalKind.BEARER_MALFORMED)
    if not isinstance(issuer, str):
        return Refused(RefusalKind.BEARER_MALFORMED)
    return UnverifiedToken(issuer=issuer, header=header)


def read_signature_header(header: dict[str, object]) -> SignatureHeader | Refused:
    """What of a header counts."""
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALLOWED_ALGORITHMS:
        return Refused(RefusalKind.BEARER_ALGORITHM)
    if "crit" in header or "b64" in header:
        return Refused(RefusalKind.BEARER_MALFORMED)
    if key_id is not None and (not isinstance(key_id, str) or len(key_id) > MAX_KEY_ID_CHARACTERS):
        return Refused(RefusalKind.BEARER_MALFORMED)
    return SignatureHeader(algorithm=algorithm, key_id=key_id)


def signed_payload(token: bytes, header: SignatureHeader, keys: SigningKeys) -> bytes | None:
    """The payload, if one of the keys made the signature."""
    for key in keys.candidates(header.key_id, header.algorithm):
        try:
            payload = _JWS.decode_complete(token, key=key, algorithms=[header.algorithm])["payload"]
        except PyJWTError:
            continue
        return bytes(payload)
    return None


def _decode_segment(segment: bytes) -> bytes:
    return base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
