"""What the proxy proves its identity to the API server with, read again when it changes.

Kubernetes rotates service account tokens and certificates in place. A change is seen within RECHECK_SECONDS; what
cannot be read at that moment leaves the last good one in use, and says so in the log. Neither value is ever logged.
"""

from __future__ import annotations

import logging
import re
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from proxy.upstream.config import PemSource, UpstreamConfig
from proxy.upstream.errors import ConfigError

RECHECK_SECONDS = 5.0  # client-go takes a minute; projected tokens and certificates overlap for longer

_BEARER_TOKEN = re.compile(r"[\x21-\x7e]+")
_Signature = tuple[tuple[int, int, int] | None, ...]

_log = logging.getLogger(__name__)


class BearerToken:
    """A token that is fixed or lives in a file. Raises ConfigError when there is none to start with."""

    def __init__(self, *, token: str | None, token_file: Path | None, monotonic: Callable[[], float]) -> None:
        self._file = token_file
        self._monotonic = monotonic
        self._checked_at = monotonic()
        if token_file is None:
            self._token = _checked_token(token or "", "the upstream token")
        else:
            self._token = _read_token(token_file)

    def current(self) -> str:
        """The token to use now."""
        if self._file is not None and self._monotonic() - self._checked_at >= RECHECK_SECONDS:
            self._checked_at = self._monotonic()
            try:
                self._token = _read_token(self._file)
            except ConfigError as error:
                _log.warning("keeping the upstream token in use: %s", error)
        return self._token


class UpstreamTls:
    """The TLS context of connections to the API server; a new one whenever a file behind it changed.

    Raises ConfigError when it cannot be made to start with.
    """

    def __init__(self, config: UpstreamConfig, *, monotonic: Callable[[], float]) -> None:
        self._config = config
        self._monotonic = monotonic
        self._checked_at = monotonic()
        self._signature = self._sign()
        self._context = _create_context(config)

    def context(self) -> ssl.SSLContext:
        """The context for a connection made or reused now."""
        if self._monotonic() - self._checked_at >= RECHECK_SECONDS:
            self._checked_at = self._monotonic()
            signature = self._sign()
            if signature != self._signature:
                self._reload(signature)
        return self._context

    def _reload(self, signature: _Signature) -> None:
        try:
            self._context = _create_context(self._config)
        except ConfigError as error:  # perhaps a pair of which one half is written: tried again next time
            _log.warning("keeping the upstream certificates in use: %s", error)
        else:
            self._signature = signature
            _log.info("upstream certificates reloaded")

    def _sign(self) -> _Signature:
        return tuple(
            _file_signature(source) if isinstance(source, Path) else None
            for source in (self._config.ca, self._config.client_certificate, self._config.client_key)
        )


def _file_signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _read_token(path: Path) -> str:
    try:
        text = path.read_text("ascii")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a bearer token") from error
    return _checked_token(text.strip(), str(path))


def _checked_token(token: str, where: str) -> str:
    if not _BEARER_TOKEN.fullmatch(token):
        raise ConfigError(f"{where}: not a bearer token" if token else f"{where}: empty")
    return token


def _create_context(config: UpstreamConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    # As Go verifies: whatever the CA file holds is an anchor, and an old cluster's CA may lack key identifiers.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if config.ca is None:
        context.load_default_certs()
    else:
        _load_authorities(context, config.ca)
    if config.client_certificate is not None and config.client_key is not None:
        _load_client_certificate(context, config.client_certificate, config.client_key)
    return context


def _load_authorities(context: ssl.SSLContext, source: PemSource) -> None:
    where = f"{source}" if isinstance(source, Path) else "the upstream CA"
    try:
        pem = source.read_bytes() if isinstance(source, Path) else source
        context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))  # bundles have comments in any language
    except ssl.SSLError as error:
        raise ConfigError(f"{where}: holds no CA certificate in PEM form") from error
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{where}: holds no CA certificate in PEM form") from error


def _load_client_certificate(context: ssl.SSLContext, certificate: PemSource, key: PemSource) -> None:
    where = " and ".join(str(source) for source in (certificate, key) if isinstance(source, Path))
    with tempfile.TemporaryDirectory(prefix="watchkeeper-") as directory:  # mode 0700; the ssl module reads files only
        try:
            # Without a password of our own the ssl module would ask the terminal for one.
            context.load_cert_chain(
                _as_file(certificate, Path(directory, "tls.crt")), _as_file(key, Path(directory, "tls.key")), lambda: ""
            )
        except ssl.SSLError as error:
            raise ConfigError(
                f"{where or 'the upstream client certificate'}: not a certificate and its unencrypted key in PEM form"
            ) from error
        except OSError as error:
            raise ConfigError(f"{where}: cannot be read: {error.strerror}") from error


def _as_file(source: PemSource, path: Path) -> Path:
    if isinstance(source, Path):
        return source
    path.write_bytes(source)
    return path
