"""The request target: parsed once, strictly, from the raw bytes, and rebuilt from the parse.

Go and Python read paths and queries differently in ways that pass one object to authorization and another to the
upstream. So what they could disagree about is refused, and the client's own string is never sent on: `canonical_target`
spells the parse anew. INVARIANT: parsing a canonical target gives the same parse (test_request_target_properties).

Source: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go
"""

from __future__ import annotations

import re

import msgspec

from proxy.api.list_options import ListOptions, decode_list_options
from proxy.api.query import Query, parse_boolean, parse_query, percent_decode, percent_encode, recognised
from proxy.api.request_info import RequestInfo
from proxy.api.status import BadRequest, MethodNotAllowed, TargetTooLong

MAX_TARGET_BYTES = 8 * 1024
"""Far more than a few selectors need; a bound on what the parsers below have to look at."""

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_VERBS = {"DELETE": "delete", "GET": "get", "HEAD": "get", "PATCH": "patch", "POST": "create", "PUT": "update"}
_NAMESPACE_SUBRESOURCES = frozenset({"finalize", "status"})
_FOREIGN_BYTE = re.compile(rb"[^!-~]|[\\#]")
_PLAIN_SEGMENTS = re.compile(rb"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*+")
"""What most paths are: nothing to decode, no empty segment and no dots alone."""

_REFUSED_ESCAPE = re.compile(rb"%(00|25|2[Ff]|5[Cc])")


class ParsedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a request line asks. `method` tells HEAD from GET, which `info.verb` of a resource request does not."""

    method: str
    info: RequestInfo
    query: Query


def parse_request(method: bytes | str, target: bytes) -> ParsedRequest:
    """Parses a request line.

    Raises MethodNotAllowed for a method Kubernetes does not know, TargetTooLong over MAX_TARGET_BYTES, and BadRequest
    for a target that is not in origin form or could be read in two ways.
    """
    name = method.decode("latin-1") if isinstance(method, bytes) else method
    if len(target) > MAX_TARGET_BYTES:
        raise TargetTooLong(f"the request target is longer than {MAX_TARGET_BYTES} bytes")
    if name not in _METHODS:
        raise MethodNotAllowed
    if not target.startswith(b"/"):
        raise BadRequest("the request target must be a path that begins with `/`")
    if _FOREIGN_BYTE.search(target):
        raise BadRequest("the request target contains a character that must be percent-encoded")
    raw_path, _, raw_query = target.partition(b"?")
    segments, trailing_slash = _split_path(raw_path)
    query = parse_query(raw_query)
    info = _request_info(name, segments, trailing_slash, query)
    return ParsedRequest(method=name, info=info, query=recognised(query, info))


def canonical_path(info: RequestInfo) -> bytes:
    """The path to send upstream: each segment percent-encoded."""
    return "/".join(map(percent_encode, info.path.split("/"))).encode()


def canonical_target(info: RequestInfo, query: Query) -> bytes:
    """The target to send upstream, rebuilt from the parse: path, and query when there is one."""
    encoded = query.encode()
    return canonical_path(info) + (b"?" + encoded if encoded else b"")


def _split_path(raw: bytes) -> tuple[tuple[str, ...], bool]:
    """The decoded segments, and whether a slash follows the last."""
    if _REFUSED_ESCAPE.search(raw):
        raise BadRequest("the path contains an encoded `/`, `\\`, `%` or NUL")
    inner = raw[1:]
    trailing_slash = inner.endswith(b"/")
    if trailing_slash:
        inner = inner[:-1]
    if not inner and not trailing_slash:
        return (), True
    if _PLAIN_SEGMENTS.fullmatch(inner):
        return tuple(inner.decode("ascii").split("/")), trailing_slash
    return tuple(map(_decode_segment, inner.split(b"/"))), trailing_slash


def _decode_segment(raw: bytes) -> str:
    segment = percent_decode(raw)
    if segment in ("", ".", ".."):
        raise BadRequest("the path contains a segment that is empty, `.` or `..`")
    if any(character < " " or character == "\x7f" for character in segment):
        raise BadRequest("the path contains a control character")
    return segment


def _request_info(method: str, segments: tuple[str, ...], trailing_slash: bool, query: Query) -> RequestInfo:
    depth = {"api": 2, "apis": 3}.get(segments[0]) if segments else None
    if depth is None or len(segments) <= depth:
        path = "/" + "/".join(segments) + ("/" if trailing_slash and segments else "")
        return RequestInfo(is_resource_request=False, verb=method.lower(), path=path)
    return _resource_info(method, segments[:depth], segments[depth:], trailing_slash, query)


def _resource_info(
    method: str, root: tuple[str, ...], below: tuple[str, ...], trailing_slash: bool, query: Query
) -> RequestInfo:
    verb, parts = _verb(method, below)
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
            parts = parts[2:]
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 and verb != "proxy" else ""
    if not name and verb == "get":
        verb, name = _collection_read(query)
    elif not name and verb == "delete":
        verb = "deletecollection"
    relays_slash = trailing_slash and subresource == "proxy"
    return RequestInfo(
        is_resource_request=True,
        verb=verb,
        path="/" + "/".join(root + below) + ("/" if relays_slash else ""),
        api_prefix=root[0],
        api_group=root[1] if len(root) > 2 else "",
        api_version=root[-1],
        namespace=namespace,
        resource=parts[0],
        subresource=subresource,
        name=name,
        parts=parts,
    )


def _verb(method: str, below: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The verb before collections are told from objects, and the parts without a verb in their front."""
    if below[0] == "watch":
        raise BadRequest("the `/watch/` prefix is not served: use the query parameter `watch=true`")
    if below[0] != "proxy":
        return _VERBS.get(method, ""), below
    if len(below) < 2:
        raise BadRequest("unable to determine kind and namespace from url")
    return "proxy", below[1:]


def _collection_read(query: Query) -> tuple[str, str]:
    """The verb of a read without a name in its path, and the name that its field selector requires.

    Options that cannot be decoded are reported after authorization; until then only `watch` counts.
    """
    try:
        options = decode_list_options(query)
    except BadRequest:
        watch = query.first("watch")
        return ("watch" if watch is not None and parse_boolean(watch) else "list"), ""
    return ("watch" if options.watch else "list"), _required_name(options)


def _required_name(options: ListOptions) -> str:
    name = options.field_selector.required_value("metadata.name") if options.field_selector else None
    if name is None or name in (".", "..") or "/" in name or "%" in name:
        return ""
    return name
