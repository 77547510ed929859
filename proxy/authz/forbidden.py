"""The words of a 403: Kubernetes' own sentence about the caller's own request.

Source: k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go, apimachinery/pkg/api/errors NewForbidden,
apimachinery/pkg/util/errors Aggregate
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.api.go_text import quote
from proxy.api.status import StatusDetails
from proxy.authn.user import User
from proxy.authz.decision import Attributes, Denied


def denied(user: User, attributes: Attributes, reason: str) -> Denied:
    """The refusal of a question. `reason` is the authorizer's, empty when it has none."""
    sentence = _cannot(user, attributes).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if reason:
        sentence = f"{sentence}: {reason}"
    if not attributes.is_resource_request:
        return Denied(message=f"forbidden: {sentence}", details=StatusDetails(), reason=reason)
    group_resource = ".".join(filter(None, (attributes.resource, attributes.api_group)))
    if not group_resource:
        subject = "forbidden"
    elif attributes.name:
        subject = f"{group_resource} {quote(attributes.name)} is forbidden"
    else:
        subject = f"{group_resource} is forbidden"
    details = StatusDetails(name=attributes.name, group=attributes.api_group, kind=attributes.resource)
    return Denied(message=f"{subject}: {sentence}", details=details, reason=reason)


def missing_roles_reason(messages: Iterable[str]) -> str:
    """The reason of a refusal whose bindings name roles that are not there; empty without one."""
    distinct = list(dict.fromkeys(messages))
    if not distinct:
        return ""
    return f"RBAC: {distinct[0]}" if len(distinct) == 1 else f"RBAC: [{', '.join(distinct)}]"


def _cannot(user: User, attributes: Attributes) -> str:
    who = f"User {quote(user.name)} cannot {attributes.verb}"
    if not attributes.is_resource_request:
        return f"{who} path {quote(attributes.path)}"
    resource = attributes.resource
    if attributes.subresource:
        resource = f"{resource}/{attributes.subresource}"
    where = f"in the namespace {quote(attributes.namespace)}" if attributes.namespace else "at the cluster scope"
    return f"{who} resource {quote(resource)} in API group {quote(attributes.api_group)} {where}"
