"""What authentication answers: Authenticated, Refused, or KeyMissing, which only its caller can resolve.

A client never learns a RefusalKind: every refusal is the same 401. The kinds are for metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from proxy.authn.user import User


class RefusalKind(Enum):
    """Why nobody was authenticated. The value is a metric label."""

    NO_CREDENTIALS = "no_credentials"
    CERTIFICATE_MALFORMED = "certificate_malformed"
    CERTIFICATE_OUTSIDE_VALIDITY = "certificate_outside_validity"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    CERTIFICATE_IDENTITY = "certificate_identity"
    BEARER_UNKNOWN = "bearer_unknown"
    BEARER_MALFORMED = "bearer_malformed"
    BEARER_ALGORITHM = "bearer_algorithm"
    BEARER_ISSUER_NOT_READY = "bearer_issuer_not_ready"
    BEARER_KEY_UNKNOWN = "bearer_key_unknown"
    BEARER_SIGNATURE = "bearer_signature"
    BEARER_EXPIRED = "bearer_expired"
    BEARER_NOT_YET_VALID = "bearer_not_yet_valid"
    BEARER_AUDIENCE = "bearer_audience"
    BEARER_CLAIMS = "bearer_claims"
    BEARER_REVIEW_DENIED = "bearer_review_denied"
    BEARER_REVIEW_FAILED = "bearer_review_failed"


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A caller, and when the credential ends (seconds since the epoch, None: never); its streams end then too.

    `audiences` are whom the credential is meant for; None: it does not say, so it is meant for this API.
    """

    user: User
    expires_at: float | None
    audiences: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody: answered 401."""

    kind: RefusalKind


@dataclass(frozen=True, slots=True)
class KeyMissing:
    """A token names a signing key that the issuer's known keys do not hold; newer keys may."""

    issuer: str
    key_id: str
