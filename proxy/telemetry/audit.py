"""Audit events: one request as an `audit.k8s.io/v1` Event of level Metadata.

No header but the user agent, no body, and no query parameter that may hold a credential is in one.

Source: k8s.io/apiserver/pkg/apis/audit/v1/types.go
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import quote_from_bytes

import msgspec

from proxy.api.query import Query
from proxy.api.request_target import canonical_target
from proxy.authn.user import User
from proxy.authz.decision import Denied, Permit
from proxy.authz.rbac import reads_objects
from proxy.telemetry.request_record import RequestRecord
from proxy.telemetry.scope_text import scope_text

RESPONSE_STARTED = "ResponseStarted"
RESPONSE_COMPLETE = "ResponseComplete"

MAX_USER_AGENT_CHARACTERS = 1024
MAX_UNPARSED_TARGET_BYTES = 1024
_TRUNCATED = "...TRUNCATED"

_OUTSIDE_SCOPE = "the object is outside of the caller's scope, or does not exist"

_MAY_NOT_IMPERSONATE = "the caller may not impersonate whom it named"
"""The only refusal that comes before the question itself is decided."""

_SECRET_NAME = re.compile("token|password|secret|credential|authorization|signature|api.?key", re.IGNORECASE)
"""Query parameters of such names are left out: what is relayed to a pod or service may carry anything."""

_END_OF_PATH = re.compile(rb"[?;#]|%3[FfBb]|%23")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


class EventUser(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A UserInfo."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] | None = None


class ObjectReference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the request names."""

    resource: str = ""
    namespace: str = ""
    name: str = ""
    apiGroup: str = ""  # noqa: N815 (the wire's own names, here and below)
    apiVersion: str = ""  # noqa: N815
    subresource: str = ""


class ResponseStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of the answer's head."""

    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    code: int


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An audit Event, its fields in the order upstream prints. `responseStatus` None: nothing was answered."""

    kind: str
    apiVersion: str  # noqa: N815
    level: str
    auditID: str  # noqa: N815
    stage: str
    requestURI: str  # noqa: N815
    verb: str
    user: EventUser
    impersonatedUser: EventUser | None = None  # noqa: N815
    sourceIPs: tuple[str, ...] = ()  # noqa: N815
    userAgent: str = ""  # noqa: N815
    objectRef: ObjectReference | None = None  # noqa: N815
    responseStatus: ResponseStatus | None = None  # noqa: N815
    requestReceivedTimestamp: str  # noqa: N815
    stageTimestamp: str  # noqa: N815
    annotations: dict[str, str] | None = None


_encode = msgspec.json.Encoder().encode


def audit_line(record: RequestRecord, stage: str, now: float) -> bytes:
    """The Event as one line of JSON. `now` is in seconds since the epoch."""
    return _encode(audit_event(record, stage, now)) + b"\n"


def audit_event(record: RequestRecord, stage: str, now: float) -> Event:
    """The Event of a request at `stage`."""
    impersonated = record.user if record.user is not record.caller else None
    return Event(
        kind="Event",
        apiVersion="audit.k8s.io/v1",
        level="Metadata",
        auditID=record.audit_id,
        stage=stage,
        requestURI=_request_uri(record),
        verb=record.request.info.verb if record.request else record.method.lower(),
        user=_event_user(record.caller) if record.caller else EventUser(),
        impersonatedUser=_event_user(impersonated) if impersonated else None,
        sourceIPs=(record.source_ip,) if record.source_ip else (),
        userAgent=_cut(record.user_agent),
        objectRef=_object_reference(record),
        responseStatus=ResponseStatus(code=record.code) if record.code else None,
        requestReceivedTimestamp=_micro_time(record.received_at),
        stageTimestamp=_micro_time(now),
        annotations=_annotations(record) or None,
    )


def _request_uri(record: RequestRecord) -> str:
    if record.request is None:
        path = _END_OF_PATH.split(record.target, maxsplit=1)[0] if record.target.startswith(b"/") else b""
        return quote_from_bytes(path[:MAX_UNPARSED_TARGET_BYTES], safe=_PRINTABLE)
    shown = Query(tuple(pair for pair in record.request.query.pairs if not _SECRET_NAME.search(pair[0])))
    return canonical_target(record.request.info, shown).decode()


def _event_user(user: User) -> EventUser:
    return EventUser(username=user.name, uid=user.uid, groups=user.groups, extra=dict(user.extra) or None)


def _object_reference(record: RequestRecord) -> ObjectReference | None:
    if record.request is None or not record.request.info.is_resource_request:
        return None
    info = record.request.info
    return ObjectReference(
        resource=info.resource,
        namespace=info.namespace,
        name=info.name,
        apiGroup=info.api_group,
        apiVersion=info.api_version,
        subresource=info.subresource,
    )


def _annotations(record: RequestRecord) -> dict[str, str]:
    annotations: dict[str, str] = {}
    decision = record.decision
    if record.forbidden:
        annotations["authorization.k8s.io/decision"] = "forbid"
        annotations["authorization.k8s.io/reason"] = _reason_of_refusal(record)
    elif isinstance(decision, Permit):
        annotations["authorization.k8s.io/decision"] = "allow"
        annotations["authorization.k8s.io/reason"] = decision.reason
        if reads_objects(decision.attributes):
            annotations["watchkeeper.io/scope"] = scope_text(decision.scope)
            annotations["watchkeeper.io/filtered"] = "false" if decision.scope.everything else "true"
    if record.watch is not None:
        annotations["watchkeeper.io/delivered"] = str(record.watch.delivered)
        annotations["watchkeeper.io/suppressed"] = str(record.watch.suppressed)
        if record.watch.ended_because:
            annotations["watchkeeper.io/ended-because"] = record.watch.ended_because
    return annotations


def _reason_of_refusal(record: RequestRecord) -> str:
    match record.decision:
        case Denied(reason=reason):
            return reason
        case Permit():
            return _OUTSIDE_SCOPE
        case _:
            return _MAY_NOT_IMPERSONATE


def _cut(user_agent: str) -> str:
    if len(user_agent) <= MAX_USER_AGENT_CHARACTERS:
        return user_agent
    return user_agent[:MAX_USER_AGENT_CHARACTERS] + _TRUNCATED


def _micro_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
