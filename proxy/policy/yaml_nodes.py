"""YAML as nodes with positions: the part of YAML that says what it seems to say, and a finding for all the rest.

Refused wherever they stand, since a reader and a machine may take them differently: duplicate keys, anchors, aliases,
merge keys, tags, keys that are not text, byte order marks, control characters. A plain scalar which YAML 1.1 or 1.2
takes for something else than text keeps that kind, so that `no` or `1e3` is refused where text is expected.

The builder works on parser events, not on PyYAML's composed nodes: those hide anchors and share aliased nodes, and
their composer recurses as deep as the file asks for.

Source: https://yaml.org/spec/1.1/ and https://yaml.org/type/
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import yaml

from proxy.policy.findings import FindingLog, printable, quoted
from proxy.policy.model import Position

MAX_DEPTH = 50  # a policy needs 6; the managedFields of an exported manifest go deeper
MAX_SYNTAX_ERRORS = 50  # of one file, since the rest of the file is read again after each

_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DOCUMENT_START = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)


class ScalarKind(Enum):
    """What YAML takes a scalar for; the value is how a message calls it."""

    TEXT = "text"
    NULL = "null"
    BOOLEAN = "a boolean"
    NUMBER = "a number"
    TIMESTAMP = "a timestamp"


# A superset of what YAML 1.1, YAML 1.2 and Kubernetes' own parser read into a plain scalar.
_PLAIN_KINDS = (
    (ScalarKind.NULL, re.compile("(?:~|null|Null|NULL)?")),
    (ScalarKind.BOOLEAN, re.compile("(?i:y|yes|n|no|true|false|on|off)")),
    (ScalarKind.TIMESTAMP, re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?", re.DOTALL)),
    (
        ScalarKind.NUMBER,
        re.compile(
            r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*(?::[0-5]?[0-9])*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"
            r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.(?i:inf))|\.(?i:nan)"
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarNode:
    """A scalar as written, quotes and escapes undone; `kind` is TEXT whenever it was quoted or a block."""

    text: str
    kind: ScalarKind
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceNode:
    """A sequence, in the order of the file."""

    items: tuple[Node, ...]
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingEntry:
    """One entry of a mapping; `key_position` is where its key stands."""

    key_position: Position
    value: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingNode:
    """A mapping, in the order of the file. Of duplicate keys the first is kept."""

    entries: dict[str, MappingEntry]
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedNode:
    """Stands for an alias or for what is nested too deep: there is a finding for it, so nothing more is said of it."""

    position: Position


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode | RefusedNode


def read_documents(file: str, data: bytes, log: FindingLog) -> list[Node]:
    """The documents of one file, empty ones left out. Every mistake goes to `log`; nothing is raised.

    After a syntax error reading goes on at the next `---`, so that the documents after it are checked too.
    """
    text = _decode(file, data, log)
    if text is None:
        return []
    places = _Places(file, text)
    documents: list[Node] = []
    start = 0
    for _ in range(MAX_SYNTAX_ERRORS):
        builder = _Builder(places, start, log)
        try:
            for document in builder.documents(text[start:]):
                documents.append(document)
            break
        except yaml.MarkedYAMLError as error:
            stopped_at = start + _offset_of(error.problem_mark or error.context_mark)
            log.error(
                places.position(start + _offset_of(_cause_mark(error))),
                f"invalid YAML: {_explain(error, text[stopped_at : stopped_at + 1])}",
            )
            next_document = _DOCUMENT_START.search(text, max(stopped_at, start + 1))
            if next_document is None:
                break
            start = next_document.start()
    return documents


def _decode(file: str, data: bytes, log: FindingLog) -> str | None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        log.error(Position(file, 1, 1), "byte order mark of UTF-16, expected UTF-8")
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        log.error(_Places(file, before).position(len(before)), f"byte 0x{data[error.start]:02x} is not UTF-8")
        return None
    if text.startswith("\ufeff"):
        log.error(Position(file, 1, 1), "byte order mark, expected plain UTF-8")
        text = text[1:]
    text = re.sub("\r\n?", "\n", text)
    places = _Places(file, text)
    unreadable = list(_UNREADABLE.finditer(text))
    for match in unreadable:
        log.error(places.position(match.start()), f"control character U+{ord(match.group()):04X}")
    return None if unreadable else text


class _Places:
    """Turns offsets into positions. Lines end at `\\n` alone, as an editor counts them."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._line_ends = [match.start() for match in re.finditer("\n", text)]

    def position(self, offset: int) -> Position:
        """The position of the character at `offset`."""
        line = bisect_left(self._line_ends, offset)
        line_start = self._line_ends[line - 1] + 1 if line else 0
        return Position(self._file, line + 1, offset - line_start + 1)


class _Builder:
    """Builds the nodes of one run of the parser over the text that begins at `start`."""

    def __init__(self, places: _Places, start: int, log: FindingLog) -> None:
        self._places = places
        self._start = start
        self._log = log

    def documents(self, text: str) -> Iterator[Node]:
        """Yields each document when its end is reached. Raises MarkedYAMLError at a syntax error."""
        events: Iterator[Any] = yaml.parse(text, Loader=yaml.CSafeLoader)
        for event in events:
            if isinstance(event, yaml.NodeEvent):
                node = self._node(event, events, depth=1)
                if not (isinstance(node, ScalarNode) and node.kind is ScalarKind.NULL):
                    yield node

    def _position(self, event: Any) -> Position:
        return self._places.position(self._start + event.start_mark.index)

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        position = self._position(event)
        if isinstance(event, yaml.AliasEvent):
            self._log.error(position, f"alias {quoted(f'*{event.anchor}')} is not allowed, write the value out")
            return RefusedNode(position=position)
        if event.anchor is not None:
            self._log.error(position, f"anchor {quoted(f'&{event.anchor}')} is not allowed")
        if event.tag is not None:
            self._log.error(position, f"tag {quoted(event.tag)} is not allowed")
        if isinstance(event, yaml.ScalarEvent):
            kind = _plain_kind(event.value) if event.implicit[0] else ScalarKind.TEXT
            return ScalarNode(text=event.value, kind=kind, position=position)
        if depth > MAX_DEPTH:
            self._log.error(position, f"nested deeper than {MAX_DEPTH} levels")
            _skip_collection(events)
            return RefusedNode(position=position)
        if isinstance(event, yaml.SequenceStartEvent):
            return SequenceNode(items=tuple(self._items(events, depth)), position=position)
        return MappingNode(entries=self._entries(events, depth), position=position)

    def _items(self, events: Iterator[Any], depth: int) -> Iterator[Node]:
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                return
            yield self._node(event, events, depth + 1)

    def _entries(self, events: Iterator[Any], depth: int) -> dict[str, MappingEntry]:
        entries: dict[str, MappingEntry] = {}
        for key_event in events:
            if isinstance(key_event, yaml.MappingEndEvent):
                break
            key = self._node(key_event, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            if isinstance(key, RefusedNode):
                continue
            if not isinstance(key, ScalarNode):
                self._log.error(key.position, "a key must be text")
            elif key.text == "<<":
                self._log.error(key.position, "merge key `<<` is not allowed, write the fields out")
            elif key.text in entries:
                first = entries[key.text].key_position
                self._log.error(key.position, f"duplicate key {quoted(key.text)}, first at {first}")
            else:
                if key.kind is not ScalarKind.TEXT:
                    self._log.error(key.position, f"key {quoted(key.text)} reads as {key.kind.value}, quote it")
                entries[key.text] = MappingEntry(key_position=key.position, value=value)
        return entries


def _plain_kind(text: str) -> ScalarKind:
    for kind, pattern in _PLAIN_KINDS:
        if pattern.fullmatch(text):
            return kind
    return ScalarKind.TEXT


def _skip_collection(events: Iterator[Any]) -> None:
    depth = 1
    while depth:
        event = next(events)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)


def _offset_of(mark: Any) -> int:
    return int(mark.index) if mark is not None else 0


def _cause_mark(error: yaml.MarkedYAMLError) -> Any:
    """Where the mistake is: an alias or a quoted text is wrong where it begins, not where the parser gave up."""
    begins_earlier = error.context is not None and ("alias" in error.context or "quoted scalar" in error.context)
    return error.context_mark if begins_earlier else error.problem_mark or error.context_mark


def _explain(error: yaml.MarkedYAMLError, character: str) -> str:
    """The parser's words, or better ones for what policy authors get wrong. `character` is the one it stopped at."""
    problem, context = error.problem or "", error.context or ""
    if "alias" in context:
        return 'a value that begins with `*` is an alias, quote it: `"*"`'
    if "tab" in problem or character == "\t":
        return "tab in the indentation, expected spaces"
    if "cannot start any token" in problem:
        return f"a value that begins with {quoted(character)} needs quotes"
    return printable(f"{problem} {context}".strip())
