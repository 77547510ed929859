"""A decision is Permit, Denied or Undecided. Handlers that reach upstream or the cache take a Permit.

INVARIANT: only `authz/rbac.py` makes a Permit (tests/architecture/test_permit.py).
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from proxy.api.request_info import RequestInfo
from proxy.api.status import StatusDetails
from proxy.authn.user import User
from proxy.authz.scope import Scope


class Attributes(msgspec.Struct, frozen=True, kw_only=True):
    """A question to authorization, as upstream's Attributes. `namespaced` is what discovery says of the resource."""

    verb: str
    is_resource_request: bool
    api_group: str = ""
    api_version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    namespaced: bool = False


def attributes_of(info: RequestInfo, *, namespaced: bool) -> Attributes:
    """The question that a request asks. `namespaced` is what discovery says of its resource."""
    return Attributes(
        verb=info.verb,
        is_resource_request=info.is_resource_request,
        api_group=info.api_group,
        api_version=info.api_version,
        resource=info.resource,
        subresource=info.subresource,
        namespace=info.namespace,
        name=info.name,
        path=info.path,
        namespaced=namespaced,
    )


class Permit(msgspec.Struct, frozen=True, kw_only=True):
    """Leave to do what was asked, on the objects of `scope`.

    `activation` numbers the authorization state it was decided in. `reason` is Kubernetes' sentence that names the
    binding and role of the first grant.
    """

    user: User
    attributes: Attributes
    scope: Scope
    activation: int
    reason: str


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """No leave: answered 403 with Kubernetes' sentence."""

    message: str
    details: StatusDetails
    reason: str


class Undecided(msgspec.Struct, frozen=True, kw_only=True):
    """Not known yet, since namespace labels are not there or too old: answered 503."""

    message: str


Decision: TypeAlias = Permit | Denied | Undecided
