"""The payload of a token that a configured OpenID Connect issuer signed: valid now, for us, and whose.

Source: k8s.io/apiserver/plugin/pkg/authenticator/token/oidc
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.authn.authentication_config import JwtAuthenticator
from proxy.authn.claims import ClaimRefused, user_from_claims
from proxy.authn.outcome import Authenticated, RefusalKind, Refused
from proxy.authn.registered_claims import audiences_of, expiry_of, refusal_of_times


class IssuerTokens:
    """Judges the tokens of one issuer."""

    def __init__(self, authenticator: JwtAuthenticator) -> None:
        self._authenticator = authenticator

    def judge(self, claims: Mapping[str, object], now: float) -> Authenticated | Refused:
        """The outcome for claims that the issuer signed, at `now` (seconds since the epoch)."""
        subject = claims.get("sub")
        if claims.get("iss") != self._authenticator.issuer.url or not isinstance(subject, str) or not subject:
            return Refused(RefusalKind.BEARER_CLAIMS)
        if "exp" not in claims:
            return Refused(RefusalKind.BEARER_CLAIMS)
        refusal = refusal_of_times(claims, now)
        if refusal is not None:
            return Refused(refusal)
        if set(self._authenticator.issuer.audiences).isdisjoint(audiences_of(claims) or ()):
            return Refused(RefusalKind.BEARER_AUDIENCE)
        try:
            return Authenticated(user_from_claims(claims, self._authenticator), expires_at=expiry_of(claims))
        except ClaimRefused:
            return Refused(RefusalKind.BEARER_CLAIMS)
