"""What a watch kept back is what it passed less what it showed, whatever ways the changes took."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.api.watch_event import EventType
from proxy.authz.scope import Grant, Scope
from proxy.authz.visibility import Visibility
from proxy.policy.namespace_set import NamespaceSet
from proxy.telemetry.watch_counts import WatchCounts
from proxy.watch.cache import WatchCache
from proxy.watch.encoding import ObjectEncoder
from proxy.watch.history import TooOld
from proxy.watch.session import EndReason, Phase, Session
from proxy.watch.view import Question, View
from tests.support.versions import POD_PREFIX, KeepingSink, version

SHOWN = Scope(
    False,
    frozenset([Grant(namespaces=NamespaceSet(frozenset({"a"})), names=None, field_selector=None, label_selector=None)]),
)
QUESTION = Question(
    Visibility(scope=SHOWN, namespace="", name="", namespace_is_name=False), ObjectEncoder(POD_PREFIX), bytes
)


class Watching:
    """One watch on a cache at resourceVersion 10, whose owner does as a stream does."""

    def __init__(self, *, floor: int = 10, filtered: bool = True) -> None:
        self.cache = WatchCache(retention_seconds=1.0, max_changes=1000)
        self.cache.replace([version("a", "old", 5), version("b", "old", 6)], "10")
        self.view = View(QUESTION)
        self.counts = WatchCounts(filtered=filtered)
        position = self.cache.history.locate(str(floor))
        assert not isinstance(position, TooOld)
        self.sink = KeepingSink()
        self.session = Session(
            sink=self.sink, position=position, floor=str(floor), wants_bookmarks=False, on_wake=self.counts.woken
        )
        self.counts.begin(self.session, self.cache)

    def show_initial(self) -> None:
        chunks = self.view.begin(self.session, self.cache.objects())
        self.counts.initial(len(chunks))
        self.session.delivered += len(chunks)

    def change(self, namespace: str) -> None:
        rv = int(self.cache.rv) + 1
        change = self.cache.apply(EventType.ADDED, version(namespace, f"x{rv}", rv), 0.0)
        assert change is not None
        shown, chunk = self.view.render(change)
        self.session.deliver(change, shown, chunk, self.view.render_first)

    def catch_up(self) -> None:
        if self.session.phase is not Phase.CATCHING_UP:
            return
        self.sink.writable = True
        changes = self.cache.history.after(self.session.position, 1000)
        assert changes is not None
        self.session.delivered += len(self.view.replay(self.session, changes))
        self.session.phase = Phase.LIVE
        self.counts.went_live()

    def stall(self) -> None:
        self.sink.writable = False

    def told(self) -> tuple[int, int]:
        return self.counts.delivered, self.counts.suppressed


def test_nothing_is_counted_before_the_watch_begins() -> None:
    counts = WatchCounts(filtered=True)
    assert (counts.delivered, counts.suppressed, counts.ended_because) == (0, 0, "")


def test_initial_events_are_delivered_and_hide_no_changes() -> None:
    watching = Watching()
    watching.show_initial()
    assert watching.told() == (1, 0)
    watching.catch_up()
    watching.change("b")
    assert watching.told() == (1, 1)


def test_a_watch_of_everything_keeps_nothing_back() -> None:
    """Whatever passes it that its own namespace or selector does not concern."""
    watching = Watching(filtered=False)
    watching.catch_up()
    watching.change("b")
    assert watching.told() == (0, 0)


def test_what_the_client_has_from_its_list_is_not_counted_as_kept_back() -> None:
    """A list may be ahead of the watch cache."""
    watching = Watching(floor=12)
    watching.catch_up()
    watching.change("a")
    watching.change("a")
    assert watching.told() == (0, 0)
    watching.change("a")
    assert watching.told() == (1, 0)


def test_what_happens_after_its_end_is_not_counted() -> None:
    watching = Watching()
    watching.catch_up()
    watching.change("b")
    watching.session.end(EndReason.TIMEOUT)
    watching.change("a")
    watching.change("b")
    assert watching.told() == (0, 1)


def test_a_relist_that_ends_it_leaves_its_counts_as_they_were() -> None:
    watching = Watching()
    watching.catch_up()
    watching.change("b")
    watching.session.end(EndReason.RELIST)
    watching.cache.replace([], "100")
    assert watching.told() == (0, 1)


@given(st.lists(st.sampled_from(["a", "b", "stall", "catch up"]), max_size=40))
def test_delivered_and_suppressed_are_what_was_shown_and_what_was_not(steps: list[str]) -> None:
    """Live, behind, or both in turn: once it has caught up nothing is missing and nothing is counted twice."""
    watching = Watching()
    for step in steps:
        match step:
            case "stall":
                watching.stall()
            case "catch up":
                watching.catch_up()
            case namespace:
                watching.change(namespace)
        assert watching.counts.suppressed >= 0
    watching.catch_up()
    watching.session.end(EndReason.DRAIN)
    assert watching.told() == (steps.count("a"), steps.count("b"))
