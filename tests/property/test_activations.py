"""Activations against a model that remembers who was shown what: a stream resumes under the scope it was filtered by.

The model lives through what architecture allows: answers filtered before an activation at its resourceVersion or below,
those filtered after it at its resourceVersion or above, reads that an activation overtakes, caches that lag.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from proxy.authz.activations import MAX_REMEMBERED, Activations, Holder
from proxy.authz.scope import Grant, Scope
from proxy.authz.state import AuthorizationState
from proxy.policy.compile import compile_policy
from proxy.policy.model import PolicySet
from proxy.policy.namespace_set import NamespaceSet
from tests.support.versions import PODS

NO_POLICY = compile_policy(PolicySet())
SCOPES = tuple(
    Scope(
        False,
        frozenset(
            {Grant(namespaces=NamespaceSet(frozenset({name})), names=None, field_selector=None, label_selector=None)}
        ),
    )
    for name in ("team-a", "team-b")
)


def state(activation: int) -> AuthorizationState:
    return AuthorizationState(snapshot=NO_POLICY, namespaces=None, effective_at=0.0, activation=activation)


@dataclass(frozen=True)
class Held:
    """What the client holds: objects as of `rv`, filtered by `scope`. `rewound`: it asked for an old one."""

    rv: int
    scope: Scope
    rewound: bool = False


class Resuming(RuleBasedStateMachine):
    """One resource, one client, and policies that change."""

    def __init__(self) -> None:
        super().__init__()
        self.activations = Activations()
        self.scopes = {1: SCOPES[0]}
        self.now = state(1)
        self.rv = 10
        self.cache_rv = 10
        self.settled: list[int] = []
        self.held: Held | None = None
        self.streaming = False
        self.holder = Holder("alice", PODS.gvr, "", "")
        self.is_forgotten = False

    @property
    def scope(self) -> Scope:
        return self.scopes[self.now.activation]

    # --- the world ---

    @rule()
    def something_is_written(self) -> None:
        self.rv += 1

    @rule(behind=st.integers(0, 3))
    def the_cache_follows(self, behind: int) -> None:
        self.cache_rv = max(self.cache_rv, self.rv - behind)

    @rule(scope=st.sampled_from(SCOPES))
    def activate(self, scope: Scope) -> None:
        changed = scope != self.scope
        self.now = state(self.now.activation + 1)
        self.scopes[self.now.activation] = scope
        if changed:
            self.streaming = False

    @rule()
    def settle(self) -> None:
        """Before any answer about a resource, its resourceVersion since the activation is read."""
        if not self.activations.is_settled(PODS.gvr, self.now):
            self.activations.settle(PODS.gvr, self.now, self.rv)
            self.settled.append(self.rv)

    # --- the client ---

    def _show(self, held: Held) -> None:
        self.activations.hand_out(self.holder, held.scope)
        self.held = held
        self.is_forgotten = False

    @rule()
    def list_now(self) -> None:
        self.settle()
        self._show(Held(self.rv, self.scope))
        self.streaming = False

    @rule(scope=st.sampled_from(SCOPES), written=st.integers(0, 2))
    def list_while_the_policy_changes(self, scope: Scope, written: int) -> None:
        """The answer is given when the scope is the same afterwards; else the read is done again."""
        self.settle()
        read = Held(self.rv, self.scope)
        self.rv += written
        self.activate(scope)
        if self.scope == read.scope:
            self._show(read)
            self.streaming = False
        else:
            self.list_now()

    @rule()
    def list_from_the_cache(self) -> None:
        self.settle()
        if self.activations.may_hand_out(PODS.gvr, self.cache_rv, self.scope, self._scope_under):
            self._show(Held(self.cache_rv, self.scope))
            self.streaming = False

    @rule(back=st.integers(0, 5))
    def list_at_an_old_resource_version(self, back: int) -> None:
        self.settle()
        self._show(Held(max(1, self.rv - back), self.scope, rewound=True))
        self.streaming = False

    @precondition(lambda self: self.streaming)
    @rule(behind=st.integers(0, 2))
    def the_stream_goes_on(self, behind: int) -> None:
        assert self.held is not None
        self.held = Held(max(self.held.rv, self.rv - behind), self.held.scope, self.held.rewound)

    @precondition(lambda self: self.held is not None)
    @rule()
    def what_the_client_was_shown_is_forgotten(self) -> None:
        """The table is bounded. A name that is not in it stands for one that has gone from it."""
        self.holder = self.holder._replace(user=self.holder.user + "'")
        self.is_forgotten = True

    @precondition(lambda self: self.held is not None)
    @rule()
    def resume(self) -> None:
        assert self.held is not None
        self.settle()
        same = self.held.scope == self.scope
        may = self.activations.may_resume(self.holder, self.held.rv, self.scope, self._scope_under)
        if not (self.held.rewound and self.is_forgotten):  # of an old list only the table knows when it was made
            assert not may or same, "a stream resumed from what another scope had filtered"
        is_remembered = self.held.rv >= self.settled[-MAX_REMEMBERED:][0]
        if same and is_remembered and not self.held.rewound and not self.is_forgotten:
            assert may, "a relist for nothing"
        if may:
            self._show(self.held)
            self.streaming = True

    def _scope_under(self, earlier: AuthorizationState) -> Scope:
        return self.scopes[earlier.activation]


TestResuming = Resuming.TestCase
TestResuming.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
