"""Query parameters: decoded strictly once, kept in order, and only those that a request of its kind may carry.

What is kept is what goes upstream, so a parameter nobody here understands never reaches the upstream with the proxy's
approval. Go drops a pair with `;` or a bad escape where Python keeps it: both are refused.

Source: net/url ParseQuery; k8s.io/apimachinery/pkg/apis/meta/v1/zz_generated.conversion.go
"""

from __future__ import annotations

import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from proxy.api.request_info import RequestInfo
from proxy.api.status import BadRequest

LIST_OPTIONS = frozenset(
    {
        "allowWatchBookmarks",
        "continue",
        "fieldSelector",
        "labelSelector",
        "limit",
        "resourceVersion",
        "resourceVersionMatch",
        "sendInitialEvents",
        "timeoutSeconds",
        "watch",
    }
)
_BOOLEAN_LIST_OPTIONS = frozenset({"allowWatchBookmarks", "sendInitialEvents", "watch"})
_REPEATABLE = frozenset({"command", "dryRun", "exclude", "ports"})
_EVERY_RESOURCE = frozenset({"includeObject", "pretty", "timeout"})
_EVERY_WRITE = _EVERY_RESOURCE | {"dryRun", "fieldManager", "fieldValidation"}
_EVERY_DELETE = _EVERY_RESOURCE | {
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "uid",
}
_BY_VERB = {
    "get": _EVERY_RESOURCE | {"resourceVersion"},
    "list": _EVERY_RESOURCE | LIST_OPTIONS,
    "watch": _EVERY_RESOURCE | LIST_OPTIONS,
    "create": _EVERY_WRITE,
    "update": _EVERY_WRITE,
    "patch": _EVERY_WRITE | {"force"},
    "delete": _EVERY_DELETE,
    "deletecollection": _EVERY_DELETE | LIST_OPTIONS,
}
_ATTACH = frozenset({"container", "stderr", "stdin", "stdout", "tty"})
_BY_SUBRESOURCE = {
    "attach": _ATTACH,
    "exec": _ATTACH | {"command"},
    "log": frozenset(
        {
            "container",
            "follow",
            "insecureSkipTLSVerifyBackend",
            "limitBytes",
            "pretty",
            "previous",
            "sinceSeconds",
            "sinceTime",
            "stream",
            "tailLines",
            "timestamps",
        }
    ),
    "portforward": frozenset({"ports"}),
}
_NON_RESOURCE = frozenset({"exclude", "hash", "pretty", "timeout", "verbose"})

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Query(msgspec.Struct, frozen=True):
    """Decoded parameters in the order they came."""

    pairs: tuple[tuple[str, str], ...]

    def first(self, name: str) -> str | None:
        """The value of a parameter, None when it is absent. An empty value is a value."""
        for key, value in self.pairs:
            if key == name:
                return value
        return None

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a repeatable parameter."""
        return tuple(value for key, value in self.pairs if key == name)

    def encode(self) -> bytes:
        """The canonical query string, without `?`; empty when there are no parameters."""
        return "&".join(f"{percent_encode(key)}={percent_encode(value)}" for key, value in self.pairs).encode()


_NO_PARAMETERS = Query(())


def parse_query(raw: bytes) -> Query:
    """Every pair of a query string, decoded. Raises BadRequest where Go and others read different pairs."""
    if not raw:
        return _NO_PARAMETERS
    if b";" in raw:
        raise BadRequest("the query contains `;`, which separates nothing")
    pairs = (pair.partition(b"=") for pair in raw.split(b"&") if pair)
    return Query(tuple((_decode(key), _decode(value)) for key, _, value in pairs))


def recognised(query: Query, info: RequestInfo) -> Query:
    """The parameters that a request of this kind may carry; others are dropped, as upstream ignores them.

    What a `proxy` request carries belongs to what it is relayed to, and is kept whole. Booleans among the list options
    are spelled `true` or `false`. Raises BadRequest when a parameter that has one value, or any list option, is given
    twice: the first value would count upstream, the last in other software.
    """
    if not query.pairs or "proxy" in (info.verb, info.subresource):
        return query
    names = _recognised_names(info)
    single = (names - _REPEATABLE) | (LIST_OPTIONS if info.is_resource_request else frozenset())
    seen: set[str] = set()
    for name, _ in query.pairs:
        if name in single and name in seen:
            raise BadRequest(f"query parameter `{name}` is given twice")
        seen.add(name)
    return Query(tuple((name, _canonical(name, value)) for name, value in query.pairs if name in names))


def parse_boolean(value: str) -> bool:
    """Only `0`, and `false` in any case, are false: an empty value and `no` are true.

    Source: k8s.io/apimachinery/pkg/runtime/conversion.go; Go's EqualFold folds `ſ` to `s`, and so does casefold.
    """
    return value != "0" and value.casefold() != "false"


def percent_decode(raw: bytes) -> str:
    """Decodes `%` escapes to text. Raises BadRequest for a bad escape or bytes that are not UTF-8."""
    if _BAD_ESCAPE.search(raw):
        raise BadRequest("the request target contains an invalid `%` escape")
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise BadRequest("the request target is not UTF-8") from error


def percent_encode(text: str) -> str:
    """Encodes everything but RFC 3986's unreserved characters."""
    return quote_from_bytes(text.encode(), safe="")


def _decode(raw: bytes) -> str:
    return percent_decode(raw.replace(b"+", b" "))


def _recognised_names(info: RequestInfo) -> frozenset[str]:
    if not info.is_resource_request:
        return _NON_RESOURCE
    return _BY_SUBRESOURCE.get(info.subresource) or _BY_VERB.get(info.verb, _EVERY_RESOURCE)


def _canonical(name: str, value: str) -> str:
    if name not in _BOOLEAN_LIST_OPTIONS:
        return value
    return "true" if parse_boolean(value) else "false"
