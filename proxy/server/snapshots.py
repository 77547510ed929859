"""Snapshots: the objects of a resource at one resourceVersion, from upstream or from the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from proxy.api.groups import ApiResource
from proxy.api.list_options import EXACT
from proxy.authz.decision import Permit
from proxy.server.authority import Authority
from proxy.server.narrowing import narrowed
from proxy.upstream.cache_budget import CacheFull
from proxy.upstream.cacher import Cacher
from proxy.upstream.cachers import Cachers
from proxy.upstream.list_reader import ListQuestion, ReadForm, UpstreamList
from proxy.upstream.lister import Lister, storage_key
from proxy.upstream.unread_list import UnreadList
from proxy.watch.history import rv_number

MAX_NAMESPACES_READ = 20
"""Up to here the namespaces of a scope are read one by one; more are read with all others in one list."""


def read_parts(permit: Permit) -> list[str]:
    """The namespaces to read for a cluster-wide request where these are known and few; else empty: all in one."""
    attributes = permit.attributes
    if attributes.namespace or not attributes.namespaced or permit.scope.everything:
        return []
    namespaces: set[str] = set()
    for grant in permit.scope.grants:
        if grant.namespaces is None or grant.namespaces.globs:
            return []
        namespaces |= grant.namespaces.names
    return sorted(namespaces, key=storage_key) if len(namespaces) <= MAX_NAMESPACES_READ else []


def whole_parts(permit: Permit) -> list[str]:
    """As `read_parts`, where these namespaces are shown whole ([""]: all that the request names); else empty."""
    if permit.attributes.name:
        return []
    if permit.scope.everything:
        return [""]
    selective = any(
        grant.names is not None or grant.label_selector is not None or grant.field_selector is not None
        for grant in permit.scope.grants
    )
    return [] if selective else read_parts(permit)


class Snapshots:
    """Where reads get their objects from."""

    def __init__(self, lister: Lister, cachers: Cachers, authority: Authority) -> None:
        self._lister = lister
        self._cachers = cachers
        self._authority = authority

    async def consistent(self, question: ListQuestion, parts: Sequence[str]) -> UpstreamList:
        """As of now or later. `parts` are the namespaces to read, empty for all that the question names."""
        if parts:
            return await self._lister.read_namespaces(question, parts)
        return await self._lister.read(question)

    async def for_permit(self, question: ListQuestion, permit: Permit) -> UpstreamList:
        """As `consistent`; may lack what the permit does not show."""
        if parts := read_parts(permit):
            return await self._lister.read_namespaces(question, parts)
        return await self._lister.read_narrowed(question, narrowed(question, permit.scope))

    async def unread(self, question: ListQuestion, parts: Sequence[str]) -> UnreadList:
        """As `consistent`, of `whole_parts`, the items as text."""
        return await self._lister.read_namespaces_unread(question, parts)

    async def exact(self, question: ListQuestion, parts: Sequence[str], rv: str) -> UpstreamList:
        """At exactly `rv`. Raises Expired when upstream has forgotten it."""
        at_rv = replace(question, resource_version=rv, resource_version_match=EXACT)
        if parts:
            return await self._lister.read_namespaces(at_rv, parts)
        return await self._lister.read(at_rv)

    async def current_rv(self, resource: ApiResource) -> str:
        """The resource's resourceVersion as of now or later."""
        return await self._lister.current_rv(resource)

    def seen(self, resource: ApiResource) -> int:
        """The newest resourceVersion of the resource that the proxy has seen; lower after upstream has gone back."""
        return self._lister.seen(resource)

    async def cached(self, resource: ApiResource, permit: Permit, at_least: str) -> UpstreamList | None:
        """From the watch cache, started when there is none; None where that is not for this caller.

        It is not when it is older than `at_least`, or than the caller's scope: a later watch could not resume from it.
        Nor when there is no room for a cache.
        """
        try:
            cacher = self._cachers.start(resource, ReadForm.OBJECT)
            await cacher.wait_ready()
        except CacheFull:
            return None
        return self.cached_now(cacher, permit, at_least)

    def cached_now(self, cacher: Cacher, permit: Permit, at_least: str) -> UpstreamList | None:
        """As `cached`, of a cacher that is filled."""
        rv = cacher.cache.rv
        wanted, reached = rv_number(at_least), rv_number(rv)
        if wanted is not None and (reached is None or reached < wanted):
            return None
        if not self._authority.may_hand_out(permit, cacher.resource, rv):
            return None
        return cacher.snapshot()
