"""Fields of a YAML document with their positions: every mistake becomes a finding, none stops the reading.

One document of plain mappings, lists and scalars. Duplicate keys, aliases and unknown fields are findings.
A field's path is written as Kubernetes writes it: `jwt[0].issuer.url`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import yaml

_STRING: Final = "tag:yaml.org,2002:str"
_BOOLEAN: Final = "tag:yaml.org,2002:bool"
_NULL: Final = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Field:
    """A node and its path; the root's path is empty."""

    node: yaml.Node
    path: str

    @property
    def is_mapping(self) -> bool:
        """True when it may have fields of its own."""
        return isinstance(self.node, yaml.MappingNode)

    @property
    def is_empty(self) -> bool:
        """True for an empty list, mapping or text."""
        return not self.node.value


class FieldReader:
    """Reads Fields of one file and gathers findings, `file:line:column: path: problem` each."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._seen: set[int] = set()
        self._findings: list[tuple[int, int, str]] = []

    @property
    def findings(self) -> tuple[str, ...]:
        """All findings in the order of their positions."""
        ordered = sorted(self._findings, key=lambda finding: finding[:2])
        return tuple(f"{self._file}:{line}:{column}: {_printable(text)}" for line, column, text in ordered)

    def root(self, content: bytes) -> Field | None:
        """The root of the only document in `content`; None, with a finding, when there is no such thing."""
        try:
            documents = list(yaml.compose_all(content, Loader=yaml.CSafeLoader))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or "not YAML"
            line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
            self._findings.append((line, column, problem))
            return None
        if len(documents) != 1:
            self._findings.append((1, 1, f"expected one document, found {len(documents)}"))
            return None
        return Field(documents[0], "")

    def add(self, field: Field, problem: str, child: str = "") -> None:
        """Adds a finding at a field, or about a `child` of it that is not there."""
        mark = field.node.start_mark
        path = ".".join(part for part in (field.path, child) if part)
        self._findings.append((mark.line + 1, mark.column + 1, f"{path}: {problem}" if path else problem))

    def mapping(self, field: Field | None, known: tuple[str, ...]) -> Mapping[str, Field]:
        """The fields of a mapping, those that are null left out; empty when `field` is None or no mapping."""
        fields: dict[str, Field] = {}
        if field is None or not self._is_first_use(field):
            return fields
        if not field.is_mapping:
            self.add(field, "expected a mapping")
            return fields
        names: set[str] = set()
        for key, value in field.node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            child = Field(value, f"{field.path}.{name}" if field.path else name)
            if name not in known:
                self.add(Field(key, child.path), "unknown field")
            elif name in names:
                self.add(Field(key, child.path), "duplicate field")
            elif value.tag != _NULL:
                fields[name] = child
            names.add(name)
        return fields

    def sequence(self, field: Field | None) -> list[Field]:
        """The items of a list; empty when `field` is None or no list."""
        if field is None or not self._is_first_use(field):
            return []
        if not isinstance(field.node, yaml.SequenceNode):
            self.add(field, "expected a list")
            return []
        return [Field(item, f"{field.path}[{index}]") for index, item in enumerate(field.node.value)]

    def string(self, field: Field | None) -> str | None:
        """A string; None when `field` is None or no string."""
        if field is None or not self._is_first_use(field):
            return None
        if not isinstance(field.node, yaml.ScalarNode) or field.node.tag != _STRING:
            self.add(field, "expected a string")
            return None
        return str(field.node.value)

    def boolean(self, field: Field | None) -> bool:
        """`true` or `false`; False when `field` is None or anything else."""
        if field is None:
            return False
        if field.node.tag != _BOOLEAN or field.node.value not in ("true", "false"):
            self.add(field, "expected true or false")
        return bool(field.node.value == "true")

    def _is_first_use(self, field: Field) -> bool:
        """False, with a finding, for a node seen before: an alias."""
        if id(field.node) in self._seen:
            self.add(field, "aliases are not allowed")
            return False
        self._seen.add(id(field.node))
        return True


def _printable(text: str) -> str:
    """A finding quotes the file: what would move a terminal's cursor or break a line is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
