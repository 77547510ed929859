"""UpstreamConfig: where the API server is and as whom the proxy speaks to it; from flags or a service account.

TLS is always verified. Plain HTTP is possible to a loopback address only, where there is nobody in between.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from proxy.upstream.errors import ConfigError

PemSource: TypeAlias = Path | bytes  # a file that is read again when it changes, or the PEM itself

SERVICE_ACCOUNT_DIRECTORY = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")  # resolvers take 0x7f.1 for an address
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9_~:-][A-Za-z0-9._~:-]*)*")
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """The parts of the API server's URL; `base_path` is empty or starts with a slash and does not end with one."""

    scheme: str
    host: str
    port: int
    base_path: str

    @property
    def origin(self) -> str:
        """The URL without a path; an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConfig:
    """`ca` None: the system's roots. A `token_file` wins over a `token`, as in client-go."""

    server: ServerAddress
    ca: PemSource | None = None
    client_certificate: PemSource | None = None
    client_key: PemSource | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    tls_server_name: str | None = None


def parse_server(text: str, *, where: str) -> ServerAddress:
    """The address in a URL. `where` names the file and field, or the flag, in the ConfigError for an unusable one."""
    if not text.isprintable() or " " in text:
        raise ConfigError(f"{where}: the URL contains a blank or a control character")
    try:
        parts = urlsplit(text)
        port = parts.port
        host = (parts.hostname or "").lower()
        is_loopback = _check_host(host, bracketed="[" in parts.netloc)
    except ValueError as error:
        raise ConfigError(f"{where}: `{text}` is not a URL: {error}") from error
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{where}: a URL with a user name or password is not supported")
    if parts.scheme not in _DEFAULT_PORTS:
        raise ConfigError(f"{where}: `{text}` must be of the form https://HOST[:PORT]")
    if parts.scheme == "http" and not is_loopback:
        raise ConfigError(f"{where}: `{text}`: plain http is for loopback addresses only, TLS is verified always")
    if parts.query or parts.fragment or not _BASE_PATH.fullmatch(parts.path.rstrip("/")):
        raise ConfigError(f"{where}: `{text}`: only a plain path may follow the host")
    if port == 0:
        raise ConfigError(f"{where}: `{text}`: port 0 is not a port to connect to")
    return ServerAddress(
        scheme=parts.scheme,
        host=host,
        port=port or _DEFAULT_PORTS[parts.scheme],
        base_path=parts.path.rstrip("/"),
    )


def config_from_flags(
    *,
    url: str,
    ca_file: Path | None = None,
    client_cert_file: Path | None = None,
    client_key_file: Path | None = None,
    token_file: Path | None = None,
) -> UpstreamConfig:
    """The configuration that `--upstream` and the flags beside it describe. Raises ConfigError."""
    check_pair(client_cert_file, client_key_file, "--upstream-client-cert-file", "--upstream-client-key-file")
    return UpstreamConfig(
        server=parse_server(url, where="--upstream"),
        ca=ca_file,
        client_certificate=client_cert_file,
        client_key=client_key_file,
        token_file=token_file,
    )


def in_cluster_config(environment: Mapping[str, str], directory: Path = SERVICE_ACCOUNT_DIRECTORY) -> UpstreamConfig:
    """The configuration of a pod's service account. Raises ConfigError outside of a cluster.

    Source: k8s.io/client-go/rest InClusterConfig
    """
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise ConfigError(
            "no upstream: give --upstream-kubeconfig or --upstream, or run in a pod "
            "(KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set)"
        )
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return UpstreamConfig(
        server=parse_server(f"https://{authority}", where="KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT"),
        ca=directory / "ca.crt",
        token_file=directory / "token",
    )


def check_pair(certificate: object, key: object, certificate_field: str, key_field: str) -> None:
    """Raises ConfigError where only one half of a client certificate is given."""
    if (certificate is None) != (key is None):
        given, missing = (certificate_field, key_field) if key is None else (key_field, certificate_field)
        raise ConfigError(f"{given} needs {missing} beside it")


def _check_host(host: str, *, bracketed: bool) -> bool:
    """True for a loopback address; ValueError for what is neither a name nor an address."""
    if bracketed:
        if "%" in host:
            raise ValueError("an address with a zone is not supported")
        return ipaddress.IPv6Address(host).is_loopback
    if not _HOST_NAME.fullmatch(host):
        raise ValueError("no host name" if not host else "not a host name")
    if _NUMERIC_END.fullmatch(host):
        return ipaddress.IPv4Address(host).is_loopback
    return host == "localhost"
