"""Fetches the signing keys of one issuer: its discovery document, then the JWK Set that document names.

Every answer is bounded in size and time, redirects are not followed, certificates are verified always. The document
must say the issuer's own url, wherever it was read.

Source: OpenID Connect Discovery 1.0; k8s.io/apiserver/plugin/pkg/authenticator/token/oidc
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import httpx

from proxy.authn.authentication_config import Issuer
from proxy.authn.signing_keys import SigningKeys, parse_signing_keys
from proxy.authn.strict_json import parse_object

DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
MAX_BODY_BYTES: Final = 1024 * 1024  # JWK Sets with certificate chains reach 100 KiB
FETCH_TIMEOUT_SECONDS: Final = 15  # both requests together; callers with a new key wait for it


class IssuerUnavailable(Exception):
    """The keys could not be had: network, status, or content."""


class IssuerClient:
    """One issuer over HTTPS. Each request has a connection of its own: there are two in minutes."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._last: tuple[bytes, SigningKeys] | None = None
        self._context = ssl.create_default_context(cadata=issuer.certificate_authority or None)

    async def fetch(self) -> SigningKeys:
        """The issuer's keys now; the same object as before while the set's bytes are the same.

        Raises IssuerUnavailable.
        """
        try:
            async with (
                asyncio.timeout(FETCH_TIMEOUT_SECONDS),
                httpx.AsyncClient(
                    verify=self._context,
                    follow_redirects=False,
                    timeout=FETCH_TIMEOUT_SECONDS,
                    limits=httpx.Limits(max_keepalive_connections=0),
                ) as client,
            ):
                content = await _get(client, await self._jwks_uri(client))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise IssuerUnavailable(f"{type(error).__name__}: {error}") from error
        if self._last is None or self._last[0] != content:
            try:
                self._last = (content, parse_signing_keys(content))
            except ValueError as error:
                raise IssuerUnavailable(f"JWK Set: {error}") from error
        return self._last[1]

    async def _jwks_uri(self, client: httpx.AsyncClient) -> str:
        url = self._issuer.discovery_url or self._issuer.url.removesuffix("/") + DISCOVERY_PATH
        try:
            document = parse_object(await _get(client, url))
        except ValueError as error:
            raise IssuerUnavailable(f"discovery document: {error}") from error
        if document.get("issuer") != self._issuer.url:
            raise IssuerUnavailable("discovery document: `issuer` is another issuer")
        uri = document.get("jwks_uri")
        if not isinstance(uri, str) or not uri.lower().startswith("https://"):
            raise IssuerUnavailable("discovery document: `jwks_uri` is no https URL")
        return uri


async def _get(client: httpx.AsyncClient, url: str) -> bytes:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    async with client.stream("GET", url, headers=headers) as response:
        if response.status_code != httpx.codes.OK:
            raise IssuerUnavailable(f"{url}: status {response.status_code}")
        if "Content-Encoding" in response.headers:
            raise IssuerUnavailable(f"{url}: the answer is compressed")
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > MAX_BODY_BYTES:
                raise IssuerUnavailable(f"{url}: longer than {MAX_BODY_BYTES} bytes")
        return bytes(content)
