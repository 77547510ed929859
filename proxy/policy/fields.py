"""Fields: a mapping node read by field names, strictly.

A field of the wrong type is a finding and then reads as absent, so that one mistake is told once and reading goes on.
`null` is a mistake: Kubernetes reads it as an absent field, which for `resourceNames` or a selector would open access.
It is accepted only where servers write it themselves, as in `rules: null`.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.policy.findings import FindingLog, did_you_mean, quoted
from proxy.policy.model import Position
from proxy.policy.yaml_nodes import MappingNode, Node, RefusedNode, ScalarKind, ScalarNode, SequenceNode


class Fields:
    """The fields of one mapping. `what` names the mapping in messages: `rule`, `metadata`."""

    def __init__(self, node: MappingNode, what: str, log: FindingLog) -> None:
        self._node = node
        self._what = what
        self._log = log

    def named(self, what: str) -> Fields:
        """The same fields under another name."""
        return Fields(self._node, what, self._log)

    def __contains__(self, name: str) -> bool:
        return name in self._node.entries

    @property
    def position(self) -> Position:
        """Where the mapping begins."""
        return self._node.position

    @property
    def names(self) -> tuple[str, ...]:
        """The field names, in the order of the file."""
        return tuple(self._node.entries)

    def key_position(self, name: str) -> Position:
        """Where a field's key stands; where the mapping begins when it has none."""
        return self._node.entries[name].key_position if name in self else self.position

    def node(self, name: str) -> Node | None:
        """A field as it is, None when absent."""
        return self._node.entries[name].value if name in self else None

    def is_empty(self, name: str) -> bool:
        """True when a field is absent, an empty list or an empty mapping; one of the wrong type is not empty."""
        match self.node(name):
            case None | SequenceNode(items=()):
                return True
            case MappingNode(entries=entries):
                return not entries
            case _:
                return False

    def allow_only(self, known: tuple[str, ...], known_elsewhere: Mapping[str, str]) -> None:
        """Logs every other field. `known_elsewhere` says of fields that exist in another place what they need there."""
        for name in self.names:
            if name in known:
                continue
            if name in known_elsewhere:
                hint = f", {known_elsewhere[name]}"
            else:
                hint = did_you_mean(name, known) or f", expected one of {', '.join(known)}"
            self._log.error(self.key_position(name), f"unknown field {quoted(name)} in {self._what}{hint}")

    def text(self, name: str) -> ScalarNode | None:
        """A text field, None when absent."""
        node = self.node(name)
        return None if node is None else read_text(node, quoted(name), self._log)

    def required_text(self, name: str) -> ScalarNode | None:
        """A text field that must be there and not empty."""
        if name not in self:
            self._log.error(self.position, f"{self._what} needs {quoted(name)}")
            return None
        value = self.text(name)
        if value is not None and not value.text:
            self._log.error(value.position, f"{quoted(name)} must not be empty")
            return None
        return value

    def texts(self, name: str) -> tuple[ScalarNode, ...]:
        """A list of texts, empty when absent."""
        items = self._sequence(name, "a list of texts", null_is_empty=False)
        texts = [read_text(item, f"an entry of {quoted(name)}", self._log) for item in items]
        return tuple(text for text in texts if text is not None)

    def fields(self, name: str) -> Fields | None:
        """A mapping field, None when absent."""
        node = self.node(name)
        return None if node is None else read_fields(node, quoted(name), self._log)

    def objects(self, name: str, what: str, *, null_is_empty: bool = False) -> tuple[Fields, ...]:
        """A list of mappings, empty when absent. `what` names one of them."""
        items = self._sequence(name, "a list", null_is_empty=null_is_empty)
        objects = [read_fields(item, what, self._log) for item in items]
        return tuple(fields for fields in objects if fields is not None)

    def text_values(self) -> tuple[tuple[str, ScalarNode], ...]:
        """The mapping's own keys and values, where all values must be texts."""
        values = [(name, self.text(name)) for name in self.names]
        return tuple((name, value) for name, value in values if value is not None)

    def _sequence(self, name: str, expected: str, *, null_is_empty: bool) -> tuple[Node, ...]:
        node = self.node(name)
        if isinstance(node, SequenceNode):
            return node.items
        is_null = isinstance(node, ScalarNode) and node.kind is ScalarKind.NULL
        if node is not None and not (is_null and null_is_empty):
            _log_type(node, quoted(name), expected, self._log)
        return ()


def read_text(node: Node, what: str, log: FindingLog) -> ScalarNode | None:
    """A node that must be text; None after a finding. `what` names it in the message."""
    if isinstance(node, ScalarNode) and node.kind is ScalarKind.TEXT:
        return node
    _log_type(node, what, "text", log)
    return None


def read_fields(node: Node, what: str, log: FindingLog) -> Fields | None:
    """A node that must be a mapping; None after a finding."""
    if isinstance(node, MappingNode):
        return Fields(node, what, log)
    _log_type(node, what, "a mapping", log)
    return None


def _log_type(node: Node, what: str, expected: str, log: FindingLog) -> None:
    match node:
        case RefusedNode():
            pass
        case ScalarNode(kind=ScalarKind.NULL):
            log.error(node.position, f"{what} is null, expected {expected}")
        case ScalarNode(kind=ScalarKind.TEXT):
            log.error(node.position, f"{what} must be {expected}, got the text {quoted(node.text)}")
        case ScalarNode():
            advice = ", quote it" if expected == "text" else ""
            log.error(
                node.position, f"{what} must be {expected}, but {quoted(node.text)} reads as {node.kind.value}{advice}"
            )
        case SequenceNode():
            log.error(node.position, f"{what} must be {expected}, got a list")
        case MappingNode():
            log.error(node.position, f"{what} must be {expected}, got a mapping")
