"""Puts the authentication of a proxy together from its settings, and follows the files of its credentials."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.clock import SystemClock
from proxy.config import ServeConfig, ServiceAccountConfig, read_client_ca, read_service_account_keys, read_tokens
from proxy.server.authentication import AuthenticationService, ServiceAccounts
from proxy.server.file_follower import FileFollower
from proxy.server.listener import ServingTls
from proxy.server.review_keeper import ReviewKeeper
from proxy.server.token_reviewer import TokenReviewer
from proxy.server.upstream_keys import UpstreamKeys
from proxy.upstream.client import UpstreamClient


def build_authentication(
    config: ServeConfig, client: UpstreamClient, clock: SystemClock
) -> tuple[AuthenticationService, ReviewKeeper]:
    """What knows callers, and what looks again at those that the API server knows. Both are to be run.

    Raises ConfigError, InvalidClientCA.
    """
    ttl_seconds = config.token_review_ttl_seconds
    reviewer = None if ttl_seconds is None else TokenReviewer(client, clock, ttl_seconds=ttl_seconds)
    authentication = AuthenticationService(
        client_ca=read_client_ca(config.client_ca_file),
        tokens=read_tokens(config.token_auth_file),
        config=config.authentication,
        service_accounts=_service_accounts(config.service_accounts, client),
        api_audiences=config.api_audiences,
        reviewer=reviewer,
        clock=clock,
    )
    return authentication, ReviewKeeper(reviewer, config.api_audiences, clock)


def file_followers(
    config: ServeConfig, tls: ServingTls, authentication: AuthenticationService
) -> Iterator[tuple[str, FileFollower]]:
    """What is read again when its file changes."""

    def use_client_ca() -> None:
        tls.reload()
        authentication.use_client_ca(read_client_ca(config.client_ca_file))

    yield "serving certificate", FileFollower([config.tls_cert_file, config.tls_private_key_file], tls.reload)
    if config.client_ca_file is not None:
        yield "client CA", FileFollower([config.client_ca_file], use_client_ca)
    if config.token_auth_file is not None:
        yield (
            "static tokens",
            FileFollower(
                [config.token_auth_file], lambda: authentication.use_tokens(read_tokens(config.token_auth_file))
            ),
        )
    accounts = config.service_accounts
    if accounts is not None and accounts.key_files:
        yield (
            "service account keys",
            FileFollower(
                accounts.key_files,
                lambda: authentication.use_service_account_keys(read_service_account_keys(accounts)),
            ),
        )


def _service_accounts(config: ServiceAccountConfig | None, client: UpstreamClient) -> ServiceAccounts | None:
    if config is None:
        return None
    keys = read_service_account_keys(config) if config.key_files else UpstreamKeys(client)
    return ServiceAccounts(issuers=config.issuers, keys=keys)
