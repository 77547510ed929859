"""Reading a list from upstream: page by page, items kept as their own bytes.

A read is whole or it fails: pages are of one resourceVersion, and when upstream forgets it half-way the read starts
over. Between two pages, and while objects are decoded, the event loop is free now and then: no list holds up watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

import msgspec

from proxy.api.groups import ApiResource
from proxy.api.objects import UNREADABLE_JSON, ObjectVersion, one_line
from proxy.api.status import Expired, ServiceUnavailable
from proxy.upstream.client import UpstreamClient
from proxy.upstream.errors import status_error_from_response
from proxy.upstream.unread_list import ListMetadata, UnreadList, decode_raw_list, joined, parse_unread_list

PAGE_SIZE = 500
"""Objects a page. Finding the items in a page of 17 KB pods takes 10 ms of the loop in one piece."""

_STEP = 64
"""Objects decoded before others get the loop: 2 ms for 17 KB pods."""

MAX_PAGE_BYTES = 1024 * 1024 * 1024
"""Bound of one page: 500 objects of etcd's own limit (1.5 MiB) with room."""

_MAX_RESTARTS = 3
"""Times a list whose continue token expired half-way is begun again."""

TABLE_ACCEPT = "application/json;as=Table;v=v1;g=meta.k8s.io"


class ReadForm(Enum):
    """The form in which upstream is asked: whole objects, or table rows with their whole objects."""

    OBJECT = "application/json"
    TABLE = TABLE_ACCEPT


class Row(msgspec.Struct):
    """One row of a Table. `conditions` is absent from most rows."""

    cells: msgspec.Raw
    object: msgspec.Raw
    conditions: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    def version(self) -> ObjectVersion:
        """The object of the row, with the beginning of the row."""
        conditions = b"" if isinstance(self.conditions, msgspec.UnsetType) else b'"conditions":%b,' % self.conditions
        head = b'{"cells":%b,%b"object":' % (self.cells, conditions)
        return ObjectVersion(bytes(self.object), one_line(head + b"null}").removesuffix(b"null}"))


class Table(msgspec.Struct):
    """A Table as upstream sends it. A server that cannot print its objects answers with something else."""

    kind: str = ""
    metadata: ListMetadata = msgspec.field(default_factory=ListMetadata)
    columnDefinitions: msgspec.Raw = msgspec.Raw(b"null")  # noqa: N815
    rows: list[Row] | None = None


_decode_table = msgspec.json.Decoder(Table).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamList:
    """A whole list, or one page when `continue_token` is set. Shared between readers: never changed.

    `kind` and `api_version` are the list's own; `columns` the JSON of a Table's columnDefinitions (`null` else);
    `warnings` the values of upstream's Warning headers (a deprecated version).
    """

    rv: str
    versions: list[ObjectVersion]
    continue_token: str = ""
    kind: str = ""
    api_version: str = ""
    columns: bytes = b"null"
    warnings: tuple[str, ...] = ()


Page = TypeVar("Page", UpstreamList, UnreadList)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuestion:
    """What is read. Selectors are the caller's own text, empty for none."""

    resource: ApiResource
    form: ReadForm
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    resource_version_match: str = ""


async def read_page(
    client: UpstreamClient, question: ListQuestion, *, limit: int, continue_token: str = ""
) -> UpstreamList:
    """One page of up to `limit` objects. Raises upstream's StatusError, ServiceUnavailable without one."""
    return await _read_page(client, question, _parse_of[question.form], limit=limit, continue_token=continue_token)


async def read_list(client: UpstreamClient, question: ListQuestion) -> UpstreamList:
    """The whole list, read in pages. Raises as `read_page`."""
    pages = await _read_pages(client, question, _parse_of[question.form])
    return replace(pages[0], versions=[each for page in pages for each in page.versions], continue_token="")


async def read_list_unread(client: UpstreamClient, question: ListQuestion) -> UnreadList:
    """As `read_list`, its items as text. `question` asks for objects. Raises as `read_page`."""
    pages = await _read_pages(client, question, _parse_unread)
    return joined(pages, pages[0].rv)


async def _read_pages(
    client: UpstreamClient, question: ListQuestion, parse: Callable[[bytes], Awaitable[Page]]
) -> list[Page]:
    for _ in range(_MAX_RESTARTS):
        page = await _read_page(client, question, parse, limit=PAGE_SIZE)
        pages = [page]
        try:
            while token := page.continue_token:
                page = await _read_page(client, question, parse, limit=PAGE_SIZE, continue_token=token)
                pages.append(page)
        except Expired:
            continue  # the continue token was forgotten between two pages
        return pages
    raise ServiceUnavailable("the API server forgets lists faster than they can be read")


async def _read_page(
    client: UpstreamClient,
    question: ListQuestion,
    parse: Callable[[bytes], Awaitable[Page]],
    *,
    limit: int,
    continue_token: str = "",
) -> Page:
    query = [("limit", str(limit))]
    if continue_token:
        query.append(("continue", continue_token))
    elif question.resource_version:
        query.append(("resourceVersion", question.resource_version))
        query.append(("resourceVersionMatch", question.resource_version_match))
    if question.label_selector:
        query.append(("labelSelector", question.label_selector))
    if question.field_selector:
        query.append(("fieldSelector", question.field_selector))
    if question.form is ReadForm.TABLE:
        query.append(("includeObject", "Object"))
    gvr = question.resource.gvr
    path = gvr.collection_path(question.namespace)
    seen_before = client.revisions.seen(gvr)
    response = await client.get(path, query, accept=question.form.value, max_body_bytes=MAX_PAGE_BYTES)
    if response.status != 200:
        raise status_error_from_response(response)
    try:
        page = await parse(response.body)
    except UNREADABLE_JSON as error:
        raise ServiceUnavailable(f"the API server sent a list that cannot be read: {error}") from error
    if not continue_token and not question.resource_version:
        client.revisions.read(gvr, page.rv, seen_before=seen_before)
    return replace(page, warnings=tuple(response.headers.get_list("warning")))


async def _parse_unread(body: bytes) -> UnreadList:
    return parse_unread_list(body)


async def _parse_table(body: bytes) -> UpstreamList:
    table = _decode_table(body)
    if table.kind != "Table":
        raise msgspec.ValidationError(f"`{table.kind}` is no Table")
    return UpstreamList(
        rv=table.metadata.resourceVersion,
        continue_token=table.metadata.continue_,
        versions=await _in_steps(table.rows or (), Row.version),
        columns=one_line(bytes(table.columnDefinitions)),
    )


async def _parse_objects(body: bytes) -> UpstreamList:
    page = decode_raw_list(body)
    return UpstreamList(
        rv=page.metadata.resourceVersion,
        continue_token=page.metadata.continue_,
        versions=await _in_steps(page.items or (), lambda item: ObjectVersion(bytes(item))),
        kind=page.kind,
        api_version=page.apiVersion,
    )


async def _in_steps(items: Sequence[Item], version: Callable[[Item], ObjectVersion]) -> list[ObjectVersion]:
    """The versions of a page's items, made in steps that do not hold up the loop."""
    versions: list[ObjectVersion] = []
    for start in range(0, len(items), _STEP):
        await asyncio.sleep(0)
        versions.extend(map(version, items[start : start + _STEP]))
    return versions


_parse_of = {ReadForm.OBJECT: _parse_objects, ReadForm.TABLE: _parse_table}
