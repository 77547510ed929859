"""Permits over time: a read that waited for upstream looks again before it answers."""

from __future__ import annotations

from collections.abc import Callable

from proxy.api.status import Forbidden, ServiceUnavailable
from proxy.authn.user import User
from proxy.authz.decision import Attributes, Decision, Denied, Permit, Undecided
from proxy.authz.forbidden import denied
from proxy.server.authority import Authority
from proxy.server.credential import Credential


def permit_or_raise(authority: Authority, user: User, attributes: Attributes) -> Permit:
    """The Permit under the state in force. Raises Forbidden, or ServiceUnavailable while nobody can tell."""
    return permitted(authority.decide(user, attributes))


def permitted(decision: Decision) -> Permit:
    """The decision as a Permit. Raises as `permit_or_raise`."""
    match decision:
        case Permit() as permit:
            return permit
        case Denied(message=message, details=details):
            raise Forbidden(message, details=details)
        case Undecided(message=message):
            raise ServiceUnavailable(message)


def forbidden(permit: Permit) -> Forbidden:
    """The refusal of what was permitted in part, in upstream's words: it gives nothing of one object in part."""
    refusal = denied(permit.user, permit.attributes, "")
    return Forbidden(refusal.message, details=refusal.details)


def renewed(authority: Authority, permit: Permit) -> Permit:
    """The permit for the same question under the state in force. Raises as `permit_or_raise`."""
    return permit_or_raise(authority, permit.user, permit.attributes)


def guard_of(authority: Authority, permit: Permit, credential: Credential) -> Callable[[], None]:
    """What is called before each part of an answer filtered by `permit` is written.

    Raises once its scope has moved, or the caller's credential has ended.
    """

    def check() -> None:
        if credential.has_ended(authority.now()):
            raise ServiceUnavailable("the caller's credential ended while the answer was written")
        if authority.state.activation != permit.activation and renewed(authority, permit).scope != permit.scope:
            raise ServiceUnavailable("authorization changed while the answer was written")

    return check
