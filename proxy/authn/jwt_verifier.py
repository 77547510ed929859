"""A JWT of a configured issuer becomes a User: signature, issuer, audience and times, then its claims.

The keys are an argument. A token is looked at before its signature only to learn which keys to try: `iss`, `kid`,
`alg`. Header extensions (`crit`, `b64`) are refused, keys in the header are never looked at. `exp` has no leeway, `nbf`
and `iat` a minute.

Source: RFC 7519, RFC 8725; k8s.io/apiserver/plugin/pkg/authenticator/token/oidc
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeGuard

from jwt import PyJWS, PyJWTError

from proxy.authn.authentication_config import JwtAuthenticator
from proxy.authn.bearer_token import MAX_TOKEN_BYTES
from proxy.authn.claims import ClaimRefused, user_from_claims
from proxy.authn.expiring_cache import ExpiringCache
from proxy.authn.outcome import Authenticated, KeyMissing, RefusalKind, Refused
from proxy.authn.signing_keys import ALLOWED_ALGORITHMS, SigningKeys
from proxy.authn.strict_json import parse_object

NOT_BEFORE_LEEWAY_SECONDS: Final = 60
LATEST_DATE: Final = 253_402_300_799  # the end of the year 9999; beyond it a number is no date
MAX_KEY_ID_CHARACTERS: Final = 256
CACHED_TOKENS: Final = 4096

_COMPACT = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_JWS: Final = PyJWS(algorithms=sorted(ALLOWED_ALGORITHMS), options={"enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unverified:
    """What an unverified token says of itself, to find the keys that may contradict it."""

    issuer: str
    algorithm: str
    key_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A verified token, and the keys that said so: other keys may say otherwise."""

    issuer: str
    keys: SigningKeys
    outcome: Authenticated


class JwtVerifier:
    """Verifies tokens of the issuers of a configuration."""

    def __init__(self, authenticators: Sequence[JwtAuthenticator]) -> None:
        self._authenticators = {authenticator.issuer.url: authenticator for authenticator in authenticators}
        self._verified: ExpiringCache[_Known] = ExpiringCache(CACHED_TOKENS)

    def verify(self, token: bytes, keys: Mapping[str, SigningKeys], now: float) -> Authenticated | Refused | KeyMissing:
        """The user of a token at `now` (seconds since the epoch). `keys` by issuer url; absent: not fetched yet."""
        digest = sha256(token).digest()
        known = self._verified.get(digest, now)
        if known is not None and keys.get(known.issuer) is known.keys:
            return known.outcome
        unverified = _unverified(token)
        if isinstance(unverified, Refused):
            return unverified
        authenticator = self._authenticators.get(unverified.issuer)
        if authenticator is None:
            return Refused(RefusalKind.BEARER_UNKNOWN)
        issuer_keys = keys.get(unverified.issuer)
        if issuer_keys is None:
            return Refused(RefusalKind.BEARER_ISSUER_NOT_READY)
        if unverified.key_id is not None and not issuer_keys.has_key_id(unverified.key_id):
            return KeyMissing(unverified.issuer, unverified.key_id)
        payload = _signed_payload(token, unverified, issuer_keys)
        if payload is None:
            return Refused(RefusalKind.BEARER_SIGNATURE)
        outcome = _judge(payload, authenticator, now)
        if isinstance(outcome, Authenticated) and outcome.expires_at is not None:
            known = _Known(issuer=unverified.issuer, keys=issuer_keys, outcome=outcome)
            self._verified.put(digest, known, outcome.expires_at)
        return outcome


def _unverified(token: bytes) -> _Unverified | Refused:
    segments = _COMPACT.fullmatch(token) if len(token) <= MAX_TOKEN_BYTES else None
    if segments is None:
        return Refused(RefusalKind.BEARER_UNKNOWN)
    try:
        header = parse_object(_decode_segment(segments[1]))
        issuer = parse_object(_decode_segment(segments[2])).get("iss")
    except ValueError:
        return Refused(RefusalKind.BEARER_MALFORMED)
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALLOWED_ALGORITHMS:
        return Refused(RefusalKind.BEARER_ALGORITHM)
    if "crit" in header or "b64" in header or not isinstance(issuer, str):
        return Refused(RefusalKind.BEARER_MALFORMED)
    if key_id is not None and (not isinstance(key_id, str) or len(key_id) > MAX_KEY_ID_CHARACTERS):
        return Refused(RefusalKind.BEARER_MALFORMED)
    return _Unverified(issuer=issuer, algorithm=algorithm, key_id=key_id)


def _decode_segment(segment: bytes) -> bytes:
    return base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))


def _signed_payload(token: bytes, unverified: _Unverified, keys: SigningKeys) -> bytes | None:
    """The payload, if one of the keys made the signature."""
    for key in keys.candidates(unverified.key_id, unverified.algorithm):
        try:
            payload = _JWS.decode_complete(token, key=key, algorithms=[unverified.algorithm])["payload"]
        except PyJWTError:
            continue
        return bytes(payload)
    return None


def _judge(payload: bytes, authenticator: JwtAuthenticator, now: float) -> Authenticated | Refused:
    """The outcome for a payload that the issuer of `authenticator` signed."""
    try:
        claims = parse_object(payload)
    except ValueError:
        return Refused(RefusalKind.BEARER_MALFORMED)
    expires_at, subject = claims.get("exp"), claims.get("sub")
    if claims.get("iss") != authenticator.issuer.url or not isinstance(subject, str) or not subject:
        return Refused(RefusalKind.BEARER_CLAIMS)
    if not _is_date(expires_at):
        return Refused(RefusalKind.BEARER_CLAIMS)
    if now >= expires_at:
        return Refused(RefusalKind.BEARER_EXPIRED)
    for claim in ("nbf", "iat"):
        begins_at = claims.get(claim, 0)
        if not _is_date(begins_at):
            return Refused(RefusalKind.BEARER_CLAIMS)
        if begins_at > now + NOT_BEFORE_LEEWAY_SECONDS:
            return Refused(RefusalKind.BEARER_NOT_YET_VALID)
    if not _is_for_us(claims.get("aud"), authenticator.issuer.audiences):
        return Refused(RefusalKind.BEARER_AUDIENCE)
    try:
        return Authenticated(user_from_claims(claims, authenticator), expires_at=float(expires_at))
    except ClaimRefused:
        return Refused(RefusalKind.BEARER_CLAIMS)


def _is_date(value: object) -> TypeGuard[int | float]:
    """A NumericDate: seconds since the epoch, a fraction allowed. True and False are ints in Python, not here."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LATEST_DATE


def _is_for_us(audience: object, accepted: tuple[str, ...]) -> bool:
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        return False
    return not set(accepted).isdisjoint(named)
