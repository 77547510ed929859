"""All ways to authenticate, in Kubernetes' order: a valid certificate wins, then the token decides.

| certificate | token | outcome |
| - | - | - |
| valid | any | the certificate's user; the token is not looked at |
| not valid or absent | valid | the token's user |
| not valid or absent | not valid | refused |
| not valid or absent | absent | refused; nobody is anonymous |

Source: k8s.io/apiserver/pkg/authentication/request/union
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.authn.client_certificate import ClientCertificateVerifier
from proxy.authn.jwt_verifier import JwtVerifier
from proxy.authn.outcome import Authenticated, KeyMissing, RefusalKind, Refused
from proxy.authn.signing_keys import SigningKeys
from proxy.authn.static_tokens import StaticTokens
from proxy.authn.user import with_authenticated_group


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request shows: the peer's certificate in DER, the bearer token."""

    certificate: bytes | None
    token: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticator:
    """The configured ways; None is a way that is not configured."""

    certificates: ClientCertificateVerifier | None
    tokens: StaticTokens | None
    jwt: JwtVerifier | None

    def authenticate(
        self, credentials: Credentials, keys: Mapping[str, SigningKeys], now: float
    ) -> Authenticated | Refused | KeyMissing:
        """Who calls, a member of `system:authenticated`. `keys` by issuer url, `now` in seconds since the epoch."""
        outcome = self._by_certificate(credentials.certificate, now)
        if isinstance(outcome, Refused) and credentials.token is not None:
            outcome = self._by_token(credentials.token, keys, now)
        if isinstance(outcome, Authenticated):
            return Authenticated(with_authenticated_group(outcome.user), outcome.expires_at)
        return outcome

    def _by_certificate(self, certificate: bytes | None, now: float) -> Authenticated | Refused | KeyMissing:
        if certificate is None or self.certificates is None:
            return Refused(RefusalKind.NO_CREDENTIALS)
        return self.certificates.verify(certificate, now)

    def _by_token(
        self, token: bytes, keys: Mapping[str, SigningKeys], now: float
    ) -> Authenticated | Refused | KeyMissing:
        user = self.tokens.find(token) if self.tokens is not None else None
        if user is not None:
            return Authenticated(user, expires_at=None)
        if self.jwt is None:
            return Refused(RefusalKind.BEARER_UNKNOWN)
        return self.jwt.verify(token, keys, now)
