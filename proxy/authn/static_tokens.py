"""Tokens from a file, for development: kube-apiserver's `--token-auth-file`, `token,user,uid,"group1,group2"` a line.

Only SHA-256 digests of the tokens are kept; a lookup by digest takes no longer for a token that is nearly right.
Stricter than upstream, which drops them in silence: a token twice, an empty one, a fifth column (groups not quoted).

Source: k8s.io/apiserver/pkg/authentication/token/tokenfile
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from hashlib import sha256

from proxy.authn.bearer_token import MAX_TOKEN_BYTES
from proxy.authn.user import User, is_valid_identity


class InvalidTokenFile(ValueError):
    """A token file cannot be used; one line of text for each mistake, `file:line` first. No token is ever quoted."""


class StaticTokens:
    """Users by the SHA-256 digest of their token."""

    def __init__(self, users: Mapping[bytes, User]) -> None:
        self._users = dict(users)

    def find(self, token: bytes) -> User | None:
        """The user of a token, None when it is not one of these."""
        return self._users.get(sha256(token).digest())


def parse_token_file(content: bytes, file: str) -> StaticTokens:
    """Reads a token file; `file` is its name in messages. Raises InvalidTokenFile with all mistakes."""
    try:
        reader = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
    except UnicodeDecodeError as error:
        raise InvalidTokenFile(f"{file}:1: not UTF-8") from error
    users: dict[bytes, User] = {}
    mistakes: list[str] = []
    try:
        for record in reader:
            problem = _problem(record, users) if record else None
            if problem is not None:
                mistakes.append(f"{file}:{reader.line_num}: {problem}")
            elif record:
                users[sha256(record[0].encode()).digest()] = _user(record)
    except csv.Error as error:
        mistakes.append(f"{file}:{reader.line_num}: not CSV: {error}")
    if mistakes:
        raise InvalidTokenFile("\n".join(mistakes))
    return StaticTokens(users)


def _problem(record: list[str], users: Mapping[bytes, User]) -> str | None:
    if len(record) not in (3, 4):
        return f'expected token,user,uid,"group1,group2", found {len(record)} columns'
    token, name, uid = record[:3]
    if not token.isascii() or not token.isprintable() or not token or " " in token or len(token) > MAX_TOKEN_BYTES:
        return "a token is 1 to 8192 visible ASCII characters"
    if sha256(token.encode()).digest() in users:
        return "the token of an earlier line"
    if not is_valid_identity(name) or (uid and not is_valid_identity(uid)):
        return "the user or uid is empty or no plain text"
    if not all(is_valid_identity(group) for group in _groups(record)):
        return "a group is empty or no plain text"
    return None


def _user(record: list[str]) -> User:
    return User(name=record[1], uid=record[2], groups=_groups(record))


def _groups(record: list[str]) -> tuple[str, ...]:
    return tuple(record[3].split(",")) if len(record) == 4 and record[3] else ()
