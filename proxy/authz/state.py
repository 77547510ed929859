"""AuthorizationState: everything a decision depends on besides the question itself."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.authz.namespaces import NamespaceLabels
from proxy.policy.snapshot import PolicySnapshot


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AuthorizationState:
    """What is true from one activation to the next.

    `namespaces` None: the labels of namespaces are not there, or too old. `effective_at` (seconds since the epoch) is
    the moment the state took effect: a binding that expires then or earlier grants nothing.
    """

    snapshot: PolicySnapshot
    namespaces: NamespaceLabels | None
    effective_at: float
    activation: int
