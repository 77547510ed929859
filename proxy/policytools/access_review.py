"""The spec of a SubjectAccessReview, taken literally: no group is added and no name is completed.

Selectors in it are accepted and mean nothing, as RBAC does not look at them.

Source: k8s.io/api/authorization/v1 types.go, k8s.io/kubernetes/pkg/apis/authorization/validation
"""

from __future__ import annotations

import msgspec

from proxy.authn.user import User
from proxy.authz.decision import Attributes
from proxy.policytools.answer import counts_as_namespaced


class _ResourceAttributes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    namespace: str | None = None
    verb: str | None = None
    group: str | None = None
    version: str | None = None
    resource: str | None = None
    subresource: str | None = None
    name: str | None = None
    fieldSelector: dict[str, object] | None = None  # noqa: N815 (the wire's own name)
    labelSelector: dict[str, object] | None = None  # noqa: N815


class _NonResourceAttributes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str | None = None
    verb: str | None = None


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    resourceAttributes: _ResourceAttributes | None = None  # noqa: N815
    nonResourceAttributes: _NonResourceAttributes | None = None  # noqa: N815
    user: str | None = None
    groups: list[str] | None = None
    uid: str | None = None
    extra: dict[str, list[str] | None] | None = None


_decode = msgspec.json.Decoder(_Spec).decode


def read_access_review(spec: bytes) -> tuple[User, Attributes]:
    """The question of a spec as JSON. Raises ValueError that says what is wrong with it."""
    try:
        decoded = _decode(spec)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not decoded.user and not decoded.groups:
        raise ValueError("at least one of `user` or `groups` must be given")
    return _user(decoded), _attributes(decoded)


def _user(spec: _Spec) -> User:
    extra = spec.extra or {}
    return User(
        name=spec.user or "",
        uid=spec.uid or "",
        groups=tuple(spec.groups or ()),
        extra=tuple((key, tuple(extra[key] or ())) for key in sorted(extra)),
    )


def _attributes(spec: _Spec) -> Attributes:
    resource, url = spec.resourceAttributes, spec.nonResourceAttributes
    if resource is not None and url is None:
        group, name = resource.group or "", resource.resource or ""
        return Attributes(
            verb=resource.verb or "",
            is_resource_request=True,
            api_group=group,
            api_version=resource.version or "*",
            resource=name,
            subresource=resource.subresource or "",
            namespace=resource.namespace or "",
            name=resource.name or "",
            namespaced=counts_as_namespaced(group, name),
        )
    if url is not None and resource is None:
        return Attributes(verb=url.verb or "", is_resource_request=False, path=url.path or "")
    raise ValueError("exactly one of `resourceAttributes` and `nonResourceAttributes` must be given")
