"""The review objects: questions about access and identity, read from JSON or protobuf, and answers written as JSON.

Of the metadata only the names of what is set count, for it must be empty; of a spec what the question is made of.
Unknown fields are dropped and null is absent, as upstream has it.

Source: k8s.io/api/authorization/v1 and authentication/v1 (types.go, generated.proto);
apiserver/pkg/endpoints/handlers/create.go and rest.go transformDecodeError (the refusals)
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeAlias

import msgspec

from proxy.api.protobuf import ProtobufError, Schema, message, presence, read_envelope, read_message, text
from proxy.api.status import BadRequest, UnsupportedMediaType

_AUTHORIZATION, _AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"
_JSON, _PROTOBUF = "application/json", "application/vnd.kubernetes.protobuf"


class ReviewType(Enum):
    """The reviews answered here: API group, resource, kind."""

    SELF_ACCESS = (_AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview")
    ACCESS = (_AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview")
    LOCAL_ACCESS = (_AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview")
    SELF_RULES = (_AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview")
    SELF = (_AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview")

    @property
    def group(self) -> str:
        """The API group."""
        return self.value[0]

    @property
    def kind(self) -> str:
        """The kind of the object."""
        return self.value[2]

    @property
    def is_about_caller(self) -> bool:
        """True when it asks about whoever sends it."""
        return self not in (ReviewType.ACCESS, ReviewType.LOCAL_ACCESS)


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


class AccessSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an access review asks. `user`, `groups`, `extra` and `uid` only where it is about somebody else."""

    resourceAttributes: ResourceAttributes | None = None  # noqa: N815
    nonResourceAttributes: NonResourceAttributes | None = None  # noqa: N815
    user: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}
    uid: str = ""


class RulesSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a SelfSubjectRulesReview asks."""

    namespace: str = ""


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """A review as sent. `metadata` holds the fields that are set; `access` or `rules` is given where the type has it."""

    metadata: Mapping[str, Any]
    access: AccessSpec | None = None
    rules: RulesSpec | None = None


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


ReviewStatus: TypeAlias = AccessStatus | RulesStatus | SelfStatus


def decode_review(body: bytes, content_type: str, asked: ReviewType, version: str) -> Review:
    """Reads a body that was sent to `asked` in `version`. An absent Content-Type is JSON.

    Raises UnsupportedMediaType, BadRequest.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == _PROTOBUF:
        document = _from_protobuf(body, asked)
    elif media_type in ("", _JSON):
        document = _from_json(body, asked)
    else:
        raise UnsupportedMediaType((_JSON, _PROTOBUF))
    _check_type(document, asked, version)
    try:
        metadata, spec = msgspec.convert(document, _Document).parts()
        if asked is ReviewType.SELF:
            return Review(metadata=metadata)
        if asked is ReviewType.SELF_RULES:
            return Review(metadata=metadata, rules=msgspec.convert(spec, RulesSpec))
        return Review(metadata=metadata, access=msgspec.convert(spec, AccessSpec))
    except msgspec.ValidationError as error:
        raise BadRequest(f'{asked.kind} in version "{version}" cannot be handled as a {asked.kind}: {error}') from error


def encode_review(
    asked: ReviewType,
    version: str,
    *,
    metadata: Mapping[str, str],
    spec: AccessSpec | RulesSpec | None,
    status: ReviewStatus,
) -> bytes:
    """The answered review as JSON; without `spec` where the type has none."""
    document: dict[str, Any] = {"kind": asked.kind, "apiVersion": f"{asked.group}/{version}", "metadata": metadata}
    if spec is not None:
        document["spec"] = spec
    return msgspec.json.encode({**document, "status": status}) + b"\n"


class _Document(msgspec.Struct):
    metadata: dict[str, Any] = {}
    spec: dict[str, Any] = {}

    def parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        set_fields = {name: value for name, value in self.metadata.items() if value and name != "managedFields"}
        return set_fields, self.spec


def _check_type(document: Mapping[str, Any], asked: ReviewType, version: str) -> None:
    """What is not said of the type is taken from where the object was sent to."""
    group_version, kind = f"{asked.group}/{version}", document.get("kind") or asked.kind
    api_version = document.get("apiVersion") or group_version
    if kind != asked.kind:
        raise BadRequest(f"the object provided is not of type {asked.kind}")
    if api_version != group_version:
        raise BadRequest(
            "the API version in the data does not match the expected API version "
            f"({group_version})"
        )


def _unrecognized(asked: ReviewType, problem: Exception) -> BadRequest:
    return BadRequest(f"the object provided is unrecognized (must be of type {asked.kind}): {problem}")


def _from_json(body: bytes, asked: ReviewType) -> dict[str, Any]:
    try:
        return _without_nulls(msgspec.json.decode(body, type=dict[str, Any]))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unrecognized(asked, error) from error
    except RecursionError as error:
        raise BadRequest("the object is nested too deeply") from error


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value


_REQUIREMENT: Schema = {1: text("key"), 2: text("operator"), 3: text("values", repeated=True)}
_SELECTOR: Schema = {1: text("rawSelector"), 2: message("requirements", _REQUIREMENT, repeated=True)}
_RESOURCE: Schema = {
    1: text("namespace"),
    2: text("verb"),
    3: text("group"),
    4: text("version"),
    5: text("resource"),
    6: text("subresource"),
    7: text("name"),
    8: message("fieldSelector", _SELECTOR),
    9: message("labelSelector", _SELECTOR),
}
_ACCESS: Schema = {
    1: message("resourceAttributes", _RESOURCE),
    2: message("nonResourceAttributes", {1: text("path"), 2: text("verb")}),
    3: text("user"),
    4: text("groups", repeated=True),
    5: message("extra", {1: text("key"), 2: message("value", {1: text("items", repeated=True)})}, repeated=True),
    6: text("uid"),
}
_SELF_ACCESS: Schema = {number: _ACCESS[number] for number in (1, 2)}
_METADATA: Schema = {
    1: text("name"),
    2: text("generateName"),
    3: text("namespace"),
    4: text("selfLink"),
    5: text("uid"),
    6: text("resourceVersion"),
    7: presence("generation"),
    8: presence("creationTimestamp"),
    9: presence("deletionTimestamp"),
    10: presence("deletionGracePeriodSeconds"),
    11: presence("labels"),
    12: presence("annotations"),
    13: presence("ownerReferences"),
    14: presence("finalizers"),
}
_SPECS: Mapping[ReviewType, Schema] = {
    ReviewType.SELF_ACCESS: _SELF_ACCESS,
    ReviewType.ACCESS: _ACCESS,
    ReviewType.LOCAL_ACCESS: _ACCESS,
    ReviewType.SELF_RULES: {1: text("namespace")},
}


def _from_protobuf(body: bytes, asked: ReviewType) -> dict[str, Any]:
    """The document that the same object in JSON would be."""
    schema: dict[int, Any] = {1: message("metadata", _METADATA)}
    if asked in _SPECS:
        schema[2] = message("spec", _SPECS[asked])
    try:
        envelope = read_envelope(body)
        document = read_message(envelope.raw, schema)
    except ProtobufError as error:
        raise _unrecognized(asked, error) from error
    extra = document.get("spec", {}).pop("extra", [])
    if extra:
        document["spec"]["extra"] = {
            each.get("key", ""): each.get("value", {}).get("items", []) for each in extra
        }
    return {"kind": envelope.kind, "apiVersion": envelope.api_version, **document}
