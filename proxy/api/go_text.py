"""How Go reads and prints the scalars that stand in Kubernetes' queries and messages.

Source: Go's strconv and encoding/json packages.
"""

from __future__ import annotations

import json
import re

_INTEGER = re.compile(r"[+-]?[0-9]+")
_SHORT_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def parse_int64(text: str) -> int | None:
    """The value of a base-10 integer; None when `text` is none or does not fit 64 bits. Source: strconv.ParseInt."""
    if len(text) > 64 or not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if -(2**63) <= value < 2**63 else None


def parse_uint64(text: str) -> int | None:
    """As parse_int64, for unsigned integers, which take no sign. Source: strconv.ParseUint."""
    if len(text) > 64 or not text.isascii() or not text.isdigit():
        return None
    value = int(text)
    return value if value < 2**64 else None


def quote(text: str) -> str:
    """`text` as a Go string literal, the form of `%q`. Source: strconv.Quote."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_quote_character, text)) + '"'


def json_string(text: str) -> str:
    """`text` as Go's encoding/json prints it: `%q`'s place in messages about values of a named string type."""
    printed = json.dumps(text, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        printed = printed.replace(character, f"\\u{ord(character):04x}")
    return printed


def _quote_character(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
