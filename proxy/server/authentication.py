"""Authentication at work: the pure decision, the keys it needs, and the API server's word on tokens nobody knows here.

A request waits only for a token that names a signing key nobody knows yet, for one fetch of that issuer's keys; and
for the review of a token that is to be reviewed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from proxy.authn.authentication_config import AuthenticationConfiguration
from proxy.authn.authenticator import Authenticator, Credentials
from proxy.authn.bearer_token import parse_authorization
from proxy.authn.client_certificate import ClientCertificateVerifier
from proxy.authn.issuer_tokens import IssuerTokens
from proxy.authn.jwt_verifier import ClaimsJudge, JwtVerifier
from proxy.authn.outcome import Authenticated, KeyMissing, RefusalKind, Refused
from proxy.authn.service_account_tokens import LEGACY_ISSUER, BoundTokens, LegacyTokens
from proxy.authn.signing_keys import SigningKeys
from proxy.authn.static_tokens import StaticTokens
from proxy.authn.user import User
from proxy.server.credential import Credential, Reviewed
from proxy.server.issuer_client import IssuerClient
from proxy.server.jwks import Clock, JwksCache, KeySource
from proxy.server.token_reviewer import TokenReviewer


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccounts:
    """The issuers of service account tokens, and their keys: known, or where they are to be had."""

    issuers: tuple[str, ...]
    keys: SigningKeys | KeySource


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and for how long."""

    user: User
    credential: Credential


class AuthenticationService:
    """None is a way to authenticate that is not configured.

    `client_ca` is a PEM bundle. `api_audiences` are whom tokens must be meant for. Legacy tokens of service accounts
    never end: where there is a `reviewer`, they are left to it. Raises InvalidClientCA.
    """

    def __init__(
        self,
        *,
        client_ca: bytes | None,
        tokens: StaticTokens | None,
        config: AuthenticationConfiguration | None,
        service_accounts: ServiceAccounts | None,
        api_audiences: tuple[str, ...],
        reviewer: TokenReviewer | None,
        clock: Clock,
    ) -> None:
        issuers = config.jwt if config is not None else ()
        judges: dict[str, ClaimsJudge] = {entry.issuer.url: IssuerTokens(entry) for entry in issuers}
        self._caches = {
            entry.issuer.url: JwksCache(entry.issuer.url, IssuerClient(entry.issuer), clock) for entry in issuers
        }
        self._fixed_keys: dict[str, SigningKeys] = {}
        self._account_issuers: tuple[str, ...] = ()
        if service_accounts is not None:
            accounts = _service_account_judges(service_accounts.issuers, accepts_legacy=reviewer is None)
            judges |= accounts
            self._account_issuers = tuple(accounts)
            if isinstance(service_accounts.keys, SigningKeys):
                self.use_service_account_keys(service_accounts.keys)
            else:
                cache = JwksCache(service_accounts.issuers[0], service_accounts.keys, clock)
                self._caches |= dict.fromkeys(self._account_issuers, cache)
        self._reviewer = reviewer
        self._authenticator = Authenticator(
            certificates=ClientCertificateVerifier(client_ca) if client_ca is not None else None,
            tokens=tokens,
            jwt=JwtVerifier(judges) if judges else None,
            anonymous=config.anonymous if config is not None else None,
            api_audiences=api_audiences,
        )

    def use_client_ca(self, client_ca: bytes | None) -> None:
        """From now on certificates are checked against this bundle. Raises InvalidClientCA."""
        self._authenticator = replace(
            self._authenticator,
            certificates=ClientCertificateVerifier(client_ca) if client_ca is not None else None,
        )

    def use_tokens(self, tokens: StaticTokens | None) -> None:
        """From now on these are the static tokens."""
        self._authenticator = replace(self._authenticator, tokens=tokens)

    def use_service_account_keys(self, keys: SigningKeys) -> None:
        """From now on service account tokens are checked against these keys."""
        self._fixed_keys = dict.fromkeys(self._account_issuers, keys)

    async def run(self) -> None:
        """Keeps the issuers' keys fresh until cancelled; returns at once when there is no issuer."""
        async with asyncio.TaskGroup() as tasks:
            for cache in set(self._caches.values()):
                tasks.create_task(cache.run())

    async def authenticate(
        self, peer_der: bytes | None, authorization: Sequence[bytes], path: str, now: float
    ) -> Caller | Refused:
        """Who calls. `authorization`: the raw values of all Authorization fields; `path`: the one asked for, decoded;
        `now`: seconds since the epoch."""
        credentials = Credentials(peer_der, parse_authorization(authorization), path)
        outcome = self._authenticator.authenticate(credentials, self._keys(), now)
        if isinstance(outcome, KeyMissing):
            await self._look_for(outcome)
            outcome = self._authenticator.authenticate(credentials, self._keys(), now)
        match outcome:
            case Authenticated(user, expires_at):
                return Caller(user, Credential(expires_at))
            case KeyMissing():
                return Refused(RefusalKind.BEARER_KEY_UNKNOWN)
            case Refused(RefusalKind.BEARER_UNKNOWN) if self._reviewer is not None and credentials.token is not None:
                return await self._reviewed(self._reviewer, credentials.token)
            case _:
                return outcome

    async def authenticate_token(self, token: bytes, audiences: tuple[str, ...], now: float) -> Authenticated | Refused:
        """Whose a token is, if it is meant for one of `audiences`, without any for one of the API's own."""
        asked_for = audiences or self._authenticator.api_audiences
        outcome = self._authenticator.authenticate_token(token, asked_for, self._keys(), now)
        if isinstance(outcome, KeyMissing):
            await self._look_for(outcome)
            outcome = self._authenticator.authenticate_token(token, asked_for, self._keys(), now)
        match outcome:
            case KeyMissing():
                return Refused(RefusalKind.BEARER_KEY_UNKNOWN)
            case Refused(RefusalKind.BEARER_UNKNOWN) if self._reviewer is not None:
                return (await self._reviewer.review(token, asked_for)).outcome
            case _:
                return outcome

    async def _reviewed(self, reviewer: TokenReviewer, token: bytes) -> Caller | Refused:
        answer = await reviewer.review(token, self._authenticator.api_audiences)
        if isinstance(answer.outcome, Refused):
            return answer.outcome
        user = answer.outcome.user
        reviewed = Reviewed(token=token, user=user, asks_again_at=answer.counts_until)
        return Caller(user, Credential(answer.outcome.expires_at, reviewed))

    async def _look_for(self, missing: KeyMissing) -> None:
        cache = self._caches.get(missing.issuer)
        if cache is not None:
            await cache.look_for(missing.key_id)

    def _keys(self) -> Mapping[str, SigningKeys]:
        fetched = {issuer: cache.keys for issuer, cache in self._caches.items() if cache.keys is not None}
        return {**fetched, **self._fixed_keys}


def _service_account_judges(issuers: Sequence[str], *, accepts_legacy: bool) -> dict[str, ClaimsJudge]:
    judges: dict[str, ClaimsJudge] = dict.fromkeys(issuers, BoundTokens())
    if accepts_legacy:
        judges[LEGACY_ISSUER] = LegacyTokens()
    return judges
