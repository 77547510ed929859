"""watch: a session on the shared cache, from where the client is to where the cache is, and then live.

| resourceVersion | initial events | begins with                                                       | goes on from |
|-----------------|----------------|-------------------------------------------------------------------|--------------|
| "" or older N   | yes            | one consistent read (the cache's own list where that is as fresh) | its rv       |
| "0"             | yes            | the cache                                                         | its rv       |
| N               | no             | nothing                                                           | N            |
| "" or "0"       | no             | nothing                                                           | now          |

Before the head is sent errors are HTTP errors; after it an ERROR event, then the end.

Source: k8s.io/apiserver/pkg/storage/cacher/cacher.go Watch; kubernetes-semantics §5
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from proxy.api.groups import ApiResource
from proxy.api.list_options import (
    ListOptions,
    decode_list_options,
    narrowed_to_name,
    parse_resource_version,
    validate_for_watch,
    with_watch_defaults,
)
from proxy.api.media_types import FILTERED_MEDIA_TYPES, Form, IncludeObject, MediaType, Representation, negotiate
from proxy.api.objects import ObjectVersion
from proxy.api.representations import with_type
from proxy.api.status import (
    ServiceUnavailable,
    StatusError,
    too_large_resource_version,
    too_old_resource_version,
)
from proxy.api.watch_event import error_frame
from proxy.authz.decision import Permit
from proxy.authz.visibility import Visibility, visibility
from proxy.server.authority import Authority
from proxy.server.client_selectors import ClientSelectors, Selection
from proxy.server.exchange import Exchange
from proxy.server.permits import renewed
from proxy.server.relay_handler import RelayHandler
from proxy.server.snapshots import Snapshots, read_parts
from proxy.server.watch_stream import WatchStream, http_chunk
from proxy.upstream.cacher import Cacher
from proxy.upstream.cachers import Cachers
from proxy.upstream.list_reader import ListQuestion, ReadForm
from proxy.watch.encoding import ObjectEncoder, PartialMetadataEncoder, TableEncoder
from proxy.watch.history import TooOld, rv_number
from proxy.watch.view import Encoder, Question

MIN_REQUEST_TIMEOUT_SECONDS = 1800
"""A watch without timeoutSeconds lasts this long, up to twice as long. Source: --min-request-timeout."""

_MAX_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """Where a stream begins: what it shows first, and from where the history goes on.

    `initial` None: no initial events. `error` ends the stream at once.
    """

    rv: str
    initial: list[ObjectVersion] | None = None
    error: StatusError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _WatchRequest:
    """A watch request, decoded."""

    resource: ApiResource
    selection: Selection
    representation: Representation

    @property
    def options(self) -> ListOptions:
        return self.selection.options

    @property
    def form(self) -> ReadForm:
        return ReadForm.TABLE if self.representation.form is Form.TABLE else ReadForm.OBJECT

    def visible(self, permit: Permit) -> Visibility:
        return visibility(
            permit,
            label_selector=self.options.label_selector,
            field_selector=self.options.field_selector,
            read_field=self.selection.read_field,
        )

    def encoder(self, cacher: Cacher) -> Encoder:
        match self.representation.form:
            case Form.OBJECT:
                return ObjectEncoder(self.resource.kind, self.resource.gvr.group_version)
            case Form.PARTIAL_METADATA:
                return PartialMetadataEncoder(self.representation.meta_version)
            case Form.TABLE:
                included = self.representation.include_object or IncludeObject.METADATA
                return TableEncoder(self.representation.meta_version, included.value, cacher.columns)


class WatchHandler:
    """Serves permitted watches. `expires_at` (seconds since the epoch) is when the caller's credential ends."""

    def __init__(
        self,
        authority: Authority,
        cachers: Cachers,
        snapshots: Snapshots,
        selectors: ClientSelectors,
        relay: RelayHandler,
        streams: Callable[[Exchange, Permit, float | None], WatchStream],
    ) -> None:
        self._authority = authority
        self._cachers = cachers
        self._snapshots = snapshots
        self._selectors = selectors
        self._relay = relay
        self._streams = streams

    async def serve(
        self, exchange: Exchange, permit: Permit, resource: ApiResource, *, expires_at: float | None
    ) -> None:
        """Streams until the watch ends. Raises StatusErrors before the head is sent."""
        assert exchange.request is not None
        query = exchange.request.query
        representation = negotiate(
            exchange.header(b"accept"),
            verb="watch",
            include_object=query.first("includeObject") or "",
            offered=_offered(permit),
        )
        options = with_watch_defaults(decode_list_options(query))
        validate_for_watch(options)
        options = narrowed_to_name(options, permit.attributes.name)
        parse_resource_version(options.resource_version)
        if representation.media_type is not MediaType.JSON:
            await self._relay.serve(exchange, permit)
            return
        request = _WatchRequest(
            resource=resource,
            selection=await self._selectors.check(options, resource),
            representation=representation,
        )
        for _ in range(_MAX_ATTEMPTS):
            await self._authority.settle(resource)
            permit = renewed(self._authority, permit)
            cacher, fresh = await self._cacher(request, permit)
            start = await self._start(request, permit, cacher, fresh=fresh)
            if renewed(self._authority, permit).scope == permit.scope and not cacher.stopped:
                break
        else:
            raise ServiceUnavailable("authorization changed while the watch was opened")
        # No await between the look at the scope and the registration of the stream: none is missed in between.
        if start.error is None:
            self._authority.hand_out(permit, resource)
        stream = self._streams(exchange, permit, expires_at)
        await self._run(stream, request, permit, cacher, start)

    async def _cacher(self, request: _WatchRequest, permit: Permit) -> tuple[Cacher, bool]:
        """The cacher, filled; and whether its own list was read after the request came."""
        options = request.options
        running = self._cachers.running(request.resource, request.form)
        resumes_at = "" if options.send_initial_events else options.resource_version
        start_rv = resumes_at if rv_number(resumes_at) is not None else ""
        cacher = self._cachers.start(request.resource, request.form, start_rv=start_rv)
        await cacher.wait_ready()
        return cacher, cacher is not running

    async def _start(self, request: _WatchRequest, permit: Permit, cacher: Cacher, *, fresh: bool) -> _Start:
        options = request.options
        rv = options.resource_version
        if not options.send_initial_events:
            if rv in ("", "0"):
                return _Start(rv=await self._snapshots.current_rv(request.resource) if not rv else cacher.cache.rv)
            return self._resume(permit, cacher, rv)
        is_table = request.form is ReadForm.TABLE
        if fresh or (rv == "0" and not is_table):
            cached = self._snapshots.cached_now(cacher, permit, "" if rv == "0" else rv)
            if cached is not None:
                return _Start(rv=cached.rv, initial=cached.versions)
        question = ListQuestion(resource=request.resource, form=request.form, namespace=permit.attributes.namespace)
        snapshot = await self._snapshots.consistent(question, read_parts(permit))
        wanted, reached = rv_number(rv), rv_number(snapshot.rv)
        if wanted is not None and reached is not None and reached < wanted:
            return _Start(rv=snapshot.rv, error=too_large_resource_version(wanted, reached))
        versions = snapshot.versions
        if not is_table:
            versions = [ObjectVersion(with_type(version.raw, cacher.prefix)) for version in versions]
        return _Start(rv=snapshot.rv, initial=versions)

    def _resume(self, permit: Permit, cacher: Cacher, rv: str) -> _Start:
        located = cacher.cache.history.locate(rv)
        number = rv_number(rv) or 0
        if isinstance(located, TooOld):
            return _Start(rv=rv, error=too_old_resource_version(number, located.oldest))
        if not self._authority.may_resume(permit, cacher.resource, rv):
            return _Start(rv=rv, error=too_old_resource_version(number, rv_number(cacher.cache.rv) or 0))
        return _Start(rv=rv)

    async def _run(
        self, stream: WatchStream, request: _WatchRequest, permit: Permit, cacher: Cacher, start: _Start
    ) -> None:
        question = Question(request.visible(permit), request.encoder(cacher), http_chunk)
        located = cacher.cache.history.locate(start.rv)
        if start.error is None and isinstance(located, TooOld):
            start = _Start(rv=start.rv, error=too_old_resource_version(rv_number(start.rv) or 0, located.oldest))
        if start.error is not None:
            await stream.fail(error_frame(start.error))
            return
        assert not isinstance(located, TooOld)
        await stream.run(
            cacher,
            question,
            position=located,
            rv=start.rv,
            initial=start.initial,
            wants_bookmarks=request.options.allow_watch_bookmarks,
            timeout_seconds=_timeout_seconds(request.options),
        )


def _offered(permit: Permit) -> tuple[MediaType, ...]:
    # JSON first even for those who may see everything: it comes from the shared cache, other types cost a watch each.
    return (MediaType.JSON, MediaType.PROTOBUF) if permit.scope.everything else FILTERED_MEDIA_TYPES


def _timeout_seconds(options: ListOptions) -> float:
    if options.timeout_seconds and options.timeout_seconds > 0:
        return float(options.timeout_seconds)
    return MIN_REQUEST_TIMEOUT_SECONDS * (1 + random.random())  # noqa: S311 (spreads the ends of streams)
