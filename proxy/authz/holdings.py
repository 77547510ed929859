"""What callers were last shown: a bounded memory, that forgets the least useful first.

To forget is to know less, as after a start, never to be wrong.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple, Protocol

from proxy.api.groups import GroupVersionResource
from proxy.authz.scope import Scope

MAX_HOLDINGS = 50_000
"""Callers whose last listed scope is kept; the least recently used go. About 300 bytes each."""


class Holder(NamedTuple):
    """Who holds objects: a caller's name, and what it asked for."""

    user: str
    gvr: GroupVersionResource
    namespace: str
    name: str


class Holding(NamedTuple):
    """What a holder was last shown: the mark of the scope, and from which resourceVersion to which (None: not known).

    `foreign` is the newest resourceVersion it is known to have been shown under another scope, 0 for none.
    """

    scope: object
    since: int | None
    version: int | None
    foreign: int


class Holdings(Protocol):
    """Holdings by holder."""

    def mark(self, scope: Scope) -> object:
        """What stands for a scope in a holding: equal for equal scopes."""

    def get(self, holder: Holder) -> Holding | None:
        """None where nothing is known (any more)."""

    def put(self, holder: Holder, holding: Holding) -> None:
        """Replaces what is known of the holder."""

    def forget(self, gvr: GroupVersionResource) -> None:
        """Nothing is known of holders of this resource any more."""


class LocalHoldings:
    """Those of one process."""

    def __init__(self) -> None:
        self._holdings: OrderedDict[Holder, Holding] = OrderedDict()

    def mark(self, scope: Scope) -> Scope:
        """The scope itself."""
        return scope

    def get(self, holder: Holder) -> Holding | None:
        """None where nothing is known (any more)."""
        return self._holdings.get(holder)

    def put(self, holder: Holder, holding: Holding) -> None:
        """Replaces what is known of the holder, which is the most recently used now."""
        self._holdings[holder] = holding
        self._holdings.move_to_end(holder)
        if len(self._holdings) > MAX_HOLDINGS:
            self._holdings.popitem(last=False)

    def forget(self, gvr: GroupVersionResource) -> None:
        """Nothing is known of holders of this resource any more."""
        for holder in [each for each in self._holdings if each.gvr == gvr]:
            del self._holdings[holder]
