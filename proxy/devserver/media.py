"""What representation a client accepts: JSON objects, a Table, or metadata only.

Clauses are tried in order of their q, then as written; one that cannot be satisfied is skipped.

Source: k8s.io/apiserver/pkg/endpoints/handlers/negotiation/negotiate.go
"""

from __future__ import annotations

from enum import Enum

from proxy.api.status import NotAcceptable


class Form(Enum):
    """The representation of an answer."""

    OBJECT = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


_ACCEPTED_TYPES = ("application/json", "application/*", "*/*")
_FORMS = {"": Form.OBJECT, "Table": Form.TABLE, "PartialObjectMetadata": Form.METADATA}


def negotiate(accept: str, *, is_list: bool) -> Form:
    """The form of a read. Raises NotAcceptable when no clause can be met."""
    for media_type, parameters in _clauses(accept):
        if media_type not in _ACCEPTED_TYPES:
            continue
        wanted = parameters.get("as", "")
        if is_list and wanted == "PartialObjectMetadataList":
            wanted = "PartialObjectMetadata"
        elif is_list and wanted == "PartialObjectMetadata":
            continue
        if wanted and not _is_meta(parameters):
            continue
        if wanted in _FORMS:
            return _FORMS[wanted]
    raise NotAcceptable("only the following media types are accepted: application/json")


def wants_aggregated_discovery(accept: str) -> bool:
    """True when the first clause that can be met is the aggregated form of discovery, v2."""
    for media_type, parameters in _clauses(accept):
        if media_type in _ACCEPTED_TYPES:
            if not parameters.get("as"):
                return False
            if parameters.get("g") == "apidiscovery.k8s.io" and parameters.get("v") == "v2":
                return parameters["as"] == "APIGroupDiscoveryList"
    return False


def _is_meta(parameters: dict[str, str]) -> bool:
    versions = ("v1", "v1beta1") if parameters["as"] == "Table" else ("v1",)
    return parameters.get("g") == "meta.k8s.io" and parameters.get("v") in versions


def _clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    clauses = []
    for clause in (accept or "*/*").split(","):
        media_type, *parts = (part.strip() for part in clause.split(";"))
        parameters = dict(part.partition("=")[::2] for part in parts)
        clauses.append((media_type.lower(), parameters))
    return sorted(clauses, key=lambda clause: -_quality(clause[1]))


def _quality(parameters: dict[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 1.0
