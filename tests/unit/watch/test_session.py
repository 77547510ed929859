"""A session: its phases, what it has already, and its first event."""

from __future__ import annotations

import pytest

from proxy.api.watch_event import EventType
from proxy.watch.history import Change
from proxy.watch.projection import Shown
from proxy.watch.session import EndReason, Phase, Session
from tests.support.versions import KeepingSink, version


class Woken:
    """Counts how often the owner was woken."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def live(floor: str = "10") -> tuple[Session, KeepingSink, Woken]:
    sink, woken = KeepingSink(), Woken()
    session = Session(sink=sink, position=0, floor=floor, wants_bookmarks=True, on_wake=woken)
    session.phase = Phase.LIVE
    return session, sink, woken


def deliver(session: Session, rv: int | str, sequence: int = 1) -> None:
    current = version("a", "x", rv)
    change = Change(sequence=sequence, rv=str(rv), previous=None, current=current)
    shown = Shown(EventType.ADDED, current, None)
    session.deliver(change, shown, f"<{rv}>".encode(), lambda first: b"<first %b>" % first.version.rv.encode())


def test_only_the_first_event_of_a_stream_is_rendered_as_the_first() -> None:
    session, sink, _ = live()
    deliver(session, 11)
    deliver(session, 12)
    assert bytes(sink.data) == b"<first 11><12>"


def test_what_the_client_has_from_its_list_is_not_told_again() -> None:
    session, sink, _ = live(floor="12")
    for rv in (11, 12, 13):
        deliver(session, rv)
    assert bytes(sink.data) == b"<first 13>"


def test_a_session_whose_client_does_not_read_falls_behind_at_the_change_it_got_last() -> None:
    session, sink, woken = live()
    deliver(session, 11, sequence=1)
    sink.writable = False
    deliver(session, 12, sequence=2)
    deliver(session, 13, sequence=3)
    assert bytes(sink.data) == b"<first 11><12>"
    assert (session.phase, session.position, woken.times) == (Phase.CATCHING_UP, 2, 1)


def test_an_ended_session_is_written_nothing() -> None:
    session, sink, _ = live()
    session.end(EndReason.SCOPE_CHANGED)
    deliver(session, 11)
    assert not sink.data


def test_the_first_reason_to_end_stays() -> None:
    session, _, woken = live()
    session.end(EndReason.TIMEOUT)
    session.end(EndReason.RELIST)
    assert (session.ended_because, woken.times) == (EndReason.TIMEOUT, 1)


@pytest.mark.parametrize(
    ("floor", "cache_rv", "bookmark"), [("10", "12", "12"), ("12", "10", "12"), ("10", "10", "10"), ("alpha", "b", "b")]
)
def test_a_bookmark_is_never_below_what_the_client_began_with(floor: str, cache_rv: str, bookmark: str) -> None:
    assert live(floor)[0].bookmark_rv(cache_rv) == bookmark


def test_a_client_that_began_in_the_future_keeps_its_place_until_the_stream_is_past_it() -> None:
    session, _, _ = live(floor="20")
    deliver(session, 15)
    assert session.bookmark_rv("15") == "20"
    deliver(session, 21)
    assert session.bookmark_rv("21") == "21"
