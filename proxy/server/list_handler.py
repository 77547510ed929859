"""list: from upstream or from the cache, filtered by the scope, in the representation that was asked for.

| resourceVersion | match        | limit or continue | read                                              |
|-----------------|--------------|-------------------|---------------------------------------------------|
| ""              |              | no                | one consistent read, shared (upstream/lister)      |
| ""              |              | yes               | page by page, filled up to the limit (server/pager)|
| "0"             | any          | limit is ignored  | from the cache                                     |
| N               | "", NotOlder | no                | from the cache if it is new enough, else consistent |
| N               | "" or Exact  | yes               | page by page at exactly N                          |
| N               | NotOlder     | yes               | page by page, from now                             |
| N               | Exact        | no                | at exactly N                                       |

Printed tables are always read upstream: an age is printed at the moment of printing. What the caller may see whole and
wants in another form than JSON is relayed.

Source: k8s.io/apiserver/pkg/storage/cacher/delegator/interface.go ShouldDelegateList
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from proxy.api.groups import ApiResource
from proxy.api.list_options import (
    EXACT,
    NOT_OLDER_THAN,
    decode_list_options,
    narrowed_to_name,
    parse_resource_version,
    validate_for_list,
)
from proxy.api.media_types import Form, MediaType
from proxy.api.objects import ObjectVersion
from proxy.api.representations import type_prefix
from proxy.api.status import BadRequest, Expired, ServiceUnavailable, too_large_resource_version
from proxy.authz.decision import Permit
from proxy.authz.visibility import Visibility, visibility
from proxy.server.authority import Authority
from proxy.server.client_selectors import ClientSelectors
from proxy.server.continue_token import EXPIRED_MESSAGE, is_ours
from proxy.server.exchange import Exchange, warning_headers
from proxy.server.held_answers import HeldAnswers
from proxy.server.list_body import list_body, unread_list_body
from proxy.server.negotiation import negotiate_read
from proxy.server.pager import Pager
from proxy.server.permits import guard_of, renewed
from proxy.server.read_request import ReadRequest
from proxy.server.relay_handler import RelayHandler
from proxy.server.snapshots import Snapshots, read_parts, whole_parts
from proxy.upstream.list_reader import ListQuestion, ReadForm, UpstreamList
from proxy.upstream.unread_list import UnreadList
from proxy.watch.history import rv_number

_FILTER_STEP = 50
"""Objects looked at before the loop gets its turn: each takes 0.4 ms with the longest selector a request can hold."""

_MAX_ATTEMPTS = 5
"""Reads that may be overtaken by a change of the caller's scope before the caller is asked to come again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ListRequest(ReadRequest):
    """A list request, decoded: what all its steps look at."""

    exchange: Exchange

    @property
    def prefix(self) -> bytes:
        return type_prefix(self.resource.kind, self.resource.gvr.group_version)

    @property
    def is_paged(self) -> bool:
        options = self.options
        return bool(options.continue_token or (options.limit > 0 and options.resource_version != "0"))

    def visible(self, permit: Permit, *, selectors: bool) -> Visibility:
        """What `permit` shows; with the client's selectors where upstream did not apply them already."""
        return visibility(
            permit,
            label_selector=self.options.label_selector if selectors else None,
            field_selector=self.options.field_selector if selectors else None,
            read_field=self.selection.read_field if selectors else None,
        )

    def question(self, permit: Permit, rv: str = "") -> ListQuestion:
        return ListQuestion(
            resource=self.resource,
            form=self.form,
            namespace=permit.attributes.namespace,
            label_selector=self.options.label_selector_text,
            field_selector=self.options.field_selector_text,
            resource_version=rv,
            resource_version_match=EXACT if rv else "",
        )


class ListHandler:
    """Serves permitted lists."""

    def __init__(
        self,
        authority: Authority,
        snapshots: Snapshots,
        pager: Pager,
        selectors: ClientSelectors,
        relay: RelayHandler,
        answers: HeldAnswers,
    ) -> None:
        self._answers = answers
        self._authority = authority
        self._snapshots = snapshots
        self._pager = pager
        self._selectors = selectors
        self._relay = relay

    async def serve(self, exchange: Exchange, permit: Permit, resource: ApiResource) -> None:
        """Answers with the list. Raises StatusErrors before the answer has begun."""
        assert exchange.request is not None
        query = exchange.request.query
        representation = negotiate_read(exchange, permit, verb="list", relayed=[MediaType.YAML, MediaType.PROTOBUF])
        options = decode_list_options(query)
        validate_for_list(options)
        options = narrowed_to_name(options, permit.attributes.name)
        selection = await self._selectors.check(options, resource)
        if not options.continue_token:
            parse_resource_version(options.resource_version)
        request = _ListRequest(exchange=exchange, resource=resource, selection=selection, representation=representation)
        for _ in range(_MAX_ATTEMPTS):
            await self._authority.settle(resource)
            exchange.audit.decision = permit = renewed(self._authority, permit)
            await self._authority.step_past(permit, resource)
            if permit.scope.everything and (request.is_paged or representation.media_type is not MediaType.JSON):
                if is_ours(options.continue_token):
                    raise Expired(EXPIRED_MESSAGE)  # made when the caller did not see everything yet
                self._authority.hand_out(permit, resource, "")
                await self._relay.serve(exchange, permit)
                return
            if representation.media_type is not MediaType.JSON:
                break  # negotiated for a scope that is no more
            listed: UpstreamList | UnreadList
            listed = await self._page(request, permit) if request.is_paged else await self._whole(request, permit)
            if renewed(self._authority, permit).scope == permit.scope:
                self._authority.hand_out(permit, resource, listed.rv)
                exchange.guard = guard_of(self._authority, permit, exchange.credential)
                body = (
                    unread_list_body(listed)
                    if isinstance(listed, UnreadList)
                    else list_body(listed, request.prefix, representation, indented=exchange.is_for_a_person)
                )
                with self._answers.reading(exchange.charged_to(permit.user), *_held(listed)):
                    await exchange.respond_in_parts(body, headers=warning_headers(listed.warnings))
                return
        raise ServiceUnavailable("authorization changed while the list was read")

    async def _whole(self, request: _ListRequest, permit: Permit) -> UpstreamList | UnreadList:
        parts = whole_parts(permit)
        is_shown_as_it_is = request.representation.form is Form.OBJECT and not request.exchange.is_for_a_person
        if parts and not request.options.resource_version and is_shown_as_it_is:
            return await self._snapshots.unread(request.question(permit), parts)
        snapshot, selected = await self._snapshot(request, permit)
        visible = await _filter(snapshot.versions, request.visible(permit, selectors=not selected))
        return replace(snapshot, versions=visible)

    async def _snapshot(self, request: _ListRequest, permit: Permit) -> tuple[UpstreamList, bool]:
        """A whole list, and whether the client's selectors are applied to it already."""
        options = request.options
        rv = options.resource_version
        if rv not in ("", "0") and options.resource_version_match == EXACT:
            parts = read_parts(permit)
            return await self._snapshots.exact(request.question(permit), parts, rv), True
        if rv and request.form is ReadForm.OBJECT and "watch" in request.resource.verbs:
            cached = await self._snapshots.cached(request.resource, permit, "" if rv == "0" else rv)
            if cached is not None:
                return cached, False
        snapshot = await self._snapshots.for_permit(request.question(permit), permit)
        _check_not_older(snapshot.rv, rv)
        return snapshot, True

    async def _page(self, request: _ListRequest, permit: Permit) -> UpstreamList:
        options = request.options
        visible = request.visible(permit, selectors=False)
        bound_to = _bound_to(request, permit)
        parts = read_parts(permit) or [""]
        rv = options.resource_version if options.resource_version_match != NOT_OLDER_THAN else ""
        start = None
        if options.continue_token:
            start = self._pager.position(options.continue_token, bound_to, visible)
            if rv not in ("", "0"):
                raise BadRequest("specifying resource version is not allowed when using continue")
        elif not rv and len(parts) > 1:
            rv = await self._snapshots.current_rv(request.resource)
        page = await self._pager.read(
            request.question(permit, rv),
            parts,
            visible,
            limit=options.limit or _NO_LIMIT,
            start=start,
            bound_to=bound_to,
        )
        _check_not_older(page.rv, options.resource_version)
        return page


_NO_LIMIT = 2**63 - 1


def _check_not_older(reached: str, wanted: str) -> None:
    """Raises Timeout when a list is older than it was wanted: `wanted` is of the future."""
    reached_number, wanted_number = rv_number(reached), rv_number(wanted)
    if reached_number is not None and wanted_number is not None and reached_number < wanted_number:
        raise too_large_resource_version(wanted_number, reached_number)


async def _filter(versions: list[ObjectVersion], visible: Visibility) -> list[ObjectVersion]:
    seen: list[ObjectVersion] = []
    for start in range(0, len(versions), _FILTER_STEP):
        seen.extend(version for version in versions[start : start + _FILTER_STEP] if visible.sees(version))
        await asyncio.sleep(0)
    return seen


def _held(listed: UpstreamList | UnreadList) -> tuple[Sequence[object], int]:
    """What a reader of the list holds, and how much that is."""
    if isinstance(listed, UnreadList):
        return listed.texts, sum(len(text) for text in listed.texts)
    return listed.versions, sum(version.size_bytes for version in listed.versions)


def _bound_to(request: _ListRequest, permit: Permit) -> bytes:
    """What a continue token is good for: this caller, this request."""
    attributes = permit.attributes
    return repr(
        (
            permit.user.name,
            request.resource.gvr,
            attributes.namespace,
            attributes.name,
            request.options.label_selector_text,
            request.options.field_selector_text,
            request.form.name,
        )
    ).encode()
