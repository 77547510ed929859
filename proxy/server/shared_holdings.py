"""What callers were last shown, by whichever worker: a table in memory that forked processes share.

A holder has one place, by the hash of what it is; another holder that has the same puts it out. Nothing is locked: two
workers that serve one holder at the same moment may lose what one of them has noted, as if it had been put out.
"""

from __future__ import annotations

import hashlib
import mmap
import struct

from proxy.api.groups import GroupVersionResource
from proxy.authz.holdings import Holder, Holding
from proxy.authz.scope import Scope
from proxy.server.continue_token import scope_digest

PLACES = 65_536

_KEY_BYTES = 16
_PLACE = struct.Struct(f"={_KEY_BYTES}s16sQQQ")  # key, mark of the scope, since, version, foreign
_UNKNOWN = 2**64 - 1


class SharedHoldings:
    """Made before the workers are. Four MiB, of which what is used is really there."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, PLACES * _PLACE.size)

    def mark(self, scope: Scope) -> bytes:
        """A digest."""
        return scope_digest(scope)

    def get(self, holder: Holder) -> Holding | None:
        """None where nothing is known (any more)."""
        key = _key(holder)
        found, mark, since, version, foreign = _PLACE.unpack_from(self._memory, _offset(key))
        return Holding(mark, _known(since), _known(version), foreign) if found == key else None

    def put(self, holder: Holder, holding: Holding) -> None:
        """Replaces what is known of the holder."""
        key = _key(holder)
        since, version = (_UNKNOWN if each is None else each for each in (holding.since, holding.version))
        _PLACE.pack_into(self._memory, _offset(key), key, holding.scope, since, version, holding.foreign)

    def forget(self, gvr: GroupVersionResource) -> None:
        """Nothing is known of holders of this resource any more, nor of others': places do not tell whose they are."""
        self._memory[:] = bytes(len(self._memory))


def _known(version: int) -> int | None:
    return None if version == _UNKNOWN else version


def _key(holder: Holder) -> bytes:
    return hashlib.blake2b(repr(holder).encode(), digest_size=_KEY_BYTES).digest()


def _offset(key: bytes) -> int:
    return int.from_bytes(key[:4]) % PLACES * _PLACE.size
