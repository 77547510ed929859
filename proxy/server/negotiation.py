"""The representation of a shared read: JSON wherever the client takes it.

JSON comes from the shared cache and shared reads; another type has to be relayed and costs the API server a list or a
watch for each client. So even a client that would rather have protobuf gets JSON when it accepts that too; to one that
asks so for metadata the items of a list look as protobuf would have decoded, like those it gets and watches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from proxy.api.media_types import FILTERED_MEDIA_TYPES, Form, MediaType, Representation, negotiate
from proxy.api.status import NotAcceptable
from proxy.authz.decision import Permit
from proxy.server.exchange import Exchange


def negotiate_read(exchange: Exchange, permit: Permit, *, verb: str, relayed: Sequence[MediaType]) -> Representation:
    """What to answer with; one of `relayed` only to callers who may see everything. Raises NotAcceptable."""
    assert exchange.request is not None
    accept = exchange.header(b"accept")
    include_object = exchange.request.query.first("includeObject") or ""
    try:
        representation = negotiate(accept, verb=verb, include_object=include_object, offered=FILTERED_MEDIA_TYPES)
    except NotAcceptable:
        if not permit.scope.everything:
            raise
        offered = (*FILTERED_MEDIA_TYPES, *relayed)
        return negotiate(accept, verb=verb, include_object=include_object, offered=offered)
    if verb == "list" and representation.form is Form.PARTIAL_METADATA:
        offered = (MediaType.JSON, MediaType.PROTOBUF)
        preferred = negotiate(accept, verb=verb, include_object=include_object, offered=offered)
        return replace(representation, untyped_items=preferred.media_type is MediaType.PROTOBUF)
    return representation
