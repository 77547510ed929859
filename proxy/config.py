"""What `watchkeeper serve` was told, checked and with files read: everything the runtime is built from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from proxy.authn.authentication_config import AuthenticationConfiguration
from proxy.authn.authentication_config_load import (
    InvalidAuthenticationConfiguration,
    load_authentication_configuration,
)
from proxy.authn.public_keys import InvalidKeyFile, parse_public_keys
from proxy.authn.service_account_tokens import LEGACY_ISSUER
from proxy.authn.signing_keys import SigningKeys
from proxy.authn.static_tokens import InvalidTokenFile, StaticTokens, parse_token_file
from proxy.server.continue_token import KEY_BYTES
from proxy.server.limits import Limits
from proxy.upstream.config import UpstreamConfig, config_from_flags, in_cluster_config
from proxy.upstream.errors import ConfigError
from proxy.upstream.kubeconfig import load_kubeconfig


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamFlags:
    """The flags that say where the API server is; all None: the service account of the pod."""

    kubeconfig: Path | None = None
    url: str | None = None
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    token_file: Path | None = None


class HostPort(NamedTuple):
    """An address to listen on. `host` empty: every address of the machine."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryConfig:
    """`audit_log_path` `-` is the standard output; None everywhere: off. `audit_log_strict`: no service without it."""

    audit_log_path: Path | None
    audit_log_strict: bool
    metrics_address: HostPort | None
    health_address: HostPort | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccountConfig:
    """At least one issuer. No `key_files`: the API server is asked for the keys."""

    issuers: tuple[str, ...]
    key_files: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """The settings of a proxy. No `api_audiences`: tokens for anybody are accepted; `token_review_ttl_seconds` is how
    long the answer to a TokenReview counts, None: there are none; `bookmark_interval_seconds` is the time between two
    bookmarks of a watch; `impersonate`: what is done for one caller goes upstream in the caller's name;
    `replica_lag_seconds` is by how much another replica may follow a change later; `continue_key` makes the continue
    tokens of lists; `max_cache_bytes` bounds the watch caches, None: nothing does."""

    policies: Path
    upstream: UpstreamConfig
    bind_address: str
    secure_port: int
    tls_cert_file: Path
    tls_private_key_file: Path
    client_ca_file: Path | None
    token_auth_file: Path | None
    authentication: AuthenticationConfiguration | None
    service_accounts: ServiceAccountConfig | None
    api_audiences: tuple[str, ...]
    token_review_ttl_seconds: float | None
    strict: bool
    impersonate: bool
    limits: Limits
    replica_lag_seconds: float
    continue_key: bytes
    max_cache_bytes: int | None
    bookmark_interval_seconds: float
    telemetry: TelemetryConfig


def upstream_config(flags: UpstreamFlags, environment: Mapping[str, str]) -> UpstreamConfig:
    """The API server that the flags name. Raises ConfigError."""
    others = (flags.ca_file, flags.client_cert_file, flags.client_key_file, flags.token_file)
    if flags.kubeconfig is not None:
        if flags.url is not None or any(others):
            raise ConfigError("--upstream-kubeconfig says everything: no other --upstream flag may stand beside it")
        return load_kubeconfig(flags.kubeconfig)
    if flags.url is not None:
        return config_from_flags(
            url=flags.url,
            ca_file=flags.ca_file,
            client_cert_file=flags.client_cert_file,
            client_key_file=flags.client_key_file,
            token_file=flags.token_file,
        )
    if any(others):
        raise ConfigError("--upstream is missing: the other --upstream flags say how, not where")
    return in_cluster_config(environment)


def host_port(text: str | None, flag: str) -> HostPort | None:
    """`HOST:PORT`, `[::1]:PORT` or `:PORT`; None stays None. Raises ConfigError."""
    if text is None:
        return None
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535 or (":" in bare and bare == host):
        raise ConfigError(f"{flag}: `{text}` is not HOST:PORT")
    return HostPort(bare, int(port))


def service_account_config(issuers: Sequence[str], key_files: Sequence[Path]) -> ServiceAccountConfig | None:
    """What `--service-account-issuer` and `--service-account-key-file` say together. Raises ConfigError."""
    flag = "--service-account-issuer"
    if not issuers and not key_files:
        return None
    if not issuers:
        raise ConfigError(f"{flag} is missing: --service-account-key-file says how its tokens are signed, not by whom")
    for index, issuer in enumerate(issuers):
        if not issuer:
            raise ConfigError(f"{flag} should not be an empty string")
        if issuer in issuers[:index]:
            raise ConfigError(f"{flag}: `{issuer}` is already specified")
        if issuer == LEGACY_ISSUER:
            raise ConfigError(f"{flag}: `{issuer}` is the issuer of legacy tokens, which need no flag")
    return ServiceAccountConfig(issuers=tuple(issuers), key_files=tuple(key_files))


def read_service_account_keys(config: ServiceAccountConfig) -> SigningKeys:
    """The keys of all `--service-account-key-file`. Raises ConfigError, a line for each mistake."""
    try:
        return parse_public_keys({str(path): _read(path, "--service-account-key-file") for path in config.key_files})
    except InvalidKeyFile as error:
        raise ConfigError(str(error)) from error


def of_worker(config: ServeConfig, number: int) -> ServeConfig:
    """The settings of one of several workers: its metrics and probes have the ports that follow."""

    def at(address: HostPort | None) -> HostPort | None:
        return address and HostPort(address.host, address.port + number if address.port else 0)

    own = config.telemetry
    telemetry = replace(own, metrics_address=at(own.metrics_address), health_address=at(own.health_address))
    return replace(config, telemetry=telemetry)


def read_client_ca(path: Path | None) -> bytes | None:
    """The PEM bundle of `--client-ca-file`. Raises ConfigError."""
    return None if path is None else _read(path, "--client-ca-file")


def read_tokens(path: Path | None) -> StaticTokens | None:
    """The tokens of `--token-auth-file`. Raises ConfigError with file and line."""
    if path is None:
        return None
    try:
        return parse_token_file(_read(path, "--token-auth-file"), str(path))
    except InvalidTokenFile as error:
        raise ConfigError(str(error)) from error


def read_authentication(
    path: Path | None, service_accounts: ServiceAccountConfig | None
) -> AuthenticationConfiguration | None:
    """The AuthenticationConfiguration of `--authentication-config`. Raises ConfigError, a line for each mistake."""
    if path is None:
        return None
    try:
        return load_authentication_configuration(
            _read(path, "--authentication-config"),
            str(path),
            service_account_issuers=service_accounts.issuers if service_accounts is not None else (),
        )
    except InvalidAuthenticationConfiguration as error:
        raise ConfigError(str(error)) from error


def read_continue_key(path: Path | None) -> bytes:
    """The key in `--continue-key-file`, which replicas share; else a random one. Raises ConfigError."""
    if path is None:
        return os.urandom(KEY_BYTES)
    secret = _read(path, "--continue-key-file").strip()
    if len(secret) < KEY_BYTES:
        raise ConfigError(
            f"--continue-key-file: `{path}` holds {len(secret)} bytes; at least {KEY_BYTES} random bytes are needed, "
            "for example of `openssl rand -hex 32`"
        )
    return hashlib.sha256(b"watchkeeper continue tokens\n" + secret).digest()


def _read(path: Path, flag: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{flag}: cannot read `{path}`: {error.strerror}") from error
