"""Which scope held when: decides whether a watch may resume at a resourceVersion.

What a client holds was filtered by the scope of its time, so its stream may go on only under the same scope. Whenever
anything changes that scopes are made of, a new AuthorizationState takes effect: an *activation*. For each resource the
first thing done after an activation, before any answer, is to read its resourceVersion V. So every answer filtered
before the activation is at V or below, and every one filtered after it at V or above.

INVARIANT: `may_resume` is True only when whatever the caller can hold at that resourceVersion was filtered by the scope
it has now (tests/unit/authz/test_activations.py).

Design: architecture.md §5 "When a scope changes".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from proxy.api.groups import GroupVersionResource
from proxy.authz.scope import Scope
from proxy.authz.state import AuthorizationState

MAX_REMEMBERED = 16
"""Activations kept for each resource; older ones are unknown, which means a relist. States hold whole policies."""

MAX_HOLDINGS = 50_000
"""Callers whose last listed scope is kept; the least recently used go. About 300 bytes each."""


class _Activated(NamedTuple):
    state: AuthorizationState
    version: int


class Holder(NamedTuple):
    """Who holds objects: a caller's name, and what it asked for."""

    user: str
    gvr: GroupVersionResource
    namespace: str
    name: str


ScopeUnder = Callable[[AuthorizationState], Scope]


class _Certainty(Enum):
    """What is known of the scope that filtered an answer."""

    YES = "yes"
    NO = "no"
    UNSURE = "at the very resourceVersion of an activation"


class Activations:
    """The states that were, for each resource. Knows nothing of a resource before its first `settle`."""

    def __init__(self) -> None:
        self._timelines: dict[GroupVersionResource, list[_Activated]] = {}
        self._holdings: OrderedDict[Holder, Scope] = OrderedDict()

    def is_settled(self, gvr: GroupVersionResource, state: AuthorizationState) -> bool:
        """True when the resourceVersion of `state`'s activation is known for the resource."""
        timeline = self._timelines.get(gvr)
        return timeline is not None and timeline[-1].state.activation >= state.activation

    def settle(self, gvr: GroupVersionResource, state: AuthorizationState, version: int) -> None:
        """Records that the resource was at `version` after `state` took effect. Late or repeated news is ignored."""
        if not self.is_settled(gvr, state):
            timeline = self._timelines.setdefault(gvr, [])
            timeline.append(_Activated(state, version))
            del timeline[:-MAX_REMEMBERED]

    def settled_at(self, gvr: GroupVersionResource) -> int:
        """The resourceVersion at which the resource was last settled; it must have been."""
        return self._timelines[gvr][-1].version

    def hand_out(self, holder: Holder, scope: Scope) -> None:
        """Records that the holder was last shown what `scope` shows."""
        self._holdings[holder] = scope
        self._holdings.move_to_end(holder)
        if len(self._holdings) > MAX_HOLDINGS:
            self._holdings.popitem(last=False)

    def may_resume(self, holder: Holder, version: int, scope: Scope, scope_under: ScopeUnder) -> bool:
        """True when a stream of `scope`, the holder's scope now, may start from what it holds at `version`.

        `scope_under` gives the scope of the same question under an earlier state. The resource must be settled.
        """
        held = self._holdings.get(holder)
        if held is not None and held != scope:
            return False
        certainty = self._filtered_by(holder.gvr, version, scope, scope_under)
        return certainty is _Certainty.YES or (certainty is _Certainty.UNSURE and held is not None)

    def may_hand_out(self, gvr: GroupVersionResource, version: int, scope: Scope, scope_under: ScopeUnder) -> bool:
        """True when objects as of `version` may be shown under `scope`, so that a later resume is judged rightly.

        False for a snapshot older than the scope: it would be taken for one that was filtered by the scope before.
        """
        return self._filtered_by(gvr, version, scope, scope_under) is not _Certainty.NO

    def _filtered_by(
        self, gvr: GroupVersionResource, version: int, scope: Scope, scope_under: ScopeUnder
    ) -> _Certainty:
        """Whether an answer at `version` was filtered by `scope`."""
        timeline = self._timelines[gvr]
        index = max((i for i, activated in enumerate(timeline) if activated.version <= version), default=-1)
        if index < 0:
            return _Certainty.NO
        first = index
        while first >= 0 and timeline[first].version == version:
            first -= 1  # at exactly V, the state before may have filtered it as well
        possible = timeline[max(first, 0) : index + 1]
        if first >= 0 and all(scope_under(activated.state) == scope for activated in possible):
            return _Certainty.YES
        return _Certainty.NO if first == index else _Certainty.UNSURE
