"""An answer, brought to what both sides owe: without what is made anew for each answer.

Left out are the resourceVersion of a list, what the API server chooses for a new object (uid, times, a generated name,
a token), and printed ages. Continue tokens count as being there or not.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.raw_client import RawResponse

COMPARED_HEADERS = frozenset(
    {
        *("allow", "cache-control", "content-type", "etag", "location", "retry-after", "vary", "warning"),
        *("www-authenticate"),
    }
)
_CHOSEN = frozenset(
    {
        *("uid", "controller-uid", "batch.kubernetes.io/controller-uid", "token"),
        *("creationTimestamp", "deletionTimestamp", "expirationTimestamp", "lastTransitionTime", "renewTime", "time"),
    }
)
_AGES = frozenset({"Age", "Last Seen", "First Seen"})
_CURRENT = re.compile(r"current: \d+")
_GENERATED = re.compile(r"made-[a-z0-9]{5}")
_SHOWN_CHARACTERS = 2000
_RENEWED = "apiserver-"  # the Lease of the API server itself, renewed all the time
_ABSENT = "(absent)"
_IN_PROTOBUF = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\x08[\x80-\xff]{4}[\x05-\x07]\x10\x00|\d{2,}")
"""What is made anew in bytes that are not read: uids, times (a message of seconds and no nanoseconds), numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`body` is a JSON value, a list of watch events without bookmarks, or bytes; `headers` are those compared."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Any
    indented: bool = False

    @property
    def reason(self) -> str:
        """The reason of a Status, "" for all else."""
        return self._of_status("reason")

    @property
    def message(self) -> str:
        """The message of a Status, "" for all else."""
        return self._of_status("message")

    @property
    def media_type(self) -> str:
        """The Content-Type."""
        return dict(self.headers).get("content-type", "")

    def _of_status(self, name: str) -> str:
        if isinstance(self.body, dict) and self.body.get("kind") == "Status":
            return str(self.body.get(name, ""))
        return ""

    def __str__(self) -> str:
        body = repr(self.body) if isinstance(self.body, bytes) else json.dumps(self.body, default=str)
        return (
            f"{self.status} {dict(self.headers)}{' indented' if self.indented else ''}\n    {body[:_SHOWN_CHARACTERS]}"
        )


def read(response: RawResponse) -> Answer:
    """What has to be equal of an answer."""
    headers = tuple(sorted(pair for pair in response.headers if pair[0] in COMPARED_HEADERS))
    media_type = response.header("content-type") or ""
    body, indented = _body(response.body, media_type)
    return Answer(status=response.status, headers=headers, body=body, indented=indented)


def _body(raw: bytes, media_type: str) -> tuple[Any, bool]:
    if media_type == "application/yaml":
        return plain(yaml.load(raw, yaml.CSafeLoader)), False
    if not media_type.startswith("application/json") or not raw:
        return _IN_PROTOBUF.sub(b"N", raw), False
    lines = raw.splitlines()
    if lines[0].startswith(b'{"type":"') and lines[0].endswith(b"}"):
        events = [json.loads(line) for line in lines]
        unprint_ages([event["object"] for event in events])
        return [plain(event) for event in events if not _is_chance(event)], False
    try:
        value = json.loads(raw)
    except ValueError:
        return raw, False
    return plain(value), raw.startswith(b"{\n")


def _is_chance(event: Any) -> bool:
    """True for what comes when it comes: a bookmark that only says how far a watch has come, a Lease renewed."""
    if event["type"] == "BOOKMARK":
        return "initial-events-end" not in json.dumps(event)
    return event["type"] == "MODIFIED" and _RENEWED in json.dumps(event)


def differing(owed: Any, got: Any, path: str = "") -> str:
    """Where two bodies differ first, for a person to read."""
    if isinstance(owed, dict) and isinstance(got, dict):
        for name in {**owed, **got}:
            if owed.get(name, _ABSENT) != got.get(name, _ABSENT):
                return differing(owed.get(name, _ABSENT), got.get(name, _ABSENT), f"{path}.{name}")
    if isinstance(owed, list) and isinstance(got, list) and len(owed) == len(got):
        index = next((index for index, each in enumerate(owed) if each != got[index]), None)
        if index is not None:
            return differing(owed[index], got[index], f"{path}[{index}]")
    return f"{path}: {owed!r:.500} / {got!r:.500}"


def plain(value: Any) -> Any:
    """A decoded body without what is made anew for each answer."""
    if isinstance(value, dict) and value.get("type") == "BOOKMARK":
        return {"type": "BOOKMARK"}  # the one that ends the initial events
    if isinstance(value, dict) and "items" in value and isinstance(value.get("metadata"), dict):
        value = {**value, "metadata": _list_metadata(value["metadata"])}
    elif isinstance(value, dict) and value.get("kind") == "Table":
        value = _table(value)
    elif isinstance(value, dict) and value.get("kind") == "Status":
        value = {**value, "message": _message(value.get("message", ""))}
    return _without_chosen(value)


def _list_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in metadata.items() if name != "resourceVersion" and value != ""}
    return {**kept, "continue": "there"} if "continue" in kept else kept


def _table(table: dict[str, Any]) -> dict[str, Any]:
    unprint_ages([table])
    return {**table, "metadata": _list_metadata(table["metadata"])}


def unprint_ages(objects: list[dict[str, Any]]) -> None:
    """Makes all ages of Tables the same; the first has the columns of all."""
    tables = [each for each in objects if each.get("kind") == "Table"]
    columns = next((each["columnDefinitions"] for each in tables if each["columnDefinitions"]), [])
    for index in (index for index, column in enumerate(columns) if column["name"] in _AGES):
        for cells in (row["cells"] for table in tables for row in table["rows"] or ()):
            cells[index : index + 1] = "-" if cells else ""  # the row of a bookmark has none


def _message(message: str) -> str:
    """The roles that a refusal misses come in no order."""
    start, found, missing = message.partition("RBAC: ")
    if found:
        message = f"{start}{found}{sorted(missing.strip('[]').split(', '))}"
    return _GENERATED.sub("made-", _CURRENT.sub("current: N", message))


def _without_chosen(value: Any) -> Any:
    if isinstance(value, dict):
        metadata = value.get("metadata")
        if isinstance(metadata, dict) and str(metadata.get("name")).startswith(_RENEWED):
            return {"metadata": {name: metadata.get(name) for name in ("namespace", "name")}}
        kept = {name: _without_chosen(each) for name, each in value.items() if name not in _CHOSEN}
        if isinstance(kept.get("name"), str):
            kept["name"] = _GENERATED.sub("made-", kept["name"])
        return kept
    if isinstance(value, list):
        return [_without_chosen(each) for each in value]
    return value
