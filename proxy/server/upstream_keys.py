"""The keys of service account tokens, from the API server itself: the JWK Set it publishes for others to verify by.

Source: k8s.io/kubernetes/pkg/routes/openidmetadata.go
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from proxy.api.status import StatusError
from proxy.authn.signing_keys import SigningKeys, parse_signing_keys
from proxy.server.issuer_client import FETCH_TIMEOUT_SECONDS, MAX_BODY_BYTES, IssuerUnavailable
from proxy.upstream.client import UpstreamClient
from proxy.upstream.errors import status_error_from_response

PATH: Final = "/openid/v1/jwks"
_ACCEPT: Final = "application/jwk-set+json, application/json"


class UpstreamKeys:
    """Fetched over the proxy's own connection, as the proxy."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client
        self._last: tuple[bytes, SigningKeys] | None = None

    async def fetch(self) -> SigningKeys:
        """The keys now; the same object as before while the set's bytes are the same. Raises IssuerUnavailable."""
        try:
            response = await self._client.get(
                PATH, accept=_ACCEPT, max_body_bytes=MAX_BODY_BYTES, timeout_seconds=FETCH_TIMEOUT_SECONDS
            )
            if response.status != HTTPStatus.OK:
                raise status_error_from_response(response)
        except StatusError as error:
            raise IssuerUnavailable(f"{PATH}: {error}") from error
        if self._last is None or self._last[0] != response.body:
            try:
                self._last = (response.body, parse_signing_keys(response.body))
            except ValueError as error:
                raise IssuerUnavailable(f"JWK Set: {error}") from error
        return self._last[1]
