"""`explain --batch`: HTTP requests, one a line, each with the answer that a server would give before it serves.

A line in is `{"method": "GET", "target": "/api/v1/pods?watch=1"}`. A line out has `request` (null when the request is
refused as it stands), `status` (200 when allowed, 403, 503 where namespace labels are not known, or that of the
refusal), `message`, `allowed`, `filtered` and `scope`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from proxy.api.request_info import RequestInfo
from proxy.api.request_target import parse_request
from proxy.api.status import BadRequest, StatusError
from proxy.authn.user import User
from proxy.authz.decision import Attributes, attributes_of
from proxy.authz.state import AuthorizationState
from proxy.policytools.answer import ask, counts_as_namespaced, scope_document


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    method: str
    target: str


_decode = msgspec.json.Decoder(_Request).decode


def read_request(method: str, target: str) -> tuple[RequestInfo, Attributes]:
    """What a request line asks. Raises the StatusError it is refused with."""
    info = parse_request(method, target.encode("utf-8", "surrogateescape")).info
    return info, attributes_of(info, namespaced=counts_as_namespaced(info.api_group, info.resource))


def explain_requests(state: AuthorizationState, user: User, lines: Iterable[bytes]) -> Iterator[bytes]:
    """One line of JSON for each line, in order. A line that cannot be read is a 400 whose message begins `line N: `."""
    for number, line in enumerate(lines, start=1):
        try:
            answer = _answer_line(state, user, number, line)
        except StatusError as refusal:
            answer = _document(None, refusal.code, refusal.message)
        yield msgspec.json.encode(answer)


def _answer_line(state: AuthorizationState, user: User, number: int, line: bytes) -> dict[str, object]:
    try:
        request = _decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest(f"line {number}: {error}") from error
    info, attributes = read_request(request.method, request.target)
    answer = ask(state, user, attributes)
    return {
        **_document(info, answer.status, answer.reason),
        "allowed": answer.allowed,
        "filtered": answer.filtered,
        "scope": scope_document(answer.scope),
    }


def _document(info: RequestInfo | None, status: int, message: str) -> dict[str, object]:
    return {
        "request": None if info is None else _request_document(info),
        "status": status,
        "message": message,
        "allowed": False,
        "filtered": False,
        "scope": None,
    }


def _request_document(info: RequestInfo) -> dict[str, str]:
    return {
        "verb": info.verb,
        "apiGroup": info.api_group,
        "apiVersion": info.api_version,
        "resource": info.resource,
        "subresource": info.subresource,
        "namespace": info.namespace,
        "name": info.name,
        "path": info.path,
    }
