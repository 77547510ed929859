"""The algebra of scopes: a union shows what its grants show, in a form that does not depend on how they are cut."""

from __future__ import annotations

import random
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from proxy.authz.scope import Grant, Scope
from proxy.authz.union import union_of
from proxy.policy.namespace_set import NamespaceSet, glob_matches
from tests.property.test_rbac_against_spec import Seen
from tests.spec.rbac import Thing
from tests.support.policies import asking, fields, labels

PLACES = ["a", "b", "ab", "ba", ""]
NAMES = ["x", "y"]
NODES = ["n", "m"]

globs = st.text("ab*", max_size=3).filter(lambda text: "*" in text and "**" not in text)
namespace_sets = st.builds(
    NamespaceSet,
    st.frozensets(st.sampled_from(PLACES), max_size=3),
    st.frozensets(globs, max_size=2),
).filter(lambda places: not places.is_empty)
grants = st.builds(
    lambda namespaces, names, field_selector, label_selector: Grant(
        namespaces=namespaces, names=names, field_selector=field_selector, label_selector=label_selector
    ),
    st.none() | namespace_sets,
    st.none() | st.frozensets(st.sampled_from(NAMES), min_size=1),
    st.none() | st.sampled_from([fields(node="n"), fields(node="n", phase="p")]),
    st.none() | st.sampled_from([labels(team="t")]),
).filter(lambda grant: (grant.namespaces, grant.names, grant.field_selector, grant.label_selector) != (None,) * 4)

THINGS = [
    Seen(Thing(place, name, {"team": team}, {"node": node, "phase": phase}), asking("list", "pods"))
    for place, name, team, node, phase in product(PLACES, NAMES, ["t", "u"], NODES, ["p", "q"])
]


def shown(scope: Scope) -> list[bool]:
    return [scope.matches(thing.namespace, thing) for thing in THINGS]


@given(st.lists(grants, max_size=5))
def test_a_union_shows_exactly_what_one_of_its_grants_shows(parts: list[Grant]) -> None:
    alone = [shown(Scope(everything=False, grants=frozenset({part}))) for part in parts]
    assert shown(union_of(parts)) == [any(each) for each in zip(*alone, strict=True)] or not parts
    assert not shown(union_of([])).count(True)


@given(st.lists(grants, max_size=5), st.randoms(use_true_random=False))
def test_a_union_does_not_depend_on_order_or_repetition(parts: list[Grant], shuffle: random.Random) -> None:
    assert union_of(shuffle.sample(parts, len(parts)) + parts) == union_of(parts)


@given(st.lists(grants, max_size=4))
def test_a_union_of_a_union_is_itself(parts: list[Grant]) -> None:
    once = union_of(parts)
    assert union_of(list(once.grants)) == once


@given(st.lists(grants, max_size=4))
def test_a_union_does_not_depend_on_how_grants_are_cut(parts: list[Grant]) -> None:
    """One grant for two namespaces and two names is the same as four grants."""
    pieces = [
        Grant(namespaces=places, names=names, field_selector=part.field_selector, label_selector=part.label_selector)
        for part in parts
        for places in _each_place(part.namespaces)
        for names in ([None] if part.names is None else [frozenset({name}) for name in part.names])
    ]
    assert union_of(pieces) == union_of(parts)


@given(grants, grants)
def test_a_grant_that_another_one_covers_is_dropped(wide: Grant, narrow: Grant) -> None:
    covered = Grant(
        namespaces=wide.namespaces if narrow.namespaces is None else narrow.namespaces,
        names=narrow.names if wide.names is None else wide.names,
        field_selector=wide.field_selector or narrow.field_selector,
        label_selector=wide.label_selector or narrow.label_selector,
    )
    if wide.namespaces is None or covered.namespaces == wide.namespaces:
        assert union_of([wide, covered]) == union_of([wide])


@given(globs, globs, st.text("ab", max_size=4))
def test_a_glob_that_matches_another_globs_text_matches_all_that_it_matches(wide: str, narrow: str, text: str) -> None:
    if glob_matches(wide, narrow) and glob_matches(narrow, text):
        assert glob_matches(wide, text)


def _each_place(places: NamespaceSet | None) -> list[NamespaceSet | None]:
    if places is None:
        return [None]
    names = [NamespaceSet(frozenset({name})) for name in places.names]
    return [*names, *(NamespaceSet(globs=frozenset({glob})) for glob in places.globs)]
