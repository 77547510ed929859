"""get of one object: relayed where the caller may see it whatever it is, else fetched and looked at first.

An object outside the scope and one that is not there are answered alike, with the 403 of the request: there is no
telling which names exist.
"""

from __future__ import annotations

import msgspec

from proxy.api.groups import ApiResource
from proxy.api.media_types import FILTERED_MEDIA_TYPES, Form, Representation, negotiate
from proxy.api.objects import UNREADABLE_JSON, ObjectVersion
from proxy.api.representations import list_metadata, partial_object_metadata, table
from proxy.api.status import NotFound, ServiceUnavailable
from proxy.api.watch_event import EventType
from proxy.authz.decision import Permit
from proxy.authz.visibility import visibility
from proxy.server.authority import Authority
from proxy.server.exchange import Exchange
from proxy.server.permits import forbidden, guard_of, renewed
from proxy.server.read_request import read_form
from proxy.server.relay_handler import RelayHandler
from proxy.upstream.client import UpstreamClient
from proxy.upstream.errors import status_error_from_response
from proxy.upstream.list_reader import ReadForm, Table
from proxy.watch.encoding import TableEncoder
from proxy.watch.projection import Shown

MAX_OBJECT_BYTES = 16 * 1024 * 1024
"""Bound of one object with its printed row; etcd's own limit is 1.5 MiB."""

_decode_table = msgspec.json.Decoder(Table).decode


class GetHandler:
    """Serves permitted gets."""

    def __init__(self, client: UpstreamClient, authority: Authority, relay: RelayHandler) -> None:
        self._client = client
        self._authority = authority
        self._relay = relay

    async def serve(self, exchange: Exchange, permit: Permit, resource: ApiResource) -> None:
        """Answers with the object, or the 403 of the request."""
        if permit.scope.everything:
            await self._relay.serve_whole(exchange, permit, MAX_OBJECT_BYTES)
            return
        assert exchange.request is not None
        query = exchange.request.query
        representation = negotiate(
            exchange.header(b"accept"),
            verb="get",
            include_object=query.first("includeObject") or "",
            offered=FILTERED_MEDIA_TYPES,
        )
        found = await self._fetch(exchange, representation)
        # The scope may have moved while upstream was asked: the one in force now counts.
        exchange.audit.decision = permit = renewed(self._authority, permit)
        if found is not None:
            version, columns = found
            visible = visibility(permit, label_selector=None, field_selector=None, read_field=None)
            if visible.sees(version):
                exchange.guard = guard_of(self._authority, permit, exchange.credential)
                await exchange.respond(200, _body(version, columns, representation))
                return
        raise forbidden(permit)

    async def _fetch(self, exchange: Exchange, representation: Representation) -> tuple[ObjectVersion, bytes] | None:
        assert exchange.request is not None
        form = read_form(representation)
        query = [("includeObject", "Object")] if form is ReadForm.TABLE else []
        resource_version = exchange.request.query.first("resourceVersion")
        if resource_version:
            query.append(("resourceVersion", resource_version))
        response = await self._client.get(
            exchange.request.info.path, query, accept=form.value, max_body_bytes=MAX_OBJECT_BYTES
        )
        if response.status != 200:
            error = status_error_from_response(response)
            if isinstance(error, NotFound):
                return None
            raise error
        try:
            if form is ReadForm.OBJECT:
                return ObjectVersion(response.body.rstrip(b"\n")), b"null"
            rows = _decode_table(response.body)
            return (rows.rows[0].version(), bytes(rows.columnDefinitions)) if rows.rows else None
        except UNREADABLE_JSON as error:
            raise ServiceUnavailable(f"the API server sent an object that cannot be read: {error}") from error


def _body(version: ObjectVersion, columns: bytes, representation: Representation) -> bytes:
    match representation.form:
        case Form.OBJECT:
            return version.raw + b"\n"
        case Form.PARTIAL_METADATA:
            return partial_object_metadata(version.metadata_raw(), representation.meta_version) + b"\n"
        case Form.TABLE:
            assert representation.include_object is not None
            encoder = TableEncoder(representation.meta_version, representation.include_object.value, columns)
            row = encoder.row(Shown(EventType.ADDED, version, None))
            return table(representation.meta_version, list_metadata(version.rv), columns, [row]) + b"\n"
