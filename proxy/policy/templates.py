"""Templates: where a policy stands for something of the caller, and how that is put in.

`${capture}`, `${user.name}`, `${user.uid}` and `${user.extra[key]}` stand in selector values, in
`resourceNames` and in `namespaces` entries. A subject's name may hold one capture, `system:node:{node}`.

INVARIANT: a value is put in after everything was parsed, as one literal: it can never become an operator, a second
term, a glob or another template (tests/unit/policy/test_templates.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

_REFERENCE = re.compile(r"\$\{([^}]*)\}?")
_CAPTURE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USER_EXTRA = re.compile(r"user\.extra\[([^\[\]]+)\]")
_SUBJECT_CAPTURE = re.compile(r"\{([^{}]*)\}")
_PARSED_TEMPLATES = 4096  # distinct texts kept parsed; a policy has far fewer


class ReferenceKind(Enum):
    """What a reference takes its value from."""

    CAPTURE = "capture"
    USER_NAME = "user.name"
    USER_UID = "user.uid"
    USER_EXTRA = "user.extra"


@dataclass(frozen=True, slots=True)
class Reference:
    """One `${…}`. `key` is the capture's name or the extra key, empty for the others."""

    kind: ReferenceKind
    key: str = ""

    def __str__(self) -> str:
        match self.kind:
            case ReferenceKind.CAPTURE:
                return f"${{{self.key}}}"
            case ReferenceKind.USER_EXTRA:
                return f"${{user.extra[{self.key}]}}"
            case _:
                return f"${{{self.kind.value}}}"


Template: TypeAlias = tuple[str | Reference, ...]


@dataclass(frozen=True, slots=True)
class SubjectPattern:
    """A subject name with one capture, which stands for one or more characters other than `:`."""

    prefix: str
    capture: str
    suffix: str

    def match(self, user_name: str) -> str | None:
        """The captured value, None when the name does not match."""
        if not (user_name.startswith(self.prefix) and user_name.endswith(self.suffix)):
            return None
        value = user_name[len(self.prefix) : len(user_name) - len(self.suffix)]
        long_enough = len(user_name) > len(self.prefix) + len(self.suffix)
        return value if long_enough and ":" not in value else None


@lru_cache(maxsize=_PARSED_TEMPLATES)
def parse_template(text: str) -> Template:
    """The literals and references of a text, in order. Raises ValueError that says what is wrong with a reference."""
    parts: list[str | Reference] = []
    end = 0
    for match in _REFERENCE.finditer(text):
        parts.append(text[end : match.start()])
        parts.append(_parse_reference(match.group(), match.group(1)))
        end = match.end()
    parts.append(text[end:])
    return tuple(part for part in parts if part != "")


def references(text: str) -> frozenset[Reference]:
    """The references in a text. Raises ValueError as parse_template does."""
    if not is_template(text):
        return frozenset()
    return frozenset(part for part in parse_template(text) if isinstance(part, Reference))


def is_template(text: str) -> bool:
    """True when the text holds a reference, well formed or not."""
    return "${" in text


def substitute(text: str, value_of: Callable[[Reference], str | None]) -> str | None:
    """The text with each reference replaced by its value; None as soon as one has no value or an empty one."""
    parts: list[str] = []
    for part in parse_template(text):
        value = part if isinstance(part, str) else value_of(part)
        if not value:
            return None
        parts.append(value)
    return "".join(parts)


def parse_subject_name(name: str) -> SubjectPattern | None:
    """The pattern a watchkeeper User subject's name stands for, None for a plain name.

    Raises ValueError for a capture that is not well formed and for more than one.
    """
    captures = list(_SUBJECT_CAPTURE.finditer(name))
    if not captures and "{" not in name and "}" not in name:
        return None
    if len(captures) != 1 or name.count("{") != 1 or name.count("}") != 1:
        raise ValueError(f"`{name}` must hold one capture, as in `system:node:{{node}}`")
    capture = captures[0]
    if not _CAPTURE_NAME.fullmatch(capture.group(1)):
        raise ValueError(f"capture `{capture.group()}` must be a letter or `_`, then letters, digits and `_`")
    return SubjectPattern(name[: capture.start()], capture.group(1), name[capture.end() :])


def _parse_reference(written: str, inner: str) -> Reference:
    if not written.endswith("}"):
        raise ValueError(f"`{written}` lacks its closing brace")
    if inner == ReferenceKind.USER_NAME.value:
        return Reference(ReferenceKind.USER_NAME)
    if inner == ReferenceKind.USER_UID.value:
        return Reference(ReferenceKind.USER_UID)
    if extra := _USER_EXTRA.fullmatch(inner):
        return Reference(ReferenceKind.USER_EXTRA, extra.group(1))
    if _CAPTURE_NAME.fullmatch(inner):
        return Reference(ReferenceKind.CAPTURE, inner)
    raise ValueError(
        f"unknown reference `{written}`, expected a capture, `${{user.name}}`, `${{user.uid}}` or "
        "`${user.extra[key]}`"
    )
