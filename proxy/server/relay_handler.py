"""Relays what needs no filtering, as it comes: discovery, non-resource paths, reads of callers who may see everything,
and what is done for one caller: writes and subresources.

The request that goes upstream is built from the parse, with an allow list of headers: nothing of the client's own
string, credentials or identity headers is in it. What is done for one caller carries the caller's identity, put there
by the proxy, so that the API server's own checks, admission and audit log see who it was.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import msgspec

from proxy.api.header_hygiene import client_response_headers, upstream_request_headers
from proxy.api.objects import UNREADABLE_JSON
from proxy.api.request_info import is_long_running
from proxy.api.status import BadRequest, ServiceUnavailable, Timeout
from proxy.authn.impersonation import impersonation_headers
from proxy.authz.decision import Permit
from proxy.server.authority import Authority
from proxy.server.credential import Credential
from proxy.server.exchange import BODILESS, Exchange
from proxy.server.expiry_timer import ExpiryTimer
from proxy.server.open_streams import OpenStream, OpenStreams
from proxy.upstream.client import UpstreamClient
from proxy.upstream.errors import UpstreamIdentityRefused, UpstreamUnavailable, status_error_from_response
from proxy.watch.session import EndReason

MAX_BODY_BYTES = 3 * 1024 * 1024
"""Bound of a request body, as upstream's."""


_ENDED = "the request ended before it was answered"


class _StatusMessage(msgspec.Struct):
    message: str = ""


class RelayHandler:
    """Serves permitted requests whose scope is everything they name.

    `clock` gives seconds since the epoch. `impersonate` False: what is done for a caller is done as the proxy.
    """

    def __init__(
        self,
        client: UpstreamClient,
        authority: Authority,
        streams: OpenStreams,
        *,
        clock: Callable[[], float],
        impersonate: bool,
    ) -> None:
        self._client = client
        self._authority = authority
        self._streams = streams
        self._clock = clock
        self._impersonate = impersonate

    async def serve(self, exchange: Exchange, permit: Permit) -> None:
        """Relays a shared read, as the proxy. Raises StatusErrors before the answer has begun."""
        await self._serve(exchange, permit, [], for_caller=False)

    async def serve_whole(self, exchange: Exchange, permit: Permit, max_body_bytes: int) -> None:
        """Relays a shared read of bounded size: read first, then looked at again, then written in one step.

        So it leaves nothing open that would have to be ended from outside. Raises as `serve`.
        """
        assert permit.scope.everything, "a filtered answer is never relayed"
        assert exchange.request is not None
        response = await self._client.get(
            exchange.request.info.path,
            exchange.request.query.pairs,
            accept=None,
            headers=_headers(exchange),
            max_body_bytes=max_body_bytes,
        )
        if response.status in (401, 403):
            raise status_error_from_response(response)
        credential = exchange.credential  # the guard must not hold the exchange that holds it: garbage in a cycle
        exchange.guard = lambda: self._look_again(permit, credential)
        await exchange.answer(response.status, response.body, client_response_headers(response.raw_headers))

    def _look_again(self, permit: Permit, credential: Credential) -> None:
        """Raises ServiceUnavailable when what was allowed before upstream was asked is not any more."""
        if credential.has_ended(self._clock()):
            raise ServiceUnavailable(_ENDED)
        if self._authority.state.activation != permit.activation:
            decision = self._authority.decide(permit.user, permit.attributes)
            if not isinstance(decision, Permit) or not decision.scope.everything:
                raise ServiceUnavailable("authorization changed while the request was under way")

    async def serve_for_caller(self, exchange: Exchange, permit: Permit) -> None:
        """Relays what one caller does, in the caller's name. Raises as `serve`."""
        identity = impersonation_headers(permit.user) if self._impersonate else []
        if all(name != b"user-agent" for name, _ in exchange.headers):
            identity.append(("user-agent", ""))  # what is written is managed by whom this names: not by the proxy
        await self._serve(exchange, permit, identity, for_caller=self._impersonate)

    async def _serve(
        self,
        exchange: Exchange,
        permit: Permit,
        identity: list[tuple[str, str]],
        *,
        for_caller: bool,
    ) -> None:
        assert permit.scope.everything, "a filtered answer is never relayed"
        headers = [*_headers(exchange), *identity]
        body = await exchange.read_body(MAX_BODY_BYTES)
        try:
            async with asyncio.timeout(None) as until_ended:
                with self._registered(exchange, permit, until_ended):
                    await self._relay(exchange, permit, headers, body, for_caller=for_caller)
        except TimeoutError as error:
            if exchange.started:
                await exchange.finish_early()
            elif exchange.method in BODILESS:
                raise ServiceUnavailable(_ENDED) from error
            else:
                raise Timeout(f"{_ENDED}; it may have been carried out") from error
        except UpstreamUnavailable as error:
            if exchange.method not in BODILESS:
                error.details = None  # no Retry-After: clients repeat any request on that, and this may have been done
            raise

    async def _relay(
        self, exchange: Exchange, permit: Permit, headers: list[tuple[str, str]], body: bytes, *, for_caller: bool
    ) -> None:
        assert exchange.request is not None
        request = exchange.request
        async with self._client.stream(
            exchange.method, request.info.path, request.query.pairs, headers=headers, content=body or None
        ) as response:
            if response.status_code == 401 or (response.status_code == 403 and not for_caller):
                raise status_error_from_response(await self._client.buffer(response))
            if exchange.method in BODILESS:  # what is done is done, and its answer part of what was allowed
                self._look_again(permit, exchange.credential)
            answer_headers = client_response_headers(response.headers.raw)
            if response.status_code == 403:
                answer = await self._client.buffer(response)
                _refuse_own_refusal(answer.body)
                await exchange.answer(403, answer.body, answer_headers)
                return
            await exchange.relay(response.status_code, answer_headers, response.aiter_raw())

    @contextlib.contextmanager
    def _registered(self, exchange: Exchange, permit: Permit, until_ended: asyncio.Timeout) -> Iterator[None]:
        """Ends the relay with the caller's permission, credential or connection."""
        loop = asyncio.get_running_loop()
        lasts = exchange.request is not None and is_long_running(exchange.request.info)

        def end(*reasons: object) -> None:
            if EndReason.DRAIN in reasons and not lasts:
                return  # it ends by itself, within the bound of the drain
            if not until_ended.expired():  # else it is ending already, and a second reason must not disturb the first
                until_ended.reschedule(loop.time())

        stream = OpenStream(permit, end)
        self._streams.add(stream)
        exchange.connection.on_lost(end)
        expiry = ExpiryTimer(exchange.credential, self._clock, end)
        try:
            yield
        finally:
            expiry.cancel()
            exchange.connection.on_lost(None)
            self._streams.remove(stream)


def _headers(exchange: Exchange) -> list[tuple[str, str]]:
    try:
        return [
            (name.decode("ascii"), value.decode("utf-8")) for name, value in upstream_request_headers(exchange.headers)
        ]
    except UnicodeDecodeError as error:
        raise BadRequest("a request header is not UTF-8") from error


def _refuse_own_refusal(body: bytes) -> None:
    """A 403 because the proxy may not impersonate is not the caller's: raises UpstreamIdentityRefused for it."""
    try:
        message = msgspec.json.decode(body, type=_StatusMessage).message
    except UNREADABLE_JSON:
        return
    if " cannot impersonate" in message:
        raise UpstreamIdentityRefused(403, message)
