"""Pages of a filtered list: filled up to `limit` with what the caller may see, whatever upstream's pages hold.

A list is read in parts: the namespaces of the scope where these are few, else everything at once. All parts are read
at one resourceVersion, which the first page fixes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace

from proxy.api.objects import ObjectVersion
from proxy.api.status import Expired
from proxy.authz.visibility import Visibility
from proxy.server.continue_token import EXPIRED_MESSAGE, ContinueTokens, Position, scope_digest
from proxy.server.limits import too_many_requests
from proxy.upstream.client import UpstreamClient
from proxy.upstream.fair_slots import FairSlots, NoRoom
from proxy.upstream.list_reader import PAGE_SIZE, ListQuestion, UpstreamList, read_page

_NONCE_BYTES = 12

MAX_PAGE_READS = 8
"""Pages of upstream's that are read at once, whoever asks: each is 500 objects, however small the page it is for."""

MAX_WAITING_PAGE_READS = 1024


class Pager:
    """Reads pages. `tokens` hold where each goes on."""

    def __init__(self, client: UpstreamClient, tokens: ContinueTokens) -> None:
        self._client = client
        self._tokens = tokens
        self._page_reads = FairSlots(MAX_PAGE_READS, max_waiting=MAX_WAITING_PAGE_READS)

    def position(self, token: str, bound_to: bytes, visible: Visibility) -> Position:
        """Where a token goes on. Raises BadRequest or Expired."""
        return self._tokens.open(token, bound_to, visible.scope)

    async def read(
        self,
        question: ListQuestion,
        parts: Sequence[str],
        visible: Visibility,
        *,
        limit: int,
        start: Position | None,
        bound_to: bytes,
    ) -> UpstreamList:
        """The visible objects of the page that begins at `start` (None: at the beginning, at the question's
        resourceVersion); its `continue_token` is ours.

        `parts` are namespaces in storage order, or [""] for all of the question's; a question without a
        resourceVersion has one part only. Raises upstream's StatusErrors; Expired when the page is forgotten.
        """
        versions: list[ObjectVersion] = []
        at = start
        rv = start.rv if start else question.resource_version
        shape: UpstreamList | None = None
        last_part = last_token = ""
        remaining = parts[list(parts).index(start.part) :] if start and start.part in parts else parts
        for part in remaining:
            token = at.upstream_token if at and at.part == part else ""
            while True:
                page = await self._page(question, part, rv, token)
                rv, shape = rv or page.rv, shape or page
                for version in _after(page.versions, at if at and at.part == part else None):
                    if not visible.sees(version):
                        continue
                    if len(versions) == limit:
                        last = versions[-1]
                        token = self._seal(_position(rv, last_part, last_token, last, visible), bound_to)
                        return replace(shape, rv=rv, versions=versions, continue_token=token)
                    versions.append(version)
                    last_part, last_token = part, token
                at = None
                if not page.continue_token:
                    break
                token = page.continue_token
                await asyncio.sleep(0)
        assert shape is not None, "a list has at least one part"
        return replace(shape, rv=rv, versions=versions, continue_token="")

    async def _page(self, question: ListQuestion, part: str, rv: str, token: str) -> UpstreamList:
        asked = replace(
            question,
            namespace=part or question.namespace,
            resource_version=rv,
            resource_version_match="Exact" if rv else "",
        )
        try:
            await self._page_reads.acquire(None)
        except NoRoom as error:
            raise too_many_requests("too many pages of lists are waiting to be read") from error
        try:
            return await read_page(self._client, asked, limit=PAGE_SIZE, continue_token=token)
        except Expired as error:
            # Upstream's answer holds a token of its own for an inconsistent rest: that one is not for callers.
            raise Expired(EXPIRED_MESSAGE) from error
        finally:
            self._page_reads.release()

    def _seal(self, position: Position, bound_to: bytes) -> str:
        return self._tokens.seal(position, bound_to, secrets.token_bytes(_NONCE_BYTES))


def _position(rv: str, part: str, token: str, last: ObjectVersion, visible: Visibility) -> Position:
    return Position(
        rv=rv,
        part=part,
        upstream_token=token,
        last_namespace=last.namespace,
        last_name=last.name,
        scope=scope_digest(visible.scope),
    )


def _after(versions: list[ObjectVersion], start: Position | None) -> list[ObjectVersion]:
    """What follows the last key that was returned. Raises Expired when that is not in the page any more."""
    if start is None:
        return versions
    for index, version in enumerate(versions):
        if version.key == (start.last_namespace, start.last_name):
            return versions[index + 1 :]
    raise Expired(EXPIRED_MESSAGE)
