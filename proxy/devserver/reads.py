"""Reads from the storage: one object, and lists at the resourceVersion and page that were asked for.

A continue token is upstream's: unpadded base64url of `{"v":…,"rv":N,"start":"<namespace>/<name>\\0"}`. rv -1 in it
stands for the current state.

Source: k8s.io/apiserver/pkg/storage/continue.go, storage/cacher/delegator/interface.go
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import msgspec

from proxy.api.status import BadRequest, Expired, too_large_resource_version
from proxy.devserver.errors import ContinueExpired, not_found
from proxy.devserver.kinds import Kind
from proxy.devserver.options import EXACT, NOT_OLDER_THAN, ReadOptions, Selection
from proxy.devserver.representation import ListMetadata
from proxy.devserver.storage import Storage, Version

_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105 (the token's format, no secret)
_AT_CURRENT = -1


class _Token(msgspec.Struct):
    v: str
    rv: int
    start: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """Where a list is read: at `rv` (None: the current state), from the keys above `after` on."""

    rv: int | None
    after: tuple[bytes, bytes] | None
    continued: bool


def read_object(storage: Storage, kind: Kind, namespace: str, name: str, rv: int | None) -> Version:
    """The current version. Raises NotFound, or Timeout for a resourceVersion of the future."""
    _check_not_future(storage, rv)
    version = storage.get(kind.gvr, (namespace, name))
    if version is None:
        raise not_found(kind, name)
    return version


def read_list(storage: Storage, selection: Selection, options: ReadOptions) -> tuple[list[Version], ListMetadata]:
    """One page. Raises Expired, Timeout (resourceVersion of the future) or BadRequest (continue token)."""
    page = _page(options)
    _check_not_future(storage, page.rv if page.rv is not None else options.rv)
    rv = storage.rv if page.rv is None else page.rv
    versions = storage.at(selection.kind.gvr, rv)
    if versions is None:
        if page.continued:
            raise ContinueExpired(_encode_token(_AT_CURRENT, page.after or (b"", b"")))
        raise Expired("The resourceVersion for the provided list is too old.")
    matching = [
        version
        for version in versions
        if (page.after is None or _sort_key(version) > page.after) and selection.matches(version.body)
    ]
    limit = 0 if options.rv == 0 and not options.continue_token else options.limit
    if limit <= 0 or len(matching) <= limit:
        return matching, ListMetadata(rv, "", None)
    token = _encode_token(rv, _sort_key(matching[limit - 1]))
    remaining = len(matching) - limit if selection.is_everything else None
    return matching[:limit], ListMetadata(rv, token, remaining)


def _page(options: ReadOptions) -> _Page:
    if options.continue_token:
        if options.rv:
            raise BadRequest("specifying resource version is not allowed when using continue")
        token = _decode_token(options.continue_token)
        namespace, _, name = token.start.removesuffix("\0").rpartition("/")
        rv = None if token.rv == _AT_CURRENT else token.rv
        return _Page(rv=rv, after=(namespace.encode(), name.encode()), continued=True)
    exact = options.match == EXACT or (options.rv and options.limit and options.match != NOT_OLDER_THAN)
    return _Page(rv=options.rv if exact else None, after=None, continued=False)


def _check_not_future(storage: Storage, rv: int | None) -> None:
    if rv is not None and rv > storage.rv:
        raise too_large_resource_version(rv, storage.rv)


def _sort_key(version: Version) -> tuple[bytes, bytes]:
    namespace, name = version.key
    return namespace.encode(), name.encode()


def _encode_token(rv: int, last: tuple[bytes, bytes]) -> str:
    namespace, name = (part.decode() for part in last)
    start = f"{namespace}/{name}\0" if namespace else f"{name}\0"
    return base64.urlsafe_b64encode(msgspec.json.encode(_Token(_TOKEN_VERSION, rv, start))).decode().rstrip("=")


def _decode_token(text: str) -> _Token:
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise BadRequest(f"continue key is not valid: {error}") from error
    if token.v != _TOKEN_VERSION:
        raise BadRequest(f"continue key is not valid: server does not recognize this encoded version {token.v}")
    return token
