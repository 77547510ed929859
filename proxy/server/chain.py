"""The chain: what every request to the secure port passes, in this order.

head bounds → parse → body rule → authentication → impersonation → discovery → authorization → no upgrade → limits →
the handler

Anything that is raised becomes a Status here; a bug becomes a 500 without detail and a trace in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from proxy.api.groups import ApiResource, GroupVersionResource
from proxy.api.header_hygiene import is_upgrade
from proxy.api.request_info import WATCH_VERBS, RequestInfo, is_long_running
from proxy.api.request_target import parse_request
from proxy.api.reviews import review_type
from proxy.api.status import (
    Forbidden,
    HeadersTooLarge,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    NotImplementedYet,
    StatusDetails,
    StatusError,
    Unauthorized,
)
from proxy.authn.outcome import Refused
from proxy.authn.user import User
from proxy.authz.decision import Permit, attributes_of
from proxy.server.authentication import AuthenticationService, Caller
from proxy.server.authority import Authority
from proxy.server.exchange import BODILESS, ClientGone, Exchange, Receive, Scope, Send
from proxy.server.get_handler import GetHandler
from proxy.server.impersonation import Impersonator
from proxy.server.limits import CallerLimits
from proxy.server.list_handler import ListHandler
from proxy.server.permits import forbidden, permitted
from proxy.server.protocol import MAX_HEAD_BYTES
from proxy.server.relay_handler import RelayHandler
from proxy.server.review_handler import ReviewHandler
from proxy.server.review_keeper import ReviewKeeper
from proxy.server.watch_handler import WatchHandler
from proxy.telemetry.telemetry import Telemetry
from proxy.upstream.discovery import DiscoveryCache
from proxy.upstream.fair_slots import CALLER

log = logging.getLogger(__name__)


_REVIEW_GROUPS = frozenset({"authentication.k8s.io", "authorization.k8s.io"})


class Chain:
    """The raw ASGI application of all API paths. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        *,
        authentication: AuthenticationService,
        reviews_of_callers: ReviewKeeper,
        impersonator: Impersonator,
        authority: Authority,
        discovery: DiscoveryCache,
        reviews: ReviewHandler,
        get: GetHandler,
        list_: ListHandler,
        watch: WatchHandler,
        relay: RelayHandler,
        limits: CallerLimits,
        telemetry: Telemetry,
        clock: Callable[[], float],
    ) -> None:
        self._authentication = authentication
        self._reviews_of_callers = reviews_of_callers
        self._impersonator = impersonator
        self._authority = authority
        self._discovery = discovery
        self._reviews = reviews
        self._get = get
        self._list = list_
        self._watch = watch
        self._relay = relay
        self._limits = limits
        self._telemetry = telemetry
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        exchange.on_stream = self._telemetry.stream_started
        _begin_record(exchange, self._clock())
        try:
            await self._answer(exchange)
        finally:
            self._telemetry.finished(exchange.audit)

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._serve(exchange)
        except StatusError as error:
            exchange.audit.forbidden = isinstance(error, Forbidden)
            await exchange.fail(error)
        except ClientGone:
            exchange.connection.abort()
        except Exception:
            log.exception("bug while serving %s (audit id %s)", exchange.method, exchange.audit.audit_id)
            await exchange.fail(InternalError("internal error, see the proxy's log"))

    async def _serve(self, exchange: Exchange) -> None:
        if exchange.head_too_large:
            raise HeadersTooLarge(f"the request headers are larger than {MAX_HEAD_BYTES} bytes")
        exchange.request = exchange.audit.request = parse_request(exchange.method, exchange.target)
        if exchange.method in BODILESS:
            _refuse_body(exchange)
        CALLER.set(f"address {exchange.client_address}")
        caller = await self._authenticate(exchange, exchange.request.info.path)
        exchange.credential = caller.credential
        exchange.audit.caller = caller.user
        CALLER.set(caller.user.name)
        with (
            self._reviews_of_callers.keeping(caller.credential),
            self._impersonator.acting_user(exchange, caller.user) as user,
        ):
            exchange.audit.user = user
            await self._serve_user(exchange, exchange.request.info, user)

    async def _serve_user(self, exchange: Exchange, info: RequestInfo, user: User) -> None:
        exchange.audit.resource = resource = await self._resource(info)
        exchange.audit.decision = self._authority.decide(
            user, attributes_of(info, namespaced=resource is not None and resource.namespaced)
        )
        permit = permitted(exchange.audit.decision)
        if is_upgrade(exchange.headers):
            raise NotImplementedYet("upgrades (exec, attach, port-forward, WebSocket) are not served by this proxy")
        with self._limits.request(exchange.charged_to(user), long_running=is_long_running(info)):
            await self._dispatch(exchange, permit, resource)

    async def _authenticate(self, exchange: Exchange, path: str) -> Caller:
        authorization = [value for name, value in exchange.headers if name == b"authorization"]
        outcome = await self._authentication.authenticate(
            exchange.connection.peer_certificate, authorization, path, self._clock()
        )
        if isinstance(outcome, Refused):
            exchange.audit.refusal = outcome.kind
            log.debug("401: %s (audit id %s)", outcome.kind.value, exchange.audit.audit_id)
            raise Unauthorized
        return outcome

    async def _resource(self, info: RequestInfo) -> ApiResource | None:
        """What discovery says of the resource; None also where it is not served in the place that was named."""
        if not info.is_resource_request:
            return None
        resource = await self._discovery.resource(GroupVersionResource(info.api_group, info.api_version, info.resource))
        if resource is None:
            return None
        if resource.namespaced:  # `/api/v1/pods/NAME` is served by nobody
            return resource if info.namespace or info.verb != "get" else None
        # Only `/namespaces/NAME` has a namespace without being namespaced; `/namespaces/a/nodes` is served by nobody.
        is_the_namespace = info.resource == "namespaces" and info.name == info.namespace
        return resource if is_the_namespace or not info.namespace else None

    async def _dispatch(self, exchange: Exchange, permit: Permit, resource: ApiResource | None) -> None:
        assert exchange.request is not None
        info = exchange.request.info
        if not info.is_resource_request:
            if exchange.method == "GET":
                await self._relay.serve(exchange, permit)
            else:  # the proxy's own identity needs to be allowed nothing but get
                await self._relay.serve_for_caller(exchange, permit)
        elif info.verb not in WATCH_VERBS or info.subresource:
            await self._write(exchange, permit, resource)
        elif resource is None or info.verb not in resource.verbs or exchange.method == "HEAD":
            await self._serve_as_upstream(exchange, permit)
        elif info.verb == "get":
            await self._get.serve(exchange, permit, resource)
        elif info.verb == "list":
            await self._list.serve(exchange, permit, resource)
        else:
            await self._watch.serve(exchange, permit, resource)

    async def _serve_as_upstream(self, exchange: Exchange, permit: Permit) -> None:
        """What upstream may not serve at all, or may serve by HEAD: its own answer to those who may see everything."""
        assert exchange.request is not None
        verb, is_head = exchange.request.info.verb, exchange.method == "HEAD"
        if not permit.scope.everything and (verb == "get" or is_head):
            raise forbidden(permit)
        if not permit.scope.everything or (verb == "watch" and is_head):
            # Of a custom resource upstream begins that watch: it would keep the connection, with nothing to be read.
            raise MethodNotAllowed
        await self._relay.serve(exchange, permit)

    async def _write(self, exchange: Exchange, permit: Permit, resource: ApiResource | None) -> None:
        """What is done for one caller. A review is never relayed: upstream would answer from another policy."""
        asked = permit.attributes
        review = review_type(asked.api_group, asked.resource)
        if review is None:
            if asked.api_group in _REVIEW_GROUPS and asked.resource.endswith("reviews"):
                raise NotImplementedYet(f"`{asked.resource}` is not served by this proxy yet")
            await self._relay.serve_for_caller(exchange, permit)
        elif resource is None or resource.namespaced != bool(asked.namespace) or asked.name or asked.subresource:
            raise NotFound("the server could not find the requested resource", details=StatusDetails())
        elif asked.verb != "create":
            raise MethodNotAllowed
        else:
            await self._reviews.serve(exchange, permit, review)


def _begin_record(exchange: Exchange, now: float) -> None:
    record = exchange.audit
    record.received_at = now
    record.method = exchange.method
    record.target = exchange.target
    record.source_ip = exchange.client_address
    record.user_agent = exchange.header(b"user-agent")


def _refuse_body(exchange: Exchange) -> None:
    """A body where none belongs is how requests are smuggled: 400, and the connection is not used again."""
    length = exchange.header(b"content-length")
    if length.strip("0") or any(name == b"transfer-encoding" for name, _ in exchange.headers):
        raise MalformedRequest(f"a {exchange.method} request has no body")
