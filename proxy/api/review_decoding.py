"""Reads the review objects, from JSON or protobuf.

Unknown fields are dropped and null is absent, as upstream has it. Of the metadata only what is set counts, for it must
be empty.

Source: k8s.io/api/authorization/v1 and authentication/v1 generated.proto; apiserver/pkg/endpoints/handlers/create.go
and rest.go transformDecodeError (the refusals)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from proxy.api.protobuf import Field, ProtobufError, Schema, message, presence, read_envelope, read_message, text
from proxy.api.reviews import AccessSpec, Review, ReviewSpec, ReviewType, RulesSpec, SelfAccessSpec, TokenSpec
from proxy.api.status import BadRequest, UnsupportedMediaType

_JSON, _PROTOBUF = "application/json", "application/vnd.kubernetes.protobuf"

_SPECS: Mapping[ReviewType, type[ReviewSpec]] = {
    ReviewType.SELF_ACCESS: SelfAccessSpec,
    ReviewType.ACCESS: AccessSpec,
    ReviewType.LOCAL_ACCESS: AccessSpec,
    ReviewType.SELF_RULES: RulesSpec,
    ReviewType.TOKEN: TokenSpec,
}


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
        parts = msgspec.convert(document, _Document)
        metadata = {name: value for name, value in parts.metadata.items() if value and name != "managedFields"}
        spec = msgspec.convert(parts.spec, _SPECS[asked]) if asked in _SPECS else None
        return Review(metadata=metadata, spec=spec)
    except msgspec.ValidationError as error:
        raise BadRequest(f'{asked.kind} in version "{version}" cannot be handled as a {asked.kind}: {error}') from error


class _Document(msgspec.Struct):
    metadata: dict[str, Any] = {}
    spec: dict[str, Any] = {}


def _check_type(document: Mapping[str, Any], asked: ReviewType, version: str) -> None:
    """What is not said of the type is taken from where the object was sent to."""
    group_version, kind = f"{asked.group}/{version}", document.get("kind") or asked.kind
    api_version = document.get("apiVersion") or group_version
    if kind != asked.kind:
        raise BadRequest(f"the object provided is not of type {asked.kind}")
    if api_version != group_version:
        raise BadRequest(f"the API version in the data does not match the expected API version ({group_version})")


def _unrecognized(asked: ReviewType, problem: Exception) -> BadRequest:
    return BadRequest(f"the object provided is unrecognized (must be of type {asked.kind}): {problem}")


def _from_json(body: bytes, asked: ReviewType) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
        return {key: _without_nulls(value) for key, value in document.items() if value is not None}
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
_SCHEMAS: Mapping[ReviewType, Schema] = {
    ReviewType.SELF_ACCESS: _SELF_ACCESS,
    ReviewType.ACCESS: _ACCESS,
    ReviewType.LOCAL_ACCESS: _ACCESS,
    ReviewType.SELF_RULES: {1: text("namespace")},
    ReviewType.TOKEN: {1: text("token"), 2: text("audiences", repeated=True)},
}


def _from_protobuf(body: bytes, asked: ReviewType) -> dict[str, Any]:
    """The document that the same object in JSON would be."""
    schema: dict[int, Field] = {1: message("metadata", _METADATA)}
    if asked in _SCHEMAS:
        schema[2] = message("spec", _SCHEMAS[asked])
    try:
        envelope = read_envelope(body)
        document = read_message(envelope.raw, schema)
    except ProtobufError as error:
        raise _unrecognized(asked, error) from error
    extra = document.get("spec", {}).pop("extra", [])
    if extra:
        document["spec"]["extra"] = {each.get("key", ""): each.get("value", {}).get("items", []) for each in extra}
    return {"kind": envelope.kind, "apiVersion": envelope.api_version, **document}
