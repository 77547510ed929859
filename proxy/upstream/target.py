"""The request target sent upstream, built from a canonical path: what was authorized is what is sent.

INVARIANT: no segment is empty (but for one slash at the end), `.` or `..`, and every octet outside a short safe list is
escaped, so that nobody between here and the API server reads another path (tests/unit/upstream/test_target.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

_SAFE_IN_SEGMENT = ":"  # names such as system:node:a; besides letters, digits and -._~
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~:-][A-Za-z0-9._~:-]*)+")


def encode_target(base_path: str, path: str, query: Sequence[tuple[str, str]]) -> bytes:
    """`base_path` (already encoded, no trailing slash), then `path` and `query` (plain text, percent-encoded here).

    One slash at the end is kept: `/version/` is not `/version`. Raises ValueError for a path that is not canonical: no
    leading slash, an empty or a dot segment, text that is not Unicode. Callers build paths from a parsed request, so
    this is a bug or an attack that came far.
    """
    encoded = path if path == "/" or _PLAIN_PATH.fullmatch(path) else _encode_path(path)
    if not query:
        return f"{base_path}{encoded}".encode("ascii")
    pairs = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in query)
    return f"{base_path}{encoded}?{pairs}".encode("ascii")


def _encode_path(path: str) -> str:
    first, *segments = path.split("/")
    if first or not segments:
        raise ValueError(f"path {path!r} does not start with a slash")
    if any(segment in (".", "..") for segment in segments) or "" in segments[:-1]:
        raise ValueError(f"path {path!r} has an empty or a dot segment")
    return "".join(f"/{quote(segment, safe=_SAFE_IN_SEGMENT)}" for segment in segments)
