"""The claims any JWT may have: when it counts, and whom it is meant for. `exp` has no leeway, `nbf` and `iat` a minute.

Source: RFC 7519, section 4.1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeGuard

from proxy.authn.outcome import RefusalKind

NOT_BEFORE_LEEWAY_SECONDS: Final = 60
LATEST_DATE: Final = 253_402_300_799  # the end of the year 9999; beyond it a number is no date


def _is_date(value: object) -> TypeGuard[int | float]:
    """A NumericDate: seconds since the epoch, a fraction allowed. True and False are ints in Python, not here."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LATEST_DATE


def refusal_of_times(claims: Mapping[str, object], now: float) -> RefusalKind | None:
    """Why a token does not count at `now` (seconds since the epoch); None when it does. Absent claims say nothing."""
    expires_at = claims.get("exp", LATEST_DATE)
    if not _is_date(expires_at):
        return RefusalKind.BEARER_CLAIMS
    if now >= expires_at:
        return RefusalKind.BEARER_EXPIRED
    for claim in ("nbf", "iat"):
        begins_at = claims.get(claim, 0)
        if not _is_date(begins_at):
            return RefusalKind.BEARER_CLAIMS
        if begins_at > now + NOT_BEFORE_LEEWAY_SECONDS:
            return RefusalKind.BEARER_NOT_YET_VALID
    return None


def expiry_of(claims: Mapping[str, object]) -> float | None:
    """When a token ends, in seconds since the epoch; None: never, or not at a date."""
    expires_at = claims.get("exp")
    return float(expires_at) if _is_date(expires_at) else None


def audiences_of(claims: Mapping[str, object]) -> tuple[str, ...] | None:
    """Whom a token is meant for, empty when it does not say; None for what is no list of names."""
    audience = claims.get("aud", [])
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        return None
    return tuple(named)
