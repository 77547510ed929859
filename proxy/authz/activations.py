"""Which scope held when: decides whether a watch may resume at a resourceVersion.

What a client holds was filtered by the scope of its time, so its stream may go on only under the same scope. Whenever
anything changes that scopes are made of, a new AuthorizationState takes effect: an *activation*. For each resource the
first thing done after an activation, before any answer, is to read its resourceVersion V. So every answer filtered
before the activation is at V or below, and every one filtered after it at V or above.

Where other replicas serve the same callers and follow a change later, answers filtered by the state before go on for a
while. Once that is over the resourceVersion is read again: what they showed is at that one, `late`, or below. A replica
that was ahead is no harm: what it showed was filtered by what is in force here a moment later.

INVARIANT: `may_resume` is True only when whatever the caller can hold at that resourceVersion was filtered by the scope
it has now (tests/unit/authz/test_activations.py).

Design: docs/architecture.md, "When a scope changes".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from proxy.api.groups import GroupVersionResource
from proxy.authz.holdings import Holder, Holding, Holdings
from proxy.authz.scope import Scope
from proxy.authz.state import AuthorizationState

MAX_REMEMBERED = 16
"""Activations kept for each resource; older ones are unknown, which means a relist. States hold whole policies."""


class _Activated(NamedTuple):
    """`late`: what was filtered by the state before, by whomever, is at this or below; None: not known yet.

    `skips`: other states were in force before, of which nothing was read here; another replica may have shown them.
    """

    state: AuthorizationState
    version: int
    late: int | None
    skips: bool


ScopeUnder = Callable[[AuthorizationState], Scope]


class Activations:
    """The states that were, for each resource. Knows nothing of a resource before its first `settle`.

    `among_replicas`: others serve the same callers. For each state there is a time when it `is_late`: when no other
    replica decides by the one before any more.
    """

    def __init__(self, holdings: Holdings, *, among_replicas: bool = False) -> None:
        self._among_replicas = among_replicas
        self._timelines: dict[GroupVersionResource, list[_Activated]] = {}
        self._holdings = holdings
        self._forgotten: set[GroupVersionResource] = set()
        self._first_known = 0

    def is_settled(self, gvr: GroupVersionResource, state: AuthorizationState, *, is_late: bool = True) -> bool:
        """True when what is to be known of `state` is known for the resource."""
        timeline = self._timelines.get(gvr)
        if timeline is None or gvr in self._forgotten or timeline[-1].state.activation < state.activation:
            return False
        return not is_late or all(each.late is not None for each in _until(timeline, state))

    def settle(
        self, gvr: GroupVersionResource, state: AuthorizationState, version: int, *, is_late: bool = True
    ) -> None:
        """Records that the resource was at `version` after `state` took effect. Late or repeated news is ignored.

        `is_late` as it was when the resourceVersion was asked for.
        """
        if self.is_settled(gvr, state, is_late=is_late):
            return
        if gvr in self._forgotten:
            self._forgotten.discard(gvr)
            del self._timelines[gvr]
        timeline = self._timelines.setdefault(gvr, [])
        if timeline and timeline[-1].state.activation < self._first_known:
            timeline.clear()
        if not timeline or timeline[-1].state.activation < state.activation:
            skips = bool(timeline) and timeline[-1].state.activation < state.activation - 1
            timeline.append(_Activated(state, version, None, skips and self._among_replicas))
            del timeline[:-MAX_REMEMBERED]
        if is_late:
            for index, each in enumerate(_until(timeline, state)):
                timeline[index] = each if each.late is not None else each._replace(late=version)

    def forget(self, gvr: GroupVersionResource) -> None:
        """The resource has gone back to older resourceVersions: it has to be settled anew, as after a start.

        Until then what was known stands.
        """
        if gvr in self._timelines:
            self._forgotten.add(gvr)
        self._holdings.forget(gvr)

    def forget_before(self, activation: int) -> None:
        """Nothing is known of what was shown before this activation, as after a start."""
        self._first_known = activation

    def settled_at(self, gvr: GroupVersionResource) -> int:
        """The resourceVersion at which the resource was last settled; it must have been."""
        return self._timelines[gvr][-1].version

    def hand_out(self, holder: Holder, scope: Scope, version: int | None) -> None:
        """Records that the holder is shown what `scope` shows at `version`, None where that is not known."""
        self._holdings.put(holder, Holding(self._holdings.mark(scope), version, version, self.foreign(holder, scope)))

    def reached(self, holder: Holder, scope: Scope, version: int) -> None:
        """Records that a stream under `scope` has shown the holder everything up to `version`."""
        held = self._holdings.get(holder)
        if held is None:
            return
        if held.scope != self._holdings.mark(scope):
            self._holdings.put(holder, held._replace(foreign=max(held.foreign, version)))
        elif held.version is not None:
            self._holdings.put(holder, held._replace(version=max(held.version, version)))

    def holds(self, holder: Holder, scope: Scope) -> bool:
        """True when `scope` is what the holder was last shown."""
        held = self._holdings.get(holder)
        return held is not None and held.scope == self._holdings.mark(scope)

    def foreign(self, holder: Holder, scope: Scope) -> int:
        """The newest resourceVersion the holder may hold under another scope than `scope`; 0 when none is known."""
        held = self._holdings.get(holder)
        if held is None:
            return 0
        if held.scope == self._holdings.mark(scope):
            return held.foreign
        newest = self.settled_at(holder.gvr) if held.version is None else held.version
        return max(held.foreign, newest)

    def may_resume(self, holder: Holder, version: int, scope: Scope, scope_under: ScopeUnder) -> bool:
        """True when a stream of `scope`, the holder's scope now, may start from what it holds at `version`.

        `scope_under` gives the scope of the same question under an earlier state. The resource must be settled.
        Where another client of the holder has been shown more under another scope, only what was shown last counts.
        What another replica may have shown is not gone on with, unless it was shown here as well.
        """
        held = self._holdings.get(holder)
        if held is not None:
            if held.scope != self._holdings.mark(scope):
                return False
            if version <= held.foreign and held.version not in (None, version):
                return False
        states, are_all, is_shared = self._possible(holder.gvr, version)
        if not states:
            return False
        matches = [scope_under(state) == scope for state in states]
        if are_all and not is_shared and all(matches):
            return True
        if not any(matches) and are_all:
            return False
        mark = self._holdings.mark(scope)
        shown = (self._holdings.get(each) for each in (holder, *_wider(holder)))
        return any(each is not None and each.scope == mark and _covers(each, version) for each in shown)

    def may_hand_out(self, gvr: GroupVersionResource, version: int, scope: Scope, scope_under: ScopeUnder) -> bool:
        """True when objects as of `version` may be shown under `scope`, so that a later resume is judged rightly.

        False for a snapshot older than the scope: it would be taken for one that was filtered by the scope before.
        """
        timeline = self._known(gvr)
        last = _last_at(timeline, version)
        return last >= 0 and all(scope_under(activated.state) == scope for activated in timeline[last:])

    def _known(self, gvr: GroupVersionResource) -> list[_Activated]:
        """The timeline; empty while nothing was settled since all was forgotten."""
        timeline = self._timelines[gvr]
        return timeline if timeline[-1].state.activation >= self._first_known else []

    def _possible(self, gvr: GroupVersionResource, version: int) -> tuple[list[AuthorizationState], bool, bool]:
        """The states under which an answer at `version` may have been filtered here, whether these are all, and whether
        it may be of another replica, which may have seen other states than this one.

        At exactly V that may be the state before as well, of which nothing is known at the beginning of the timeline.
        """
        timeline = self._known(gvr)
        first = last = _last_at(timeline, version)
        is_shared = last + 1 < len(timeline) and timeline[last + 1].skips
        while first >= 0 and ((late := timeline[first].late) is None or version <= late):
            is_shared |= late is None or late > timeline[first].version
            first -= 1
        return [activated.state for activated in timeline[max(first, 0) : last + 1]], first >= 0, is_shared


def _covers(held: Holding, version: int) -> bool:
    """True when what was shown here may be what the caller holds at `version`."""
    return held.since is None or held.version is None or held.since <= version <= held.version


def _until(timeline: list[_Activated], state: AuthorizationState) -> list[_Activated]:
    """The beginning of a timeline, up to `state`."""
    return [each for each in timeline if each.state.activation <= state.activation]


def _wider(holder: Holder) -> list[Holder]:
    """The questions that contain the holder's: who lists all namespaces may go on by watching one of them."""
    namespaces, names = {holder.namespace, ""}, {holder.name, ""}
    wider = [holder._replace(namespace=namespace, name=name) for namespace in namespaces for name in names]
    return [each for each in wider if each != holder]


def _last_at(timeline: list[_Activated], version: int) -> int:
    """The index of the newest activation that was there at `version`, -1 for none."""
    return max((index for index, activated in enumerate(timeline) if activated.version <= version), default=-1)
