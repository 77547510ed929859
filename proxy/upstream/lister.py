"""Consistent reads, shared: upstream sees one list of a kind at a time, however many clients relist.

Group commit: a reader that arrives while a read is in flight waits for the *next* one, never joins the one already
sent, so that everybody reads what was written before they asked.

INVARIANT: a read is sent upstream after each of its readers asked (tests/unit/upstream/test_lister.py).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, cast

from proxy.api.groups import ApiResource
from proxy.api.list_options import EXACT
from proxy.api.status import Expired, ServiceUnavailable
from proxy.upstream.client import UpstreamClient
from proxy.upstream.list_reader import ListQuestion, ReadForm, UpstreamList, read_list, read_list_unread, read_page
from proxy.upstream.unread_list import UnreadList, joined

T = TypeVar("T")
Part = TypeVar("Part", UpstreamList, UnreadList)

MAX_NARROWED_READS = 2
"""Different narrowed questions in flight. One read of everything serves any number of readers."""

_MAX_ATTEMPTS = 3
"""Reads of several namespaces that a compaction may overtake."""


@dataclass(slots=True)
class _Reads:
    """The reads of one question: whether one is in flight, and who waits for the next."""

    running: bool = False
    waiting: list[asyncio.Future[Any]] = field(default_factory=list)


class Lister:
    """Reads lists and current resourceVersions. `tasks` outlives every reader: one that gives up harms no other."""

    def __init__(self, client: UpstreamClient, tasks: asyncio.TaskGroup) -> None:
        self._client = client
        self._tasks = tasks
        self._reads: dict[Hashable, _Reads] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._narrowed: Counter[ListQuestion] = Counter()

    def stop(self) -> None:
        """Ends all reads that are under way; their readers get ServiceUnavailable."""
        for task in self._running:
            task.cancel()

    async def read(self, question: ListQuestion) -> UpstreamList:
        """The whole list. Without a resourceVersion in the question it is consistent, as of now or later."""
        return await self._shared(question, lambda: read_list(self._client, question))

    async def read_narrowed(self, question: ListQuestion, narrowed: ListQuestion) -> UpstreamList:
        """As `read` of `narrowed`, or of `question` itself, which contains it.

        Readers who narrow alike share their reads. Where many differ they share the read of everything, so that
        upstream is still asked for few lists at a time.
        """
        is_crowded = narrowed not in self._narrowed and len(self._narrowed) >= MAX_NARROWED_READS
        if narrowed == question or is_crowded:
            return await self.read(question)
        self._narrowed[narrowed] += 1
        try:
            return await self.read(narrowed)
        finally:
            self._narrowed -= Counter([narrowed])

    def seen(self, resource: ApiResource) -> int:
        """The newest resourceVersion seen, without asking; 0 for none."""
        return self._client.revisions.seen(resource.gvr)

    async def current_rv(self, resource: ApiResource) -> str:
        """The newest resourceVersion of the resource, as of now or later: a consistent read of one object."""
        question = ListQuestion(resource=resource, form=ReadForm.OBJECT)
        return (await self._shared(resource, lambda: read_page(self._client, question, limit=1))).rv

    async def read_namespaces(self, question: ListQuestion, namespaces: Sequence[str]) -> UpstreamList:
        """The lists of some namespaces as one list of one resourceVersion, in the order of storage.

        Cheaper than the list of all namespaces where these are few. `question` names no namespace; without a
        resourceVersion the list is consistent.
        """
        rv, lists = await self._of_one_version(question, namespaces, self.read)
        return replace(lists[0], rv=rv, versions=[version for each in lists for version in each.versions])

    async def read_namespaces_unread(self, question: ListQuestion, namespaces: Sequence[str]) -> UnreadList:
        """As `read_namespaces`, the items as text; the namespace "" is what `question` names. It asks for objects."""

        async def read(part: ListQuestion) -> UnreadList:
            return await self._shared(("unread", part), partial(read_list_unread, self._client, part))

        rv, lists = await self._of_one_version(question, namespaces, read)
        return joined(lists, rv)

    async def _of_one_version(
        self, question: ListQuestion, namespaces: Sequence[str], read: Callable[[ListQuestion], Awaitable[Part]]
    ) -> tuple[str, list[Part]]:
        """The lists of some namespaces, and their common resourceVersion.

        Where that was ours to choose and upstream has compacted it meanwhile, another one is chosen.
        """
        attempts = 0
        while True:
            parts = await self._parts(question, namespaces)
            try:
                lists = [await read(part) for part in parts]
            except Expired:
                attempts += 1
                if question.resource_version or attempts == _MAX_ATTEMPTS:
                    raise
            else:
                return parts[0].resource_version or lists[0].rv, lists

    async def _parts(self, question: ListQuestion, namespaces: Sequence[str]) -> list[ListQuestion]:
        """A question for each namespace, all at one resourceVersion."""
        if len(namespaces) > 1:
            rv = question.resource_version or await self.current_rv(question.resource)
            question = replace(question, resource_version=rv, resource_version_match=EXACT)
        return [replace(question, namespace=each or question.namespace) for each in sorted(namespaces, key=storage_key)]

    async def _shared(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        reads = self._reads.setdefault(key, _Reads())
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        reads.waiting.append(future)
        if not reads.running:
            reads.running = True
            task = self._tasks.create_task(self._run(key, reads, read))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return cast("T", await future)

    async def _run(self, key: Hashable, reads: _Reads, read: Callable[[], Awaitable[Any]]) -> None:
        while reads.waiting:
            readers, reads.waiting = reads.waiting, []
            if all(reader.done() for reader in readers):
                continue  # they all gave up: nothing to read for
            try:
                result = await read()
            except asyncio.CancelledError:
                for reader in (*readers, *reads.waiting):
                    if not reader.done():
                        reader.set_exception(ServiceUnavailable("the proxy is stopping"))
                raise
            except Exception as error:  # whatever it was, it is the readers' to see, not the task group's
                for reader in readers:
                    if not reader.done():
                        reader.set_exception(error)
            else:
                for reader in readers:
                    if not reader.done():
                        reader.set_result(result)
        del self._reads[key]


def storage_key(namespace: str) -> str:
    """Keys are `namespace/name`: the slash takes part in the order (`a-b/x` comes before `a/x`)."""
    return f"{namespace}/"
