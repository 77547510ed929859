"""The review objects: questions about access and identity, and their answers.

Source: k8s.io/api/authorization/v1 and authentication/v1 types.go
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeAlias

import msgspec

_AUTHORIZATION, _AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"


class ReviewType(Enum):
    """The reviews answered here: API group, resource, kind."""

    SELF_ACCESS = (_AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview")
    ACCESS = (_AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview")
    LOCAL_ACCESS = (_AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview")
    SELF_RULES = (_AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview")
    SELF = (_AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview")
    TOKEN = (_AUTHENTICATION, "tokenreviews", "TokenReview")

    @property
    def group(self) -> str:
        """The API group."""
        return self.value[0]

    @property
    def kind(self) -> str:
        """The kind of the object."""
        return self.value[2]


_BY_RESOURCE = {each.value[:2]: each for each in ReviewType}


def review_type(api_group: str, resource: str) -> ReviewType | None:
    """The review that a resource is, in whatever version; None for all others."""
    return _BY_RESOURCE.get((api_group, resource))


class SelectorRequirement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One requirement of a selector in structured form."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class SelectorAttributes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A selector of the request that is asked about, as text or in structured form."""

    rawSelector: str = ""  # noqa: N815 (the wire's own name)
    requirements: tuple[SelectorRequirement, ...] = ()


class ResourceAttributes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request for a resource."""

    namespace: str = ""
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    fieldSelector: SelectorAttributes | None = None  # noqa: N815
    labelSelector: SelectorAttributes | None = None  # noqa: N815


class NonResourceAttributes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request for a path that is no resource."""

    path: str = ""
    verb: str = ""


class SelfAccessSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question about access: one of the two is to be given."""

    resourceAttributes: ResourceAttributes | None = None  # noqa: N815
    nonResourceAttributes: NonResourceAttributes | None = None  # noqa: N815


class AccessSpec(SelfAccessSpec, frozen=True, kw_only=True, omit_defaults=True):
    """A question about the access of somebody, who is taken literally."""

    user: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}
    uid: str = ""


class RulesSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a SelfSubjectRulesReview asks."""

    namespace: str = ""


class TokenSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a TokenReview asks: whose the token is, if it is meant for one of the audiences."""

    token: str = ""
    audiences: tuple[str, ...] = ()


ReviewSpec: TypeAlias = SelfAccessSpec | AccessSpec | RulesSpec | TokenSpec


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """A review as sent. `metadata` holds the fields that are set; a SelfSubjectReview has no spec."""

    metadata: Mapping[str, Any]
    spec: ReviewSpec | None


class AccessStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to an access review."""

    allowed: bool
    reason: str = ""
    evaluationError: str = ""  # noqa: N815


class ResourceRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may be done with some resources."""

    verbs: tuple[str, ...]
    apiGroups: tuple[str, ...] = ()  # noqa: N815
    resources: tuple[str, ...] = ()
    resourceNames: tuple[str, ...] = ()  # noqa: N815


class NonResourceRule(msgspec.Struct, frozen=True, kw_only=True):
    """What may be done with some paths."""

    verbs: tuple[str, ...]
    nonResourceURLs: tuple[str, ...]  # noqa: N815


class RulesStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a SelfSubjectRulesReview."""

    resourceRules: tuple[ResourceRule, ...]  # noqa: N815
    nonResourceRules: tuple[NonResourceRule, ...]  # noqa: N815
    incomplete: bool
    evaluationError: str = ""  # noqa: N815


class UserInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user, as reviews show one."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class SelfStatus(msgspec.Struct, frozen=True):
    """The answer to a SelfSubjectReview."""

    userInfo: UserInfo  # noqa: N815


class TokenStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a TokenReview. `audiences` are those that were asked for and the token is meant for."""

    authenticated: bool = False
    user: UserInfo = msgspec.field(default_factory=UserInfo)
    audiences: tuple[str, ...] = ()
    error: str = ""


ReviewStatus: TypeAlias = AccessStatus | RulesStatus | SelfStatus | TokenStatus


def encode_review(
    asked: ReviewType,
    version: str,
    *,
    metadata: Mapping[str, str],
    spec: ReviewSpec | None,
    status: ReviewStatus,
) -> bytes:
    """The answered review as JSON; without `spec` where the type has none."""
    document: dict[str, Any] = {"kind": asked.kind, "apiVersion": f"{asked.group}/{version}", "metadata": metadata}
    if spec is not None:
        document["spec"] = spec
    return msgspec.json.encode({**document, "status": status}) + b"\n"
