"""What the workers of one proxy know of each other: memory they share, one slot for each.

A client may list at one worker and watch at another, so what another was showing matters here: a slot tells the digest
of the authorization state its worker decides by, and counts how often that changed. A worker tells of a change in the
step in which it takes effect, before anything is answered under it.

A slot has one writer, its worker; once that is dead, the process that looks after the workers.
"""

from __future__ import annotations

import mmap
import struct

from proxy.server.shared_holdings import SharedHoldings

DIGEST_BYTES = 16

_SLOT = struct.Struct(f"=QQ{DIGEST_BYTES}s")  # changes, is serving, digest


class Board:
    """The slots, in memory that forked processes share; and what callers were shown by any worker."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.holdings = SharedHoldings()
        self._memory = mmap.mmap(-1, workers * _SLOT.size)

    def read(self, number: int) -> tuple[int, bool, bytes]:
        """Changes so far, whether it serves, its digest."""
        changes, serving, digest = _SLOT.unpack_from(self._memory, number * _SLOT.size)
        return changes, bool(serving), digest

    def write(self, number: int, changes: int, *, serving: bool, digest: bytes) -> None:
        """Replaces a slot."""
        _SLOT.pack_into(self._memory, number * _SLOT.size, changes, serving, digest)

    def bury(self, number: int) -> None:
        """The worker of this slot is dead. Its changes still count: its clients come to the others."""
        changes, _, digest = self.read(number)
        self.write(number, changes, serving=False, digest=digest)


class Peers:
    """The board as worker `number` sees it. It is no peer before `serve`."""

    def __init__(self, board: Board, number: int) -> None:
        self._board = board
        self.holdings = board.holdings
        self._number = number
        self._others = [other for other in range(board.workers) if other != number]
        self._serving = False
        self._digest = b""
        self._seen = self._changes()

    def publish(self, digest: bytes) -> None:
        """This worker decides by another state from here on."""
        self._digest = digest
        changes, _, _ = self._board.read(self._number)
        self._board.write(self._number, changes + self._serving, serving=self._serving, digest=digest)

    def serve(self) -> None:
        """This worker begins to answer. That is a change where it decides otherwise than the others."""
        self._serving = True
        changes, _, _ = self._board.read(self._number)
        self._board.write(self._number, changes + (not self.agree()), serving=True, digest=self._digest)

    def have_changed(self) -> bool:
        """True when another worker has changed its state since this was last asked."""
        changes = self._changes()
        changed, self._seen = changes != self._seen, changes
        return changed

    def agree(self) -> bool:
        """True when every worker that serves decides by the same state as this one."""
        others = (self._board.read(other) for other in self._others)
        return all(digest == self._digest for _, serving, digest in others if serving)

    def _changes(self) -> tuple[int, ...]:
        return tuple(self._board.read(other)[0] for other in self._others)
