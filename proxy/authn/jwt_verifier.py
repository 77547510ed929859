"""A JWT of a known issuer becomes a User: its signature first, then what the issuer's judge makes of its claims.

The keys are an argument. A token that was verified is remembered until it ends, for as long as the keys stay the same.

Source: RFC 7519, RFC 8725
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from proxy.authn.expiring_cache import ExpiringCache
from proxy.authn.jws import read_signature_header, read_unverified, signed_payload
from proxy.authn.outcome import Authenticated, KeyMissing, RefusalKind, Refused
from proxy.authn.signing_keys import SigningKeys
from proxy.authn.strict_json import parse_object

CACHED_TOKENS: Final = 4096
ENDLESS_TOKEN_SECONDS: Final = 600.0
"""How long a token that never expires is remembered."""


class ClaimsJudge(Protocol):
    """Knows what the claims of an issuer's tokens must say, and of whom they speak."""

    def judge(self, claims: Mapping[str, object], now: float) -> Authenticated | Refused: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A verified token, and the keys that said so: other keys may say otherwise."""

    issuer: str
    keys: SigningKeys
    outcome: Authenticated


class JwtVerifier:
    """Verifies tokens. `judges` by issuer, which is compared letter by letter."""

    def __init__(self, judges: Mapping[str, ClaimsJudge]) -> None:
        self._judges = dict(judges)
        self._verified: ExpiringCache[_Known] = ExpiringCache(CACHED_TOKENS)

    def verify(self, token: bytes, keys: Mapping[str, SigningKeys], now: float) -> Authenticated | Refused | KeyMissing:
        """The user of a token at `now` (seconds since the epoch). `keys` by issuer; absent: not fetched yet.

        BEARER_UNKNOWN: not a token of these issuers, or no JWT at all.
        """
        digest = sha256(token).digest()
        known = self._verified.get(digest, now)
        if known is not None and keys.get(known.issuer) is known.keys:
            return known.outcome
        unverified = read_unverified(token)
        if isinstance(unverified, Refused):
            return unverified
        judge = self._judges.get(unverified.issuer)
        if judge is None:
            return Refused(RefusalKind.BEARER_UNKNOWN)
        header = read_signature_header(unverified.header)
        if isinstance(header, Refused):
            return header
        issuer_keys = keys.get(unverified.issuer)
        if issuer_keys is None:
            return Refused(RefusalKind.BEARER_ISSUER_NOT_READY)
        if header.key_id is not None and not issuer_keys.has_key_id(header.key_id):
            return KeyMissing(unverified.issuer, header.key_id)
        payload = signed_payload(token, header, issuer_keys)
        if payload is None:
            return Refused(RefusalKind.BEARER_SIGNATURE)
        outcome = _judge(judge, payload, now)
        if isinstance(outcome, Authenticated):
            known = _Known(issuer=unverified.issuer, keys=issuer_keys, outcome=outcome)
            self._verified.put(digest, known, outcome.expires_at or now + ENDLESS_TOKEN_SECONDS)
        return outcome


def _judge(judge: ClaimsJudge, payload: bytes, now: float) -> Authenticated | Refused:
    try:
        claims = parse_object(payload)
    except ValueError:
        return Refused(RefusalKind.BEARER_MALFORMED)
    return judge.judge(claims, now)
