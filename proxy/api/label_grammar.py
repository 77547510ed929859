"""The grammar of a label selector's text: tokens, then upstream's recursive descent, with its sentences for mistakes.

`in` and `notin` are operators only where an operator may stand; elsewhere they are words as any other. A NUL, which
ends a token upstream, is no part of any key or value here, so it is refused.

Source: k8s.io/apimachinery/pkg/labels/selector.go
"""

from __future__ import annotations

import re
from typing import NamedTuple

from proxy.api.go_text import parse_int64, quote
from proxy.api.label_syntax import label_key_problems, label_value_problems
from proxy.api.status import BadRequest

_TOKEN = re.compile(r"[ \t\r\n]*(==|=|!=|[!(),<>]|[^=!(),<> \t\r\n]+|\Z)")
_END = ""
_BINARY_OPERATORS = {"in": "in", "=": "in", "==": "in", "notin": "notin", "!=": "notin", ">": "gt", "<": "lt"}


class ParsedRequirement(NamedTuple):
    """One requirement: `operator` is `in`, `notin`, `exists`, `!`, `gt` or `lt`; `values` are sorted and distinct."""

    key: str
    operator: str
    values: tuple[str, ...]


def parse_requirements(text: str) -> list[ParsedRequirement]:
    """The requirements in the order of the text. Raises BadRequest with upstream's own sentence."""
    return _Parser(text).requirements()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = [match.group(1) for match in _TOKEN.finditer(text)]
        self._position = 0

    def requirements(self) -> list[ParsedRequirement]:
        found: list[ParsedRequirement] = []
        if self._peek() == _END:
            return found
        if not self._at_requirement():
            raise BadRequest(f"found '{self._peek()}', expected: !, identifier, or 'end of string'")
        while True:
            found.append(self._requirement())
            separator = self._next()
            if separator == _END:
                return found
            if separator != ",":
                raise BadRequest(f"found '{separator}', expected: ',' or 'end of string'")
            if not self._at_requirement():
                raise BadRequest(f"found '{self._peek()}', expected: identifier after ','")

    def _requirement(self) -> ParsedRequirement:
        negated = self._peek() == "!"
        if negated:
            self._next()
        key = self._next()
        if not _is_word(key):
            raise _unparsable(f"found '{key}', expected: identifier")
        if problems := label_key_problems(key):
            raise _unparsable(f"<nil>: Invalid value: {quote(key)}: {'; '.join(problems)}")
        if negated:
            return ParsedRequirement(key, "!", ())
        if self._peek() in (_END, ","):
            return ParsedRequirement(key, "exists", ())
        word = self._next()
        operator = _BINARY_OPERATORS.get(word)
        if operator is None:
            raise _unparsable(f"found '{word}', expected: in, notin, =, ==, !=, gt, lt")
        values = self._value_set() if word in ("in", "notin") else {self._value()}
        return _checked(ParsedRequirement(key, operator, tuple(sorted(values))))

    def _value(self) -> str:
        if self._peek() in (_END, ","):
            return ""
        value = self._next()
        if not _is_word(value):
            raise _unparsable(f"found '{value}', expected: identifier")
        return value

    def _value_set(self) -> set[str]:
        """The values between parentheses. Each place where a value may stand and none does gives one empty value."""
        opening = self._next()
        if opening != "(":
            raise _unparsable(f"found '{opening}' expected: '('")
        if self._peek() not in (",", ")") and not _is_word(self._peek()):
            raise _unparsable(f"found '{self._peek()}', expected: ',', ')' or identifier")
        values: set[str] = set()
        after_value = False
        while True:
            item = self._next()
            if item in (",", ")"):
                if not after_value:
                    values.add("")
                if item == ")":
                    return values
                after_value = False
            elif after_value:
                raise _unparsable(f"found '{item}', expected: ',' or ')'")
            elif _is_word(item):
                values.add(item)
                after_value = True
            else:
                raise _unparsable(f"found '{item}', expected: ',', or identifier")

    def _at_requirement(self) -> bool:
        return self._peek() == "!" or _is_word(self._peek())

    def _peek(self) -> str:
        return self._tokens[self._position]

    def _next(self) -> str:
        self._position += 1
        return self._tokens[self._position - 1]


def _is_word(item: str) -> bool:
    return item != _END and item[0] not in "=!(),<>"


def _unparsable(problem: str) -> BadRequest:
    return BadRequest(f"unable to parse requirement: {problem}")


def _checked(requirement: ParsedRequirement) -> ParsedRequirement:
    key, operator, values = requirement
    problems = []
    if operator in ("gt", "lt") and parse_int64(values[0]) is None:
        rule = "for 'Gt', 'Lt' operators, the value must be an integer"
        problems.append(f"values[0]: Invalid value: {quote(values[0])}: {rule}")
    for index, value in enumerate(values):
        if rules := label_value_problems(value):
            problems.append(f"values[{index}][{key}]: Invalid value: {quote(value)}: {'; '.join(rules)}")
    if problems:
        raise _unparsable(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    return requirement
