"""Accept headers, negotiated as upstream does: which media type, and the object itself, a Table or only metadata.

A clause that cannot be satisfied is skipped for the next one. An absent Accept takes the first type that is offered.
`application/*` is understood for every resource, which upstream's router does for custom resources only.

Source: k8s.io/apiserver/pkg/endpoints/handlers/negotiation/negotiate.go; github.com/munnerz/goautoneg
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from proxy.api.go_text import json_string
from proxy.api.query import Query
from proxy.api.status import BadRequest, NotAcceptable

_META_GROUP = "meta.k8s.io"
_META_VERSIONS = frozenset({"v1", "v1beta1"})
_HUMAN_USER_AGENTS = ("curl", "Wget", "Mozilla/5.0")
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_QUALITY = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INSERTION_SORTED = 12
"""Up to this many elements Go's sort is an insertion sort; past it, the order of odd headers is left to chance."""


class MediaType(Enum):
    """What an answer can be encoded as."""

    JSON = "application/json"
    YAML = "application/yaml"
    PROTOBUF = "application/vnd.kubernetes.protobuf"


class Form(Enum):
    """What is shown of an object. The value is upstream's `as=` parameter for one object."""

    OBJECT = ""
    TABLE = "Table"
    PARTIAL_METADATA = "PartialObjectMetadata"


class IncludeObject(Enum):
    """What a Table row carries of its object."""

    NONE = "None"
    METADATA = "Metadata"
    OBJECT = "Object"


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """How objects are shown. `meta_version` is the version of meta.k8s.io of a Table or metadata, "" for objects.

    `untyped_items`: the items of a list of metadata come without `kind` and `apiVersion`, as in protobuf.
    """

    form: Form
    media_type: MediaType
    meta_version: str = ""
    include_object: IncludeObject | None = None
    untyped_items: bool = False


PLAIN_JSON = Representation(form=Form.OBJECT, media_type=MediaType.JSON)
FILTERED_MEDIA_TYPES = (MediaType.JSON,)
"""What a filtered answer can be encoded as."""


def negotiate(
    accept: str, *, verb: str, include_object: str, offered: Sequence[MediaType], convertible: bool = True
) -> Representation:
    """The representation to answer with, of the media types `offered`, the preferred first.

    `accept` is the first Accept header, empty when there is none; `include_object` the query parameter; what is not
    `convertible` is shown as the object itself only. Raises NotAcceptable when no clause fits, or fits only the other
    of one object and a list; BadRequest for an unknown `includeObject` of a Table.
    """
    for clause in _parse_accept(accept) if accept else [_Clause("*", "*", 1.0, {})]:
        for media_type in offered:
            if clause.names(media_type) and (transform := _transform(clause, media_type)) is not None:
                kind, version = transform
                if kind and not convertible:
                    continue
                return _representation(media_type, kind, version, verb, include_object)
    suffix = ";stream=watch" if verb == "watch" else ""
    listed = ", ".join(media_type.value + suffix for media_type in offered)
    raise NotAcceptable(f"only the following media types are accepted: {listed}")


def wants_pretty(query: Query, user_agent: str) -> bool:
    """True when a person reads the answer: `?pretty`, else the user agent decides. A watch is never pretty."""
    pretty = query.first("pretty")
    return pretty in _TRUE if pretty else user_agent.startswith(_HUMAN_USER_AGENTS)


@dataclass(frozen=True, slots=True)
class _Clause:
    """One clause of an Accept header."""

    type: str
    subtype: str
    quality: float
    parameters: Mapping[str, str]

    def names(self, media_type: MediaType) -> bool:
        type_, subtype = media_type.value.split("/")
        return (self.type, self.subtype) in ((type_, subtype), (type_, "*"), ("*", "*"))

    def precedes(self, other: _Clause) -> bool:
        """Upstream's order, though not a strict one: a specific type precedes a wildcard of any quality."""
        return (
            self.quality > other.quality
            or (self.type != "*" and other.type == "*")
            or (self.subtype != "*" and other.subtype == "*")
        )


def _parse_accept(header: str) -> list[_Clause]:
    clauses = [clause for part in header.split(",") if (clause := _parse_clause(part.strip(" "))) is not None]
    if len(clauses) > _INSERTION_SORTED:
        return sorted(clauses, key=lambda clause: (-clause.quality, clause.type == "*", clause.subtype == "*"))
    for end in range(1, len(clauses)):
        at = end
        while at and clauses[at].precedes(clauses[at - 1]):
            clauses[at - 1 : at + 1] = clauses[at], clauses[at - 1]
            at -= 1
    return clauses


def _parse_clause(part: str) -> _Clause | None:
    media_range, *parameters = part.split(";")
    type_, *subtypes = media_range.split("/")
    if subtypes in ([], [""]):
        if type_.strip(" ") != "*":
            return None
        subtypes = ["*"]
    if len(subtypes) > 1 and subtypes[1:] != [""]:
        return None
    given: dict[str, str] = {}
    quality = 1.0
    for parameter in parameters:
        name, *values = parameter.split("=")
        if values in ([], [""]) or (len(values) > 1 and values[1:] != [""]):
            continue
        if name.strip(" ") == "q":
            quality = float(values[0]) if _QUALITY.fullmatch(values[0]) else 0.0
        else:
            given[name.strip(" ")] = values[0].strip(" ")
    return _Clause(type_.strip(" "), subtypes[0].strip(" "), quality, given)


def _transform(clause: _Clause, media_type: MediaType) -> tuple[str, str] | None:
    """(kind, version) of meta.k8s.io the clause converts to, both empty for none; None when it cannot be satisfied."""
    given = clause.parameters
    if given.get("stream", "") not in ("", "watch") or (given.get("stream") and media_type is MediaType.YAML):
        return None
    if given.get("sv", "") not in ("", "v1"):
        return None
    if not {"as", "g", "v"} & given.keys():
        return "", ""
    kind, version = given.get("as", ""), given.get("v", "")
    if given.get("g") != _META_GROUP or version not in _META_VERSIONS:
        return None
    if kind == "Table":
        return None if media_type is MediaType.PROTOBUF else (kind, version)
    return (kind, version) if kind in ("PartialObjectMetadata", "PartialObjectMetadataList") else None


def _representation(media_type: MediaType, kind: str, version: str, verb: str, include_object: str) -> Representation:
    match kind:
        case "":
            return Representation(form=Form.OBJECT, media_type=media_type)
        case "Table":
            return Representation(
                form=Form.TABLE,
                media_type=media_type,
                meta_version=version,
                include_object=_include_object(include_object),
            )
        case "PartialObjectMetadata" if verb == "list":
            raise NotAcceptable("you requested PartialObjectMetadata, but the requested object is a list")
        case "PartialObjectMetadataList" if verb != "list":
            raise NotAcceptable("you requested PartialObjectMetadataList, but the requested object is not a list")
        case _:
            return Representation(form=Form.PARTIAL_METADATA, media_type=media_type, meta_version=version)


def _include_object(text: str) -> IncludeObject:
    if not text:
        return IncludeObject.METADATA
    try:
        return IncludeObject(text)
    except ValueError as error:
        problem = f"includeObject: Invalid value: {json_string(text)}: must be 'Metadata', 'Object', 'None', or empty"
        raise BadRequest(f"Unable to convert to Table as requested: {problem}") from error
