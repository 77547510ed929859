"""Authentication at work: the pure decision, and the issuers' keys it needs.

Only a token that names a signing key nobody knows yet waits, for one fetch of that issuer's keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from proxy.authn.authentication_config import AuthenticationConfiguration
from proxy.authn.authenticator import Authenticator, Credentials
from proxy.authn.bearer_token import parse_authorization
from proxy.authn.client_certificate import ClientCertificateVerifier
from proxy.authn.jwt_verifier import JwtVerifier
from proxy.authn.outcome import Authenticated, KeyMissing, RefusalKind, Refused
from proxy.authn.signing_keys import SigningKeys
from proxy.authn.static_tokens import StaticTokens
from proxy.server.issuer_client import IssuerClient
from proxy.server.jwks import Clock, JwksCache


class AuthenticationService:
    """Authenticates by client certificate, static token and JWT; None is a way that is not configured.

    `client_ca` is a PEM bundle. Raises InvalidClientCA.
    """

    def __init__(
        self,
        client_ca: bytes | None,
        tokens: StaticTokens | None,
        config: AuthenticationConfiguration | None,
        clock: Clock,
    ) -> None:
        issuers = config.jwt if config is not None else ()
        self._authenticator = Authenticator(
            certificates=ClientCertificateVerifier(client_ca) if client_ca is not None else None,
            tokens=tokens,
            jwt=JwtVerifier(issuers) if issuers else None,
        )
        self._caches = {
            entry.issuer.url: JwksCache(entry.issuer.url, IssuerClient(entry.issuer), clock) for entry in issuers
        }

    def use_client_ca(self, client_ca: bytes | None) -> None:
        """From now on certificates are checked against this bundle. Raises InvalidClientCA."""
        self._authenticator = replace(
            self._authenticator,
            certificates=ClientCertificateVerifier(client_ca) if client_ca is not None else None,
        )

    def use_tokens(self, tokens: StaticTokens | None) -> None:
        """From now on these are the static tokens."""
        self._authenticator = replace(self._authenticator, tokens=tokens)

    async def run(self) -> None:
        """Keeps the issuers' keys fresh until cancelled; returns at once when there is no issuer."""
        async with asyncio.TaskGroup() as tasks:
            for cache in self._caches.values():
                tasks.create_task(cache.run())

    async def authenticate(
        self, peer_der: bytes | None, authorization: Sequence[bytes], now: float
    ) -> Authenticated | Refused:
        """Who calls. `authorization`: the raw values of all Authorization fields; `now`: seconds since the epoch."""
        credentials = Credentials(peer_der, parse_authorization(authorization))
        outcome = self._authenticator.authenticate(credentials, self._keys(), now)
        if isinstance(outcome, KeyMissing):
            await self._caches[outcome.issuer].look_for(outcome.key_id)
            outcome = self._authenticator.authenticate(credentials, self._keys(), now)
        return Refused(RefusalKind.BEARER_KEY_UNKNOWN) if isinstance(outcome, KeyMissing) else outcome

    def _keys(self) -> dict[str, SigningKeys]:
        return {url: cache.keys for url, cache in self._caches.items() if cache.keys is not None}
