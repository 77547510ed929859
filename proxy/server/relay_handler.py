"""Relays what needs no filtering, as it comes: discovery, non-resource paths, reads of callers who may see everything.

The request that goes upstream is built from the parse, with an allow list of headers: nothing of the client's own
string, credentials or identity headers is in it.
"""

from __future__ import annotations

from proxy.api.header_hygiene import client_response_headers, upstream_request_headers
from proxy.api.status import BadRequest, ServiceUnavailable
from proxy.authz.decision import Permit
from proxy.server.authority import Authority
from proxy.server.exchange import Exchange
from proxy.upstream.client import UpstreamClient
from proxy.upstream.errors import status_error_from_response

_IDENTITY_REFUSED = frozenset({401, 403})


class RelayHandler:
    """Serves permitted reads whose scope is everything they name."""

    def __init__(self, client: UpstreamClient, authority: Authority) -> None:
        self._client = client
        self._authority = authority

    async def serve(self, exchange: Exchange, permit: Permit) -> None:
        """Relays the request and its answer. Raises StatusErrors before the answer has begun."""
        assert permit.scope.everything, "a filtered answer is never relayed"
        assert exchange.request is not None
        request = exchange.request
        async with self._client.stream(
            exchange.method, request.info.path, request.query.pairs, headers=_headers(exchange)
        ) as response:
            if response.status_code in _IDENTITY_REFUSED:
                raise status_error_from_response(await self._client.buffer(response))
            # The scope may have moved while upstream was asked: what was everything may be too much now.
            decision = self._authority.decide(permit.user, permit.attributes)
            if not isinstance(decision, Permit) or not decision.scope.everything:
                raise ServiceUnavailable("authorization changed while the request was under way")
            await exchange.relay(
                response.status_code, client_response_headers(response.headers.raw), response.aiter_raw()
            )


def _headers(exchange: Exchange) -> list[tuple[str, str]]:
    try:
        return [
            (name.decode("ascii"), value.decode("utf-8")) for name, value in upstream_request_headers(exchange.headers)
        ]
    except UnicodeDecodeError as error:
        raise BadRequest("a request header is not UTF-8") from error
