"""The authority: holds the authorization state that is in force, and changes it.

Every change is an activation: it takes effect in one step of the loop, streams whose scope it changes end in the same
step, and the first answer about a resource afterwards waits for that resource's resourceVersion (`settle`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace

from proxy.api.groups import ApiResource, GroupVersionResource
from proxy.api.status import ServiceUnavailable
from proxy.authn.user import User
from proxy.authz.activations import Activations
from proxy.authz.decision import Attributes, Decision, Permit
from proxy.authz.holdings import Holder, LocalHoldings
from proxy.authz.namespaces import NamespaceLabels
from proxy.authz.rbac import authorize
from proxy.authz.scope import NOTHING, Scope
from proxy.authz.state import AuthorizationState
from proxy.policy.snapshot import PolicySnapshot
from proxy.server.peers import DIGEST_BYTES, Peers
from proxy.upstream.lister import Lister
from proxy.watch.history import rv_number

_EXPIRY_CHECK_SECONDS = 0.5

_SETTLING_READS = 20

_STEPS = 30
_STEP_SECONDS = 0.1
"""Leaders renew their leases every two seconds; a caller whose scope has changed waits this long at most, once."""


class Authority:
    """Decides under the state in force. `clock` gives seconds since the epoch; `strict` is `--list-mode strict`.

    `peers` are other processes that serve the same clients, None for none. `replica_lag_seconds`: how much later than
    this proxy another one, of which nothing is known, may follow a change.
    """

    def __init__(
        self,
        snapshot: PolicySnapshot,
        lister: Lister,
        *,
        clock: Callable[[], float],
        strict: bool,
        peers: Peers | None = None,
        replica_lag_seconds: float = 0.0,
    ) -> None:
        self._lister = lister
        self._clock = clock
        self._strict = strict
        self._replica_lag_seconds = replica_lag_seconds
        self._activations = Activations(
            peers.holdings if peers is not None else LocalHoldings(), among_replicas=replica_lag_seconds > 0
        )
        self._observers: list[Callable[[], None]] = []
        self._peers = peers
        self._state = AuthorizationState(snapshot=snapshot, namespaces=None, effective_at=clock(), activation=1)
        self._tell_peers()

    def now(self) -> float:
        """Seconds since the epoch, as decisions see them."""
        return self._clock()

    def observe(self, observer: Callable[[], None]) -> None:
        """`observer` is called right after each activation, in the same step."""
        self._observers.append(observer)

    @property
    def state(self) -> AuthorizationState:
        """The state in force now. A binding that expired meanwhile makes it a new one first."""
        expiry = self._state.snapshot.next_expiry(self._state.effective_at)
        if expiry is not None and expiry <= self._clock():
            self._activate(self._state)
        return self._state

    async def run(self) -> None:
        """Ends what an expired binding allowed, at the second it expires. Runs until cancelled."""
        while True:
            _ = self.state
            await asyncio.sleep(_EXPIRY_CHECK_SECONDS)

    def use_policy(self, snapshot: PolicySnapshot) -> None:
        """Puts another policy in force."""
        if snapshot.revision != self._state.snapshot.revision:
            self._activate(replace(self._state, snapshot=snapshot))

    def use_namespaces(self, namespaces: NamespaceLabels | None) -> None:
        """Puts other namespace labels in force; None when they are not known (any more)."""
        if namespaces != self._state.namespaces:
            self._activate(replace(self._state, namespaces=namespaces))

    def decide(self, user: User, attributes: Attributes) -> Decision:
        """The decision under the state in force."""
        return authorize(self.state, user, attributes, strict=self._strict)

    async def settle(self, resource: ApiResource) -> None:
        """Returns when the resource's resourceVersion since the state in force is known. To be awaited before reads.

        Raises the StatusError of the read; ServiceUnavailable while each read is overtaken by another change.
        """
        self._look_at_peers()
        for _ in range(_SETTLING_READS):
            state = self.state
            is_late = self._clock() >= state.effective_at + self._replica_lag_seconds
            if self._activations.is_settled(resource.gvr, state, is_late=is_late):
                return
            rv = rv_number(await self._lister.current_rv(resource))
            self._activations.settle(resource.gvr, state, rv or 0, is_late=is_late)
        raise ServiceUnavailable("authorization changes faster than it can be put in force")

    async def step_past(self, permit: Permit, resource: ApiResource) -> None:
        """Waits a moment, where the caller's scope is another than it was, for the resourceVersion to move on.

        Then what it is shown next is of no resourceVersion that it was shown anything at before. In a cluster where
        nothing happens it is all the same. Raises the StatusError of a read.
        """
        foreign = self._activations.foreign(_holder(permit, resource), permit.scope)
        if not foreign or self._activations.holds(_holder(permit, resource), permit.scope):
            return
        for _ in range(_STEPS):
            if (rv_number(await self._lister.current_rv(resource)) or 0) > foreign:
                return
            await asyncio.sleep(_STEP_SECONDS)

    def hand_out(self, permit: Permit, resource: ApiResource, rv: str) -> None:
        """Records that the caller is shown what its permit shows at `rv`, "" where that is not known."""
        self._activations.hand_out(_holder(permit, resource), permit.scope, rv_number(rv) if rv else None)

    def reached(self, permit: Permit, resource: ApiResource, rv: str) -> None:
        """Records that a stream under `permit` has shown its caller everything up to `rv`."""
        self._activations.reached(_holder(permit, resource), permit.scope, rv_number(rv) or 0)

    def may_resume(self, permit: Permit, resource: ApiResource, rv: str) -> bool:
        """True when a stream under `permit` may start from what its caller holds at `rv`. To be settled first."""
        self._look_at_peers()
        if self._peers is not None and not self._peers.agree():
            return False
        number = rv_number(rv)
        return number is not None and self._activations.may_resume(
            _holder(permit, resource), number, permit.scope, lambda state: self._scope_under(state, permit)
        )

    def forget(self, gvr: GroupVersionResource) -> None:
        """The API server has gone back with this resource: what its resourceVersions meant is void."""
        self._activations.forget(gvr)

    def settled_at(self, resource: ApiResource) -> int:
        """The resourceVersion since which the state in force is known to hold. To be settled first."""
        return self._activations.settled_at(resource.gvr)

    def may_hand_out(self, permit: Permit, resource: ApiResource, rv: str) -> bool:
        """True when a cache at `rv` may be shown under `permit`. To be settled first."""
        number = rv_number(rv)
        return number is None or self._activations.may_hand_out(
            resource.gvr, number, permit.scope, lambda state: self._scope_under(state, permit)
        )

    def _scope_under(self, state: AuthorizationState, permit: Permit) -> Scope:
        decision = authorize(state, permit.user, permit.attributes, strict=self._strict)
        return decision.scope if isinstance(decision, Permit) else NOTHING

    def _activate(self, state: AuthorizationState) -> None:
        self._state = replace(state, effective_at=self._clock(), activation=self._state.activation + 1)
        self._tell_peers()
        for observer in self._observers:
            observer()

    def _tell_peers(self) -> None:
        if self._peers is not None:
            self._peers.publish(_digest(self._state))

    def _look_at_peers(self) -> None:
        """What a peer showed before its state changed was filtered by what is not known here, as after a start."""
        if self._peers is not None and self._peers.have_changed():
            self._state = replace(self._state, activation=self._state.activation + 1)
            self._activations.forget_before(self._state.activation)


def _digest(state: AuthorizationState) -> bytes:
    labels = None if state.namespaces is None else sorted((n, sorted(v.items())) for n, v in state.namespaces.items())
    known = repr((state.snapshot.revision, labels)).encode()
    return hashlib.blake2b(known, digest_size=DIGEST_BYTES).digest()


def _holder(permit: Permit, resource: ApiResource) -> Holder:
    attributes = permit.attributes
    return Holder(permit.user.name, resource.gvr, attributes.namespace, attributes.name)
