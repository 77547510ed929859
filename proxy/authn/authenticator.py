"""All ways to authenticate, in Kubernetes' order: a valid certificate wins, then the token decides.

| certificate | token | outcome |
| - | - | - |
| valid | any | the certificate's user; the token is not looked at |
| not valid or absent | valid | the token's user |
| not valid or absent | not valid | refused |
| not valid | absent | refused |
| absent | absent | anonymous, where the configuration says so; else refused |

A token is meant for somebody, by its own `aud` or, if it names nobody, for this API, whose names are `api_audiences`.

Source: k8s.io/apiserver/pkg/authentication/request/union, request/anonymous, authenticator/audagnostic.go
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from proxy.authn.authentication_config import AnonymousAccess
from proxy.authn.client_certificate import ClientCertificateVerifier
from proxy.authn.jwt_verifier import JwtVerifier
from proxy.authn.outcome import Authenticated, KeyMissing, RefusalKind, Refused
from proxy.authn.signing_keys import SigningKeys
from proxy.authn.static_tokens import StaticTokens
from proxy.authn.user import ANONYMOUS, with_authenticated_group


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request shows: the peer's certificate in DER, the bearer token. `path` is the one it asks for, decoded."""

    certificate: bytes | None
    token: bytes | None
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticator:
    """The configured ways; None is a way that is not configured. No `api_audiences`: a token for anybody is for us."""

    certificates: ClientCertificateVerifier | None
    tokens: StaticTokens | None
    jwt: JwtVerifier | None
    anonymous: AnonymousAccess | None
    api_audiences: tuple[str, ...]

    def authenticate(
        self, credentials: Credentials, keys: Mapping[str, SigningKeys], now: float
    ) -> Authenticated | Refused | KeyMissing:
        """Who calls. `keys` by issuer url, `now` in seconds since the epoch."""
        outcome = self._by_certificate(credentials.certificate, now)
        if isinstance(outcome, Refused) and credentials.token is not None:
            return self.authenticate_token(credentials.token, self.api_audiences, keys, now)
        if outcome == Refused(RefusalKind.NO_CREDENTIALS) and self._is_open_to_anybody(credentials.path):
            return Authenticated(ANONYMOUS, expires_at=None)
        return _in_authenticated_group(outcome)

    def authenticate_token(
        self, token: bytes, audiences: tuple[str, ...], keys: Mapping[str, SigningKeys], now: float
    ) -> Authenticated | Refused | KeyMissing:
        """Whose a token is, if it is meant for one of `audiences` (without any: if it is anybody's).

        Refused as BEARER_UNKNOWN: it is none of those that are known here.
        """
        outcome = self._by_token(token, keys, now)
        if not audiences or not isinstance(outcome, Authenticated):
            return _in_authenticated_group(outcome)
        meant_for = self.api_audiences if outcome.audiences is None else outcome.audiences
        common = tuple(audience for audience in audiences if audience in meant_for)
        if not common:
            return Refused(RefusalKind.BEARER_AUDIENCE)
        return _in_authenticated_group(replace(outcome, audiences=common))

    def _is_open_to_anybody(self, path: str) -> bool:
        return self.anonymous is not None and (not self.anonymous.paths or path in self.anonymous.paths)

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


def _in_authenticated_group(outcome: Authenticated | Refused | KeyMissing) -> Authenticated | Refused | KeyMissing:
    """Everybody authenticated is a member of `system:authenticated`."""
    if isinstance(outcome, Authenticated):
        return replace(outcome, user=with_authenticated_group(outcome.user))
    return outcome
