"""Reading a watch from upstream: bytes in, events with their versions out, in the form that upstream was asked for.

What cannot be understood is raised, never skipped: an event that is lost would never be missed.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Iterator
from typing import TypeAlias

import msgspec

from proxy.api.groups import ApiResource
from proxy.api.objects import UNREADABLE_JSON, ObjectVersion
from proxy.api.status import Expired
from proxy.api.watch_event import EventType, LineSplitter, MalformedEvent, decode_event
from proxy.upstream.client import UpstreamClient
from proxy.upstream.errors import status_error_from_response
from proxy.upstream.list_reader import ListQuestion, ReadForm, Table, read_page
from proxy.watch.history import rv_number

UPSTREAM_SILENCE_SECONDS = 100.0
"""A watch silent for this long is dead: upstream sends a bookmark about every 60 s."""

Events: TypeAlias = Iterator[tuple[EventType, ObjectVersion]]

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Bound of one event line: what clients accept of a watch frame (apimachinery streaming.go)."""

_decode_table = msgspec.json.Decoder(Table).decode


class UpstreamEventError(Exception):
    """Upstream ended its watch with an ERROR event; `code` is that of its Status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _ErrorStatus(msgspec.Struct):
    code: int = 0
    message: str = ""


class WatchReader:
    """Reads one stream."""

    def __init__(self, form: ReadForm) -> None:
        self._form = form
        self._splitter = LineSplitter(MAX_EVENT_BYTES)

    def feed(self, data: bytes) -> Events:
        """The events that `data` completes; of a bookmark's object only the resourceVersion means something.

        Raises MalformedEvent, and UpstreamEventError for an ERROR event, behind the events before it.
        """
        for line in self._splitter.feed(data):
            event = decode_event(line)
            raw = bytes(event.object)
            if event.type is EventType.ERROR:
                status = _decode_lenient(raw)
                raise UpstreamEventError(status.code, status.message)
            try:
                version = self._version(raw)
            except UNREADABLE_JSON as error:
                raise MalformedEvent(str(error)) from error
            if event.type is not EventType.BOOKMARK and not version.name:
                raise MalformedEvent(f"a {event.type.value} event of an object without a name")
            yield event.type, version

    def _version(self, raw: bytes) -> ObjectVersion:
        if self._form is ReadForm.OBJECT:
            return ObjectVersion(raw)
        table = _decode_table(raw)
        if table.rows:
            return table.rows[0].version()
        return ObjectVersion(
            b'{"metadata":{"resourceVersion":%b}}' % msgspec.json.encode(table.metadata.resourceVersion)
        )


async def check_not_gone_back(client: UpstreamClient, question: ListQuestion, rv: str) -> None:
    """Raises Expired when upstream is older than `rv`: a watch from there would be silent.

    To be asked whenever a watch is taken up again: an etcd is not restored under an API server that goes on.
    """
    client.revisions.see(question.resource.gvr, rv)
    page = await read_page(client, question, limit=1)
    now, reached = rv_number(page.rv), rv_number(rv)
    if now is not None and reached is not None and now < reached:
        raise Expired(f"resourceVersion {reached} is of the future: the API server is at {now}")


async def read_watch(
    client: UpstreamClient, resource: ApiResource, form: ReadForm, rv: str
) -> AsyncGenerator[Events, None]:
    """The events of all objects of a resource after `rv`, as they arrive; first of all, once the watch is open, none.

    Ends when upstream ends the watch. Raises upstream's StatusErrors; the Events raise as `WatchReader.feed`.
    """
    query = [
        ("watch", "true"),
        ("allowWatchBookmarks", "true"),
        ("resourceVersion", rv),
        ("timeoutSeconds", str(random.randint(300, 600))),  # noqa: S311 (spreads reconnects, as client-go does)
    ]
    if form is ReadForm.TABLE:
        query.append(("includeObject", "Object"))
    reader = WatchReader(form)
    path = resource.gvr.collection_path()
    async with client.stream(
        "GET", path, query, headers=[("Accept", form.value)], read_timeout_seconds=UPSTREAM_SILENCE_SECONDS
    ) as response:
        if response.status_code != 200:
            raise status_error_from_response(await client.buffer(response))
        yield iter(())
        async for data in response.aiter_raw():
            yield reader.feed(data)


def _decode_lenient(raw: bytes) -> _ErrorStatus:
    try:
        return msgspec.json.decode(raw, type=_ErrorStatus)
    except UNREADABLE_JSON:
        return _ErrorStatus()
