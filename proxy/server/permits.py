"""Permits over time: a read that waited for upstream looks again before it answers."""

from __future__ import annotations

from proxy.api.status import Forbidden, ServiceUnavailable
from proxy.authn.user import User
from proxy.authz.decision import Attributes, Denied, Permit, Undecided
from proxy.server.authority import Authority


def permit_or_raise(authority: Authority, user: User, attributes: Attributes) -> Permit:
    """The Permit under the state in force. Raises Forbidden, or ServiceUnavailable while nobody can tell."""
    match authority.decide(user, attributes):
        case Permit() as permit:
            return permit
        case Denied(message=message, details=details):
            raise Forbidden(message, details=details)
        case Undecided(message=message):
            raise ServiceUnavailable(message)


def renewed(authority: Authority, permit: Permit) -> Permit:
    """The permit for the same question under the state in force. Raises as `permit_or_raise`."""
    return permit_or_raise(authority, permit.user, permit.attributes)
