"""Which headers pass the proxy, in either direction.

Upstream the list is of what may pass: a header nobody here knows cannot carry an identity, a second framing or a
second target. Servers fold `_` to `-` and differ about spelling, so a list of what may not pass is never complete.
Names are compared without case. Both directions drop hop-by-hop headers and those that Connection names, before the
proxy adds its own: else a client could have the proxy's identity headers deleted.

Source: RFC 9110 §7.6.1
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Headers = Sequence[tuple[bytes, bytes]]
"""(name, value) pairs as ASGI gives them, in order."""

PASSED_UPSTREAM = frozenset(
    {
        b"accept",
        b"accept-language",
        b"content-encoding",
        b"content-type",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"kubectl-command",
        b"kubectl-session",
        b"range",
        b"traceparent",
        b"tracestate",
        b"user-agent",
    }
)
"""What the API server, or a backend behind a `proxy` subresource, uses and that says nothing about who is calling."""

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_OURS_TO_SAY = frozenset({b"alt-svc", b"audit-id", b"content-length", b"date", b"server", b"set-cookie"})
"""Response headers that this server computes anew, or that would speak for its origin: a relayed backend must not."""

_DROPPED = _HOP_BY_HOP | _OURS_TO_SAY
_NONE: frozenset[bytes] = frozenset()


def upstream_request_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The client's headers that go upstream, lower-cased. Host, framing and identity are the proxy's to add."""
    named = _named_by_connection(headers)
    return [
        (lowered, value)
        for name, value in headers
        if (lowered := name.lower()) in PASSED_UPSTREAM and lowered not in named
    ]


def client_response_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The upstream's headers that go back to the client, lower-cased."""
    named = _named_by_connection(headers)
    dropped = _DROPPED | named if named else _DROPPED
    return [(lowered, value) for name, value in headers if (lowered := name.lower()) not in dropped]


def is_upgrade(headers: Headers) -> bool:
    """True when the client asks to leave HTTP on this connection. An offer of HTTP/2 (`h2c`) is none.

    Source: k8s.io/apimachinery/pkg/util/httpstream IsUpgradeRequest
    """
    if b"upgrade" not in _named_by_connection(headers):
        return False
    protocols = set(_tokens(value for name, value in headers if name.lower() == b"upgrade"))
    return not protocols <= {b"h2c"}


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    values = [value for name, value in headers if name.lower() == b"connection"]
    return frozenset(_tokens(values)) if values else _NONE


def _tokens(values: Iterable[bytes]) -> Iterable[bytes]:
    for value in values:
        yield from (token.strip().lower() for token in value.split(b",") if token.strip())
