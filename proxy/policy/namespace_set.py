"""Namespaces by name and by glob, as a `namespaces` list names them."""

from __future__ import annotations

import msgspec


class NamespaceSet(msgspec.Struct, frozen=True, cache_hash=True):
    """Namespaces by name and by glob (`team-a-*`); a namespace is in it when it is either."""

    names: frozenset[str] = frozenset()
    globs: frozenset[str] = frozenset()

    def __contains__(self, namespace: str) -> bool:
        if namespace in self.names:
            return True
        for glob in self.globs:  # noqa: SIM110 (any() makes a generator, which costs more than the comparison)
            if glob_matches(glob, namespace):
                return True
        return False

    @property
    def is_empty(self) -> bool:
        """True when no namespace is in it."""
        return not self.names and not self.globs


def glob_matches(glob: str, text: str) -> bool:
    """True when the whole text matches: `*` stands for any characters, also none, all others for themselves.

    With a glob as the text it tells that everything the other matches is matched by this one, as a `*` of the other
    can only be taken by a `*` of this one.
    """
    head, star, tail = glob.partition("*")
    if not star:
        return glob == text
    middle: list[str] = []
    if "*" in tail:
        *middle, tail = tail.split("*")
    position, end = len(head), len(text) - len(tail)
    if position > end or not text.startswith(head) or not text.endswith(tail):
        return False
    for part in middle:
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True
