"""A kubeconfig file as an UpstreamConfig: the current context's cluster and user.

What would need a subprocess, weaken TLS or change the identity is refused, not skipped: a proxy that starts with half
of what its file says is worse than one that does not start.

Source: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import yaml

from proxy.upstream.config import PemSource, UpstreamConfig, check_pair, parse_server
from proxy.upstream.errors import ConfigError


class _Cluster(msgspec.Struct, rename="kebab"):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    proxy_url: str = ""


class _User(msgspec.Struct, rename="kebab"):
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    exec: Any = None
    auth_provider: Any = None
    username: str = ""
    password: str = ""
    impersonate: str = msgspec.field(default="", name="as")
    as_uid: str = ""
    as_groups: list[str] | None = None
    as_user_extra: dict[str, list[str]] | None = None


class _Context(msgspec.Struct):
    cluster: str = ""
    user: str = ""


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: _Cluster


class _NamedUser(msgspec.Struct):
    name: str
    user: _User | None = None


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context


class _Kubeconfig(msgspec.Struct):
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None
    current_context: str = msgspec.field(default="", name="current-context")


def load_kubeconfig(path: Path) -> UpstreamConfig:
    """Reads a file. Raises ConfigError when it cannot be read or used."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_kubeconfig(content, source=str(path), base_directory=path.absolute().parent)


def parse_kubeconfig(content: bytes, *, source: str, base_directory: Path) -> UpstreamConfig:
    """The current context of a kubeconfig. Relative paths in it are relative to `base_directory`.

    Reads no other file. Raises ConfigError with `source` and the field at its start.
    """
    document = _decode(content, source)
    if not document.current_context:
        raise ConfigError(f"{source}: current-context: not set")
    context = _named(document.contexts, document.current_context, source, "contexts").context
    cluster = _named(document.clusters, context.cluster, source, "clusters").cluster
    cluster_at = f"{source}: clusters[{context.cluster}].cluster"
    user_at = f"{source}: users[{context.user}].user"
    user = (_named(document.users, context.user, source, "users").user if context.user else None) or _User()
    _refuse_unsupported(cluster, cluster_at, user, user_at)

    certificate = _pem(user, "client_certificate", user_at, base_directory)
    key = _pem(user, "client_key", user_at, base_directory)
    check_pair(certificate, key, f"{user_at}.client-certificate", f"{user_at}.client-key")
    return UpstreamConfig(
        server=parse_server(cluster.server, where=f"{cluster_at}.server"),
        ca=_pem(cluster, "certificate_authority", cluster_at, base_directory),
        client_certificate=certificate,
        client_key=key,
        token=user.token or None,
        token_file=base_directory / user.token_file if user.token_file else None,
        tls_server_name=cluster.tls_server_name or None,
    )


def _decode(content: bytes, source: str) -> _Kubeconfig:
    try:
        return msgspec.convert(yaml.load(content, Loader=yaml.CSafeLoader), type=_Kubeconfig)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        position = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{source}{position}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    except (ValueError, RecursionError) as error:  # a date that does not exist, a wrong type, endless nesting
        raise ConfigError(f"{source}: not a kubeconfig: {error}") from error


def _named(
    entries: list[Any] | None,  # of one of the three _Named structs
    name: str,
    source: str,
    field: str,
) -> Any:
    """The first entry of that name, as in client-go."""
    for entry in entries or ():
        if entry.name == name:
            return entry
    raise ConfigError(f"{source}: {field}: there is none named `{name}`")


def _refuse_unsupported(cluster: _Cluster, cluster_at: str, user: _User, user_at: str) -> None:
    refused = (
        (cluster.insecure_skip_tls_verify, f"{cluster_at}.insecure-skip-tls-verify", "TLS is verified always"),
        (cluster.proxy_url, f"{cluster_at}.proxy-url", "a proxy to the API server is not supported"),
        (user.exec is not None, f"{user_at}.exec", "credential plugins are not supported"),
        (user.auth_provider is not None, f"{user_at}.auth-provider", "credential plugins are not supported"),
        (user.username or user.password, f"{user_at}.username", "user name and password are not supported"),
        (
            user.impersonate or user.as_uid or user.as_groups or user.as_user_extra,
            f"{user_at}.as",
            "impersonation in the kubeconfig is not supported",
        ),
    )
    for is_set, field, why in refused:
        if is_set:
            raise ConfigError(f"{field}: {why}")


def _pem(entry: _Cluster | _User, field: str, at: str, base_directory: Path) -> PemSource | None:
    """`X-data` wins over `X`, as in client-go."""
    inline: str = getattr(entry, f"{field}_data")
    if inline:
        try:
            return base64.b64decode("".join(inline.split()), validate=True)
        except ValueError as error:
            raise ConfigError(f"{at}.{field.replace('_', '-')}-data: not base64: {error}") from error
    path: str = getattr(entry, field)
    return base_directory / path if path else None
