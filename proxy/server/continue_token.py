"""Continue tokens of filtered lists: opaque, and good only for the caller and the request they were made for.

Upstream's own token can be read by anybody and names the last key that was scanned, which the caller may not know of.
Ours is encrypted and bound to its request; it holds upstream's token that starts a page and the last key returned.

A token that was good once has expired (410): clients begin a new list then. That is one of another scope than the
caller has now, one of another key (the proxy was started anew, or another replica made it), and one of upstream's own,
which a caller who saw everything was given. What was never good for this request is refused (400).
"""

from __future__ import annotations

import base64
import hashlib

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.api.status import BadRequest, Expired
from proxy.authz.scope import Scope

KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"
_KEY_ID_BYTES = 4
_UPSTREAM_START = b'{"v":"meta.k8s.io/'
"""How upstream's own tokens begin. Source: k8s.io/apiserver/pkg/storage/continue.go"""
_MAX_TOKEN_CHARACTERS = 4096

EXPIRED_MESSAGE = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You can start a new list without the continue parameter."
)


class Position(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Where a list goes on: in which part (a namespace, or "" for all), at which page of it, after which key.

    `rv` is the resourceVersion of the whole list.
    """

    rv: str
    part: str
    upstream_token: str
    last_namespace: str
    last_name: str
    scope: bytes


class ContinueTokens:
    """Makes and reads tokens under one key of KEY_BYTES."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._prefix = _VERSION + hashlib.sha256(b"id of the key" + key).digest()[:_KEY_ID_BYTES]

    def seal(self, position: Position, bound_to: bytes, nonce: bytes) -> str:
        """The token for `position`, good together with the same `bound_to` only. `nonce`: 12 fresh random bytes."""
        sealed = self._cipher.encrypt(nonce, msgspec.msgpack.encode(position), bound_to)
        return base64.urlsafe_b64encode(self._prefix + nonce + sealed).rstrip(b"=").decode()

    def open(self, token: str, bound_to: bytes, scope: Scope) -> Position:
        """The position in a token. Raises BadRequest, or Expired for what was good once (see the module)."""
        data = _decoded(token)
        if data.startswith(_UPSTREAM_START) or (data[:1] == _VERSION and not data.startswith(self._prefix)):
            raise Expired(EXPIRED_MESSAGE)
        rest = data.removeprefix(self._prefix)
        try:
            opened = self._cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], bound_to)
            position = msgspec.msgpack.decode(opened, type=Position)
        except (ValueError, InvalidTag, msgspec.MsgspecError) as error:
            raise BadRequest("invalid continue token: it was not made by this server for this request") from error
        if position.scope != scope_digest(scope):
            raise Expired(EXPIRED_MESSAGE)
        return position


def is_ours(token: str) -> bool:
    """True for the form of this module's tokens, whatever their key: upstream would not know what to do with one."""
    return _decoded(token)[:1] == _VERSION


def _decoded(token: str) -> bytes:
    """The bytes of a token, none of what no server's token looks like."""
    try:
        padded = token + "=" * (-len(token) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True) if len(token) <= _MAX_TOKEN_CHARACTERS else b""
    except ValueError:
        return b""


def scope_digest(scope: Scope) -> bytes:
    """A digest of what a scope shows, the same for equal scopes."""
    grants = sorted(
        repr(
            (
                sorted(grant.namespaces.names) if grant.namespaces else None,
                sorted(grant.namespaces.globs) if grant.namespaces else None,
                sorted(grant.names) if grant.names is not None else None,
                grant.field_selector,
                grant.label_selector,
            )
        )
        for grant in scope.grants
    )
    return hashlib.sha256(repr((scope.everything, grants)).encode()).digest()[:16]
