"""The index of views: a change is offered to every view that it shows something in."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.api.objects import ObjectVersion
from proxy.api.representations import type_prefix
from proxy.authz.visibility import Visibility
from proxy.server.watch_stream import http_chunk
from proxy.watch.encoding import ObjectEncoder
from proxy.watch.history import Change
from proxy.watch.projection import project
from proxy.watch.view import Question, ViewIndex
from tests.support.versions import version
from tests.support.visibilities import LABEL_SETS, NAMES, NAMESPACES, NODES, visibilities

bodies = st.none() | st.tuples(st.sampled_from(LABEL_SETS), st.sampled_from(NODES))


@st.composite
def changes(draw: st.DrawFn) -> Change:
    namespace, name = draw(st.sampled_from(NAMESPACES)), draw(st.sampled_from(NAMES))

    def at(rv: int, body: tuple[dict[str, str], str] | None) -> ObjectVersion | None:
        return None if body is None else version(namespace, name, rv, labels=body[0], node=body[1])

    before, after = draw(st.tuples(bodies, bodies).filter(lambda both: both != (None, None)))
    return Change(sequence=1, rv="2", previous=at(1, before), current=at(2, after))


def question(visible: Visibility) -> Question:
    return Question(visible, ObjectEncoder(type_prefix("Pod", "v1")), http_chunk)


@settings(max_examples=300, deadline=None)
@given(st.lists(visibilities, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8), st.lists(changes()))
def test_every_view_that_shows_something_is_a_candidate(
    asked: list[Visibility], leaves: list[bool], happened: list[Change]
) -> None:
    index = ViewIndex()
    joined = [index.join(question(each)) for each in asked]
    staying = []
    for view, leave in zip(joined, leaves, strict=False):
        if leave:
            index.leave(view)
        else:
            staying.append(view)
    for change in happened:
        candidates = list(index.candidates(change))
        assert len(candidates) == len(set(candidates)), "each view once"
        assert set(candidates) <= set(staying), "nobody who has left"
        concerned = {view for view in staying if project(change, view.question.visibility) is not None}
        assert concerned <= set(candidates)


@given(st.lists(visibilities, max_size=8))
def test_an_index_that_all_have_left_holds_nothing(asked: list[Visibility]) -> None:
    index = ViewIndex()
    for view in [index.join(question(each)) for each in asked]:
        index.leave(view)
    change = Change(sequence=1, rv="2", previous=None, current=version("team-a", "x", 2, node="node1"))
    assert list(index) == []
    assert not index.candidates(change)
    assert vars(index) == vars(ViewIndex())


@given(visibilities, st.sampled_from(NAMESPACES), st.sampled_from(NAMES), bodies)
def test_every_visible_object_has_one_of_the_index_keys(
    visible: Visibility, namespace: str, name: str, body: tuple[dict[str, str], str] | None
) -> None:
    labels, node = body or ({}, "")
    shown = version(namespace, name, 1, labels=labels, node=node)
    keys = visible.index_keys
    if keys is not None and visible.sees(shown):
        assert any(shown.field(path) == value for path, value in keys)
