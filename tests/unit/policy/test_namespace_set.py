"""Globs of namespaces."""

from __future__ import annotations

import pytest

from proxy.policy.namespace_set import NamespaceSet, glob_matches


@pytest.mark.parametrize(
    ("glob", "text", "matches"),
    [
        ("team-*", "team-a", True),
        ("team-*", "team-", True),
        ("team-*", "team", False),
        ("team-*", "xteam-a", False),
        ("*-dev", "a-dev", True),
        ("*-dev", "a-dev2", False),
        ("a*b*c", "abc", True),
        ("a*b*c", "axxbyyc", True),
        ("a*b*c", "acb", False),
        ("a*b*c", "ac", False),
        ("ab*ba", "aba", False),
        ("ab*ba", "abba", True),
        ("*", "", True),
        ("*", "a", True),
        ("**", "a", True),
        ("a**b", "ab", True),
        ("*a*a*", "a", False),
        ("*a*a*", "xaya", True),
        ("plain", "plain", True),
        ("plain", "plainer", False),
        ("", "", True),
        ("", "a", False),
        ("a?c", "abc", False),
        ("a?c", "a?c", True),
        ("[ab]*", "a", False),
        ("[ab]*", "[ab]x", True),
        ("a.*", "ab", False),
        ("a*", "a\nb", True),
    ],
)
def test_only_a_star_stands_for_something_else(glob: str, text: str, matches: bool) -> None:
    assert glob_matches(glob, text) is matches


def test_a_namespace_is_in_a_set_by_name_or_by_glob() -> None:
    both = NamespaceSet(frozenset({"shared"}), frozenset({"team-*"}))
    assert [name in both for name in ("shared", "team-a", "other", "")] == [True, True, False, False]
    assert not both.is_empty
    assert NamespaceSet().is_empty


def test_a_hostile_glob_takes_no_longer_than_its_text() -> None:
    """A matcher that goes back would need 2**60 steps."""
    assert not glob_matches("*a" * 30 + "b", "a" * 60)
