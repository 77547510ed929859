"""Activations against a model that remembers who was shown what: a stream resumes under the scope it was filtered by.

The model lives through what architecture allows: answers filtered before an activation at its resourceVersion or below,
those filtered after it at its resourceVersion or above, reads that an activation overtakes, caches that lag.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.authz.activations import MAX_REMEMBERED, Activations
from proxy.authz.holdings import Holder, LocalHoldings
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


HOLDER = Holder("alice", PODS.gvr, "", "")
FORGOTTEN = Holder("whoever", PODS.gvr, "", "")


def state(activation: int) -> AuthorizationState:
    return AuthorizationState(snapshot=NO_POLICY, namespaces=None, effective_at=0.0, activation=activation)


@dataclass(frozen=True)
class Held:
    """What the client holds: objects as of `rv`, filtered by `scope`. `rewound`: it asked for an old one."""

    rv: int
    scope: Scope
    rewound: bool = False


class Resuming(RuleBasedStateMachine):
    """One resource, one client, and policies that change. `lag` is for how long other replicas may be behind."""

    lag = 0

    def __init__(self) -> None:
        super().__init__()
        self.activations = Activations(LocalHoldings(), among_replicas=self.lag > 0)
        self.scopes = {1: SCOPES[0]}
        self.time = 0
        self.activated_at = {1: 0}
        self.now = state(1)
        self.rv = 10
        self.cache_rv = 10
        self.settled: list[int] = []
        self.held: Held | None = None
        self.streaming = False

    @property
    def scope(self) -> Scope:
        return self.scopes[self.now.activation]

    @property
    def is_late(self) -> bool:
        return self.time >= self.activated_at[self.now.activation] + self.lag

    @property
    def is_settled(self) -> bool:
        return self.activations.is_settled(PODS.gvr, self.now, is_late=self.is_late)

    # --- the world ---

    @rule()
    def something_is_written(self) -> None:
        self.rv += 1

    @rule(behind=st.integers(0, 3))
    def the_cache_follows(self, behind: int) -> None:
        self.cache_rv = max(self.cache_rv, self.rv - behind)

    @rule(scope=st.sampled_from(SCOPES), asked_for=st.booleans())
    def activate(self, scope: Scope, asked_for: bool = False) -> None:
        changed = scope != self.scope
        self.now = state(self.now.activation + 1)
        self.scopes[self.now.activation] = scope
        self.activated_at[self.now.activation] = self.time
        if changed:
            self.streaming = False
        if asked_for:
            self.settle()

    @rule()
    def settle(self) -> None:
        """Before any answer about a resource, its resourceVersion since the activation is read."""
        if not self.is_settled:
            self.activations.settle(PODS.gvr, self.now, self.rv, is_late=self.is_late)
            self.settled.append(self.rv)

    # --- the client ---

    def _show(self, held: Held) -> None:
        self.activations.hand_out(HOLDER, held.scope, held.rv)
        self.held = held

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
        self.activations.reached(HOLDER, self.held.scope, self.rv)  # told before the client sees the end

    @precondition(lambda self: self.held is not None)
    @rule()
    def resume(self) -> None:
        assert self.held is not None
        self.settle()
        if self.activations.may_resume(HOLDER, self.held.rv, self.scope, self._scope_under):
            self._show(self.held)
            self.streaming = True

    # --- what must hold, whenever the client may come back ---

    @precondition(lambda self: self.held is not None and self.is_settled)
    @invariant()
    def a_stream_resumes_under_the_scope_that_filtered_what_it_resumes_from(self) -> None:
        assert self.held is not None
        may = self._may_resume(HOLDER)
        same = self.held.scope == self.scope
        assert not may or same, "a stream resumes from what another scope had filtered"
        is_remembered = self.held.rv >= self.settled[-MAX_REMEMBERED:][0]
        is_mixed_up = self.held.rv <= self.activations.foreign(HOLDER, self.scope)  # another scope was shown there, too
        if not self.lag and is_remembered and not self.held.rewound and not is_mixed_up:
            assert may or not same, "a relist for nothing"

    @precondition(lambda self: self.held is not None and self.is_settled)
    @invariant()
    def nor_does_one_of_a_client_that_has_gone_from_the_table(self) -> None:
        """Of a list that was asked for at an old resourceVersion only the table knows under which scope it was made."""
        assert self.held is not None
        if not self.held.rewound:
            assert not self._may_resume(FORGOTTEN) or self.held.scope == self.scope

    def _may_resume(self, holder: Holder) -> bool:
        assert self.held is not None
        return self.activations.may_resume(holder, self.held.rv, self.scope, self._scope_under)

    def _scope_under(self, earlier: AuthorizationState) -> Scope:
        return self.scopes[earlier.activation]


class ResumingAmongReplicas(Resuming):
    """The same, and another replica that serves the client too, and follows each change up to `lag` later."""

    lag = 3

    @rule()
    def time_passes(self) -> None:
        self.time += 1

    @rule(behind=st.integers(0, 3))
    def list_at_another_replica(self, behind: int) -> None:
        """Under the state in force, or one before it that is not over everywhere yet. Nothing is known of it here.

        In a cluster where nothing is written two answers have one resourceVersion: docs/operating.md, Replicas.
        """
        self.something_is_written()
        newest = self.now.activation
        oldest = max(1, newest - behind)
        while oldest < newest and self.time >= self.activated_at[oldest + 1] + self.lag:
            oldest += 1
        self.held = Held(self.rv, self.scopes[oldest])
        self.streaming = False

    @rule()
    def the_replica_goes_on(self) -> None:
        """The client is told by another replica, under the scope it has there, what is written."""
        if self.held is not None and not self.streaming and self.held.scope == self.scope:
            self.held = Held(self.rv, self.held.scope, self.held.rewound)


TestResuming = Resuming.TestCase
TestResumingAmongReplicas = ResumingAmongReplicas.TestCase
TestResumingAmongReplicas.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestResuming.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
