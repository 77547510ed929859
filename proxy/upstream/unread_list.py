"""UnreadList: a list whose items nobody here has looked at, as the text upstream sent.

For answers to a question about no more than the caller may see. Reading items only to write them again is what most of
such a list would cost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

_HEAD = re.compile(rb'\{"kind":"([A-Za-z]+)","apiVersion":"([a-z0-9./]+)","metadata":(\{[^{}]*\}),"items":\[')
"""How a list of a built-in type begins: its members come in this order, and its metadata is flat. What stands in a
string cannot look like the end of this, for that has quotes of its own."""

_TAIL = b"]}\n"


class ListMetadata(msgspec.Struct):
    """What is read of a list's own metadata."""

    resourceVersion: str = ""  # noqa: N815
    continue_: str = msgspec.field(name="continue", default="")


class RawList(msgspec.Struct):
    """A list of objects, each left as it is. `items` is null where an empty list was not initialised."""

    kind: str = ""
    apiVersion: str = ""  # noqa: N815
    metadata: ListMetadata = msgspec.field(default_factory=ListMetadata)
    items: list[msgspec.Raw] | None = None


_decode_metadata = msgspec.json.Decoder(ListMetadata).decode
decode_raw_list = msgspec.json.Decoder(RawList).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadList:
    """A whole list, or one page when `continue_token` is set. Shared between readers: never changed.

    Each of `texts` holds one or more items with commas between them. The rest is as in an UpstreamList.
    """

    rv: str
    texts: tuple[memoryview, ...]
    continue_token: str = ""
    kind: str = ""
    api_version: str = ""
    warnings: tuple[str, ...] = ()


def parse_unread_list(body: bytes) -> UnreadList:
    """The list in an answer of upstream. Raises one of UNREADABLE_JSON when it is none.

    The items of a built-in type are cut out unseen; those of another are found by reading the list once.
    """
    head = _HEAD.match(body)
    if head is None or not body.endswith(_TAIL):
        read = decode_raw_list(body)
        metadata, kind, api_version = read.metadata, read.kind, read.apiVersion
        text = memoryview(b",".join(read.items or ()))
    else:
        metadata = _decode_metadata(head[3])
        kind, api_version = head[1].decode(), head[2].decode()
        text = memoryview(body)[head.end() : -len(_TAIL)]
    return UnreadList(
        rv=metadata.resourceVersion,
        continue_token=metadata.continue_,
        kind=kind,
        api_version=api_version,
        texts=(text,) if text else (),
    )


def joined(lists: Sequence[UnreadList], rv: str) -> UnreadList:
    """Parts or pages of one list, in order, as the whole list at `rv`."""
    return replace(lists[0], rv=rv, continue_token="", texts=tuple(text for each in lists for text in each.texts))
