"""An OpenID Connect issuer on loopback over TLS, which serves what a test puts into `pages`."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.authn.authentication_config import Issuer
from tests.support.credentials import TokenSigner, jwk_set
from tests.support.pki import Pki
from tests.support.ports import LOOPBACK

DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/keys"


class LocalIssuer:
    """`pages` maps a path to a whole HTTP answer; an absent path ends the connection without one."""

    def __init__(self, url: str, certificate_authority: str) -> None:
        self.url = url
        self.certificate_authority = certificate_authority
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def issuer(self, **changes: str) -> Issuer:
        """The configuration of this issuer."""
        fields = {"url": self.url, "discovery_url": "", "certificate_authority": self.certificate_authority}
        return Issuer(**(fields | changes), audiences=("us",))

    def publish(self, *signers: TokenSigner) -> None:
        """Serves the discovery document and these keys."""
        self.pages[DISCOVERY] = page(json.dumps({"issuer": self.url, "jwks_uri": self.url + JWKS}).encode())
        self.pages[JWKS] = page(jwk_set(*(signer.jwk() for signer in signers)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            self.asked.append(path)
            await self.may_answer.wait()
            writer.write(self.pages.get(path, b""))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away, as some tests make it
        finally:
            writer.close()


def page(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    """A whole HTTP answer."""
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def local_issuer(directory: Path) -> AsyncIterator[LocalIssuer]:
    """A running issuer with a CA of its own and nothing published."""
    pki = Pki(directory)
    certificate = pki.server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    issuer = LocalIssuer("", pki.ca_file.read_text())
    async with await asyncio.start_server(issuer.serve, LOOPBACK, 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        issuer.url = f"https://{LOOPBACK}:{port}"
        yield issuer
