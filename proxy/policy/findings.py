"""Findings: what a check has to say about the policy files, each at its position.

Messages are lower case, without a full stop, with what the author wrote in backticks and what was expected instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum

from proxy.policy.model import Position

MAX_FINDINGS = 1000  # of each severity: one mistake of a generator can repeat on every line of a large file
_MAX_QUOTED_CHARACTERS = 100  # of the author's text in one message, which stays one readable line


class Severity(Enum):
    """An ERROR stops a start and refuses a reload; a WARNING does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One result of a check; its text is `file:line:column: message`, with `warning: ` before a warning's message."""

    position: Position
    severity: Severity
    message: str

    def __str__(self) -> str:
        mark = "warning: " if self.severity is Severity.WARNING else ""
        return f"{self.position}: {mark}{self.message}"


class FindingLog:
    """Collects findings while files are read, at most MAX_FINDINGS of each severity."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._counts: Counter[Severity] = Counter()

    def error(self, position: Position, message: str) -> None:
        """Adds a mistake: the set of files must not be used."""
        self._add(position, Severity.ERROR, message)

    def warning(self, position: Position, message: str) -> None:
        """Adds something that is valid and probably not meant."""
        self._add(position, Severity.WARNING, message)

    def extend(self, findings: Iterable[Finding]) -> None:
        """Adds what another log has collected."""
        for finding in findings:
            self._add(finding.position, finding.severity, finding.message)

    def sorted(self) -> tuple[Finding, ...]:
        """The findings in the order of their positions."""
        return tuple(sorted(self._findings, key=lambda finding: finding.position))

    def _add(self, position: Position, severity: Severity, message: str) -> None:
        self._counts[severity] += 1
        if self._counts[severity] > MAX_FINDINGS:
            return
        if self._counts[severity] == MAX_FINDINGS:
            message = f"more than {MAX_FINDINGS - 1} {severity.value}s, the rest is left out"
        self._findings.append(Finding(position=position, severity=severity, message=message))


def quoted(text: str) -> str:
    """The author's text for a message: in backticks, on one line, control characters escaped, cut when long."""
    if len(text) > _MAX_QUOTED_CHARACTERS:
        text = text[:_MAX_QUOTED_CHARACTERS] + "…"
    return f"`{printable(text)}`"


def printable(text: str) -> str:
    """The text with everything escaped that would move a terminal's cursor or break a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def alternatives(values: Iterable[str]) -> str:
    """`a`, `b` or `c`."""
    *others, last = [quoted(value) for value in values]
    return f"{', '.join(others)} or {last}" if others else last


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """`, did you mean `x`?` when a known word is close to the text, else nothing."""
    words = list(known)
    by_lower_case = {word.lower(): word for word in words}
    close = get_close_matches(text.lower(), by_lower_case, n=1, cutoff=0.75)
    return f", did you mean {quoted(by_lower_case[close[0]])}?" if close else ""
