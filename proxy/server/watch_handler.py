"""watch: a session on the shared cache, from where the client is to where the cache is, and then live.

| resourceVersion | initial events | begins with                                                       | goes on from |
|-----------------|----------------|-------------------------------------------------------------------|--------------|
| "" or older N   | yes            | one consistent read (the cache's own list where that is as fresh) | its rv       |
| "0"             | yes            | the cache                                                         | its rv       |
| N               | no             | nothing                                                           | N            |
| "" or "0"       | no             | nothing                                                           | now          |

Before the head is sent errors are HTTP errors; after it an ERROR event, then the end.

Source: k8s.io/apiserver/pkg/storage/cacher/cacher.go Watch
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
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
from proxy.api.media_types import Form, IncludeObject, MediaType
from proxy.api.objects import ObjectVersion
from proxy.api.status import (
    Expired,
    ServiceUnavailable,
    StatusError,
    too_large_resource_version,
    too_old_resource_version,
)
from proxy.api.watch_event import error_frame
from proxy.authz.decision import Permit
from proxy.authz.visibility import Visibility, visibility
from proxy.server.authority import Authority
from proxy.server.client_selectors import ClientSelectors
from proxy.server.exchange import Exchange
from proxy.server.held_answers import HeldAnswers
from proxy.server.limits import CallerLimits
from proxy.server.negotiation import negotiate_read
from proxy.server.permits import renewed
from proxy.server.read_request import ReadRequest
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


@dataclass(slots=True, kw_only=True)
class _Start:
    """Where a stream begins: what it shows first, and from where the history goes on.

    `initial` None: no initial events. `error` ends the stream at once.
    """

    rv: str
    initial: list[ObjectVersion] | None = None
    error: StatusError | None = None

    def held(self) -> tuple[Sequence[object], int]:
        """What is held until it is shown, and how much that is."""
        initial = self.initial or ()
        return initial, sum(version.size_bytes for version in initial)

    def take_initial(self) -> list[ObjectVersion] | None:
        """The initial events, which are not kept here."""
        initial, self.initial = self.initial, None
        return initial


@dataclass(frozen=True, slots=True, kw_only=True)
class _WatchRequest(ReadRequest):
    """A watch request, decoded."""

    @property
    def resumes_at(self) -> str:
        """The resourceVersion that the client continues from; empty when it begins with the state, or with now."""
        rv = self.options.resource_version
        return "" if self.options.send_initial_events or rv == "0" else rv

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
                return ObjectEncoder(cacher.prefix)
            case Form.PARTIAL_METADATA:
                return PartialMetadataEncoder(self.representation.meta_version)
            case Form.TABLE:
                included = self.representation.include_object or IncludeObject.METADATA
                return TableEncoder(self.representation.meta_version, included.value, cacher.columns)


class WatchHandler:
    """Serves permitted watches."""

    def __init__(
        self,
        authority: Authority,
        cachers: Cachers,
        snapshots: Snapshots,
        selectors: ClientSelectors,
        relay: RelayHandler,
        streams: Callable[[Exchange, Permit], WatchStream],
        limits: CallerLimits,
        answers: HeldAnswers,
    ) -> None:
        self._answers = answers
        self._authority = authority
        self._cachers = cachers
        self._snapshots = snapshots
        self._selectors = selectors
        self._relay = relay
        self._streams = streams
        self._limits = limits

    async def serve(self, exchange: Exchange, permit: Permit, resource: ApiResource) -> None:
        """Streams until the watch ends. Raises StatusErrors before the head is sent."""
        assert exchange.request is not None
        representation = negotiate_read(exchange, permit, verb="watch", relayed=[MediaType.PROTOBUF])
        options = with_watch_defaults(decode_list_options(exchange.request.query))
        validate_for_watch(options)
        options = narrowed_to_name(options, permit.attributes.name)
        if representation.media_type is not MediaType.JSON:
            await self._relay.serve(exchange, permit)
            return
        request = _WatchRequest(
            resource=resource,
            selection=await self._selectors.check(options, resource),
            representation=representation,
        )
        parse_resource_version(options.resource_version)
        with self._limits.watch_selectors(exchange.charged_to(permit.user), _terms(options)):
            await self._serve(exchange, permit, request)

    async def _serve(self, exchange: Exchange, permit: Permit, request: _WatchRequest) -> None:
        resource = request.resource
        for _ in range(_MAX_ATTEMPTS):
            await self._authority.settle(resource)
            permit = renewed(self._authority, permit)
            if request.resumes_at and not self._authority.may_resume(permit, resource, request.resumes_at):
                refusal = _too_old(request.resumes_at, self._authority.settled_at(resource))
                await self._snapshots.current_rv(resource)  # notices an API server that has gone back
                await self._fail(exchange, permit, refusal)
                return
            if not request.resumes_at:
                await self._authority.step_past(permit, resource)
            cacher, fresh = await self._cacher(request)
            start = await self._start(request, permit, cacher, fresh=fresh)
            if renewed(self._authority, permit).scope == permit.scope and not cacher.stopped:
                # From here to the registration of the stream nothing waits: no change of the scope is missed.
                await self._run(exchange, request, permit, cacher, start)
                return
        raise ServiceUnavailable("authorization changed while the watch was opened")

    async def _cacher(self, request: _WatchRequest) -> tuple[Cacher, bool]:
        """The cacher, filled; and whether its own list was read after the request came."""
        running = self._cachers.running(request.resource, request.form)
        cacher = self._cachers.start(request.resource, request.form, start_rv=request.resumes_at)
        await cacher.wait_ready()
        return cacher, cacher is not running

    async def _start(self, request: _WatchRequest, permit: Permit, cacher: Cacher, *, fresh: bool) -> _Start:
        rv = request.options.resource_version
        if request.resumes_at:
            return _Start(rv=rv, error=await self._refuse_the_future(request, cacher))
        if not request.options.send_initial_events:
            return _Start(rv=cacher.cache.rv if rv == "0" else await self._snapshots.current_rv(request.resource))
        if fresh or (rv == "0" and request.form is ReadForm.OBJECT):
            cached = self._snapshots.cached_now(cacher, permit, "" if rv == "0" else rv)
            if cached is not None:
                return _Start(rv=cached.rv, initial=cached.versions)
        question = ListQuestion(resource=request.resource, form=request.form, namespace=permit.attributes.namespace)
        snapshot = await self._snapshots.consistent(question, read_parts(permit))
        wanted, reached = rv_number(rv), rv_number(snapshot.rv)
        if wanted is not None and reached is not None and reached < wanted:
            return _Start(rv=snapshot.rv, error=too_large_resource_version(wanted, reached))
        if request.form is ReadForm.TABLE:  # the cache's rows were printed at another moment
            return _Start(rv=snapshot.rv, initial=snapshot.versions)
        return _Start(rv=snapshot.rv, initial=cacher.cache.shared(snapshot.versions))

    async def _refuse_the_future(self, request: _WatchRequest, cacher: Cacher) -> StatusError | None:
        """410 for a resourceVersion that upstream has not come to: what its client holds is of a past that is void.

        Upstream is silent then, for as long as it takes.
        """
        wanted, reached = rv_number(request.resumes_at), rv_number(cacher.cache.rv)
        if wanted is None or reached is None or wanted <= max(reached, self._snapshots.seen(request.resource)):
            return None
        now = rv_number(await self._snapshots.current_rv(request.resource))
        if now is None or wanted <= now:
            return None
        return Expired(f"resourceVersion {wanted} is of the future: the API server is at {now}")

    async def _run(
        self, exchange: Exchange, request: _WatchRequest, permit: Permit, cacher: Cacher, start: _Start
    ) -> None:
        if start.error is not None:
            await self._fail(exchange, permit, start.error)
            return
        position = cacher.cache.history.locate(start.rv)
        if isinstance(position, TooOld):
            await self._fail(exchange, permit, _too_old(start.rv, position.oldest))
            return
        with ExitStack() as held:
            held.enter_context(self._answers.reading(exchange.charged_to(permit.user), *start.held()))
            self._authority.hand_out(permit, request.resource, start.rv)
            await self._streams(exchange, permit).run(
                cacher,
                Question(request.visible(permit), request.encoder(cacher), http_chunk),
                position=position,
                rv=start.rv,
                initial=start.take_initial(),
                wants_bookmarks=request.options.allow_watch_bookmarks,
                timeout_seconds=_timeout_seconds(request.options),
                on_shown=held.close,
                on_end=lambda rv: self._authority.reached(permit, request.resource, rv),
            )

    async def _fail(self, exchange: Exchange, permit: Permit, error: StatusError) -> None:
        await self._streams(exchange, permit).fail(error_frame(error))


def _too_old(rv: str, oldest: int) -> Expired:
    return too_old_resource_version(rv_number(rv) or 0, oldest)


def _terms(options: ListOptions) -> int:
    """How many comparisons the client's selectors are."""
    labels = options.label_selector.requirements if options.label_selector is not None else ()
    fields = options.field_selector.terms if options.field_selector is not None else ()
    return len(labels) + len(fields)


def _timeout_seconds(options: ListOptions) -> float:
    if options.timeout_seconds:
        return float(max(0, options.timeout_seconds))  # of a negative time nothing is left
    return MIN_REQUEST_TIMEOUT_SECONDS * (1 + random.random())  # noqa: S311 (spreads the ends of streams)
