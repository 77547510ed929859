"""DiscoveryCache: the catalog of what the API server serves, kept current.

A resource that is not in the catalog is looked for upstream before anybody hears that it does not exist: a refresh
that began after the question answers it. Refreshes run one at a time and begin at least MIN_REFRESH_INTERVAL_SECONDS
apart, so that callers who ask for nonsense wait together and cannot hammer the API server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from proxy.api.groups import ApiResource, GroupVersionResource
from proxy.api.status import ServiceUnavailable, StatusError
from proxy.upstream.discovery_documents import (
    AGGREGATED_ACCEPT,
    is_aggregated,
    parse_aggregated,
    parse_core_versions,
    parse_groups,
    parse_resources,
)
from proxy.upstream.errors import status_error_from_response
from proxy.upstream.resource_catalog import ResourceCatalog, merge_catalogs
from proxy.upstream.response import UpstreamResponse

REFRESH_SECONDS = 30.0
MIN_REFRESH_INTERVAL_SECONDS = 1.0
MAX_DOCUMENT_BYTES = 32 * 1024 * 1024  # a cluster with thousands of CRDs stays below
VERSION_TIMEOUT_SECONDS = 10.0  # for one version: it may be served by an aggregated server that hangs

_log = logging.getLogger(__name__)


class DiscoveryClient(Protocol):
    """What is needed of the UpstreamClient."""

    async def get(
        self,
        path: str,
        query: Sequence[tuple[str, str]] = ...,
        *,
        accept: str = ...,
        headers: Sequence[tuple[str, str]] = ...,
        max_body_bytes: int,
        timeout_seconds: float = ...,
    ) -> UpstreamResponse: ...


class Clock(Protocol):
    """Monotonic seconds, and a way to wait for them."""

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """`catalog` is None for a legacy document, whose `versions` are to be asked one by one."""

    etag: str
    catalog: ResourceCatalog | None
    versions: Sequence[tuple[str, str]]


class DiscoveryCache:
    """Before the first `refresh` the catalog is empty, and looking a resource up makes it."""

    def __init__(self, client: DiscoveryClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._catalog = ResourceCatalog()
        self._documents: dict[str, _Document] = {}
        self._observers: list[Callable[[frozenset[GroupVersionResource]], None]] = []
        self._refreshing = asyncio.Lock()
        self._asked = asyncio.Event()
        self._begun = 0  # refreshes, numbered from 1
        self._finished = 0
        self._failure: StatusError | None = None
        self._next_at = clock.monotonic()

    @property
    def catalog(self) -> ResourceCatalog:
        """What is known now, without asking."""
        return self._catalog

    def observe_removals(self, observer: Callable[[frozenset[GroupVersionResource]], None]) -> None:
        """`observer` is called with the resources a refresh found gone or changed, after the catalog has changed."""
        self._observers.append(observer)

    async def resource(self, gvr: GroupVersionResource) -> ApiResource | None:
        """A resource; None when the API server does not serve it. Raises ServiceUnavailable when that is not known."""
        return await self._look_up(gvr, lambda catalog: catalog.resource(gvr))

    async def subresource(self, gvr: GroupVersionResource, name: str) -> ApiResource | None:
        """A subresource, under the same terms as `resource`."""
        return await self._look_up(gvr, lambda catalog: catalog.subresource(gvr, name))

    async def refresh(self) -> None:
        """Returns when a refresh that began after this call is done. Raises ServiceUnavailable when it failed."""
        latest_before = self._begun
        async with self._refreshing:
            if self._finished <= latest_before:
                await self._clock.sleep(max(0.0, self._next_at - self._clock.monotonic()))
                await self._refresh_now()
            if self._failure is not None:
                raise self._failure.with_traceback(None)

    async def run(self) -> None:
        """Refreshes for ever; a failure is logged and the last good catalog stays."""
        while True:
            await self._clock.sleep(REFRESH_SECONDS)
            await self._try_refresh()

    def ask(self) -> None:
        """Has the catalog refreshed soon: something in it is not served any more."""
        self._asked.set()

    async def run_when_asked(self) -> None:
        """Refreshes when it is asked to, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._try_refresh()

    async def _try_refresh(self) -> None:
        try:
            await self.refresh()
        except StatusError as error:
            _log.warning("discovery keeps what it knows: %s", error)

    async def _look_up(
        self, gvr: GroupVersionResource, find: Callable[[ResourceCatalog], ApiResource | None]
    ) -> ApiResource | None:
        found = find(self._catalog)
        if found is not None:
            return found
        await self.refresh()
        found = find(self._catalog)
        if found is None and gvr.group_version in self._catalog.stale:
            raise ServiceUnavailable(f"the server of `{gvr.group_version}` does not answer the API server")
        return found

    async def _refresh_now(self) -> None:
        self._begun += 1
        number = self._begun
        self._next_at = self._clock.monotonic() + MIN_REFRESH_INTERVAL_SECONDS
        try:
            catalog = (await self._fetch()).keeping_stale_of(self._catalog)
        except ServiceUnavailable as error:
            self._failure = error
        except StatusError as error:  # a 404 here says nothing about the resource that somebody asked for
            self._failure = ServiceUnavailable(f"the API server's discovery fails: {error}")
        except ValueError as error:
            self._failure = ServiceUnavailable(f"the API server's discovery cannot be read: {error}")
        else:
            self._failure = None
            removed = self._catalog.without(catalog)
            self._catalog = catalog
            if removed:
                for observer in self._observers:
                    observer(removed)
        self._finished = number

    async def _fetch(self) -> ResourceCatalog:
        core = await self._fetch_root("/api", parse_core_versions)
        groups = await self._fetch_root("/apis", parse_groups)
        catalogs = [document.catalog for document in (core, groups) if document.catalog is not None]
        legacy = [pair for document in (core, groups) for pair in document.versions]
        async with asyncio.TaskGroup() as tasks:
            fetches = [tasks.create_task(self._fetch_version(group, version)) for group, version in legacy]
        return merge_catalogs(catalogs + [fetch.result() for fetch in fetches])

    async def _fetch_root(self, path: str, parse_legacy: Callable[[bytes], list[tuple[str, str]]]) -> _Document:
        known = self._documents.get(path)
        response = await self._client.get(
            path,
            accept=AGGREGATED_ACCEPT,
            headers=(("If-None-Match", known.etag),) if known and known.etag else (),
            max_body_bytes=MAX_DOCUMENT_BYTES,
        )
        if known is not None and response.status == HTTPStatus.NOT_MODIFIED:
            return known
        if response.status != HTTPStatus.OK:
            raise status_error_from_response(response)
        aggregated = is_aggregated(response.headers.get("content-type", ""))
        document = _Document(
            etag=response.headers.get("etag", ""),
            catalog=parse_aggregated(response.body) if aggregated else None,
            versions=() if aggregated else parse_legacy(response.body),
        )
        self._documents[path] = document
        return document

    async def _fetch_version(self, group: str, version: str) -> ResourceCatalog:
        """One version in legacy form. Its failure is its own: the version is stale then."""
        root = GroupVersionResource(group, version, "")
        try:
            response = await self._client.get(
                root.root, max_body_bytes=MAX_DOCUMENT_BYTES, timeout_seconds=VERSION_TIMEOUT_SECONDS
            )
            if response.status == HTTPStatus.NOT_FOUND:  # removed between the two requests
                return ResourceCatalog()
            if response.status != HTTPStatus.OK:
                raise status_error_from_response(response)
            return parse_resources(response.body, group, version)
        except (StatusError, ValueError) as error:
            _log.warning("discovery of %s fails: %s", root.group_version, error)
            return ResourceCatalog(stale=frozenset((root.group_version,)))
