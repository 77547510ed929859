"""Views: one rendering for all sessions that ask the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.api.watch_event import EventType
from proxy.authz.scope import EVERYTHING
from proxy.authz.visibility import Visibility
from proxy.watch.cache import WatchCache
from proxy.watch.history import Change
from proxy.watch.projection import Shown
from proxy.watch.view import Question, ViewIndex
from tests.support.versions import version

ALL = Visibility(scope=EVERYTHING, namespace="", name="", namespace_is_name=False)


@dataclass(frozen=True)
class CountingEncoder:
    """Remembers what it encoded."""

    encoded: list[str] = field(default_factory=list, compare=False)

    def encode(self, shown: Shown) -> bytes:
        self.encoded.append(shown.version.rv)
        return shown.version.rv.encode()

    def first(self, shown: Shown) -> bytes:
        return b"first " + shown.version.rv.encode()

    def bookmark(self, rv: str, *, initial_events_end: bool) -> bytes:
        return b"bookmark " + rv.encode()


def framing(data: bytes) -> bytes:
    return b"[%b]" % data


def change_of(cache: WatchCache, rv: int) -> Change:
    change = cache.apply(EventType.MODIFIED, version("a", "x", rv), 0.0)
    assert change is not None
    return change


def filled(rv: str) -> WatchCache:
    cache = WatchCache(retention_seconds=75.0, max_changes=1000)
    cache.replace([], rv)
    return cache


def test_a_change_is_encoded_once_for_all_sessions_of_a_view() -> None:
    encoder = CountingEncoder()
    view = ViewIndex().join(Question(ALL, encoder, framing))
    change = change_of(filled("10"), 11)
    assert [view.render(change)[1] for _ in range(3)] == [b"[11]"] * 3
    assert encoder.encoded == ["11"]


def test_equal_questions_share_a_view_until_the_last_session_leaves() -> None:
    index = ViewIndex()
    one, same = (index.join(Question(ALL, CountingEncoder(), framing)) for _ in range(2))
    assert one is same
    index.leave(one)
    assert list(index) == [same]
    index.leave(same)
    assert list(index) == []
    assert index.join(Question(ALL, CountingEncoder(), framing)) is not one


def test_after_a_relist_a_view_does_not_repeat_what_it_rendered_before() -> None:
    """The view lives on in a session that is still saying goodbye, and the sequences of changes begin again."""
    view = ViewIndex().join(Question(ALL, CountingEncoder(), framing))
    cache = filled("10")
    before = change_of(cache, 11)
    assert view.render(before)[1] == b"[11]"
    cache.replace([], "20")
    after = change_of(cache, 21)
    assert after.sequence == before.sequence
    assert view.render(after)[1] == b"[21]"
