"""The watch cache: objects now, and the changes that led here."""

from __future__ import annotations

import pytest

from proxy.api.watch_event import EventType
from proxy.watch.cache import WatchCache
from proxy.watch.history import OutOfOrder, TooOld
from tests.support.versions import version


def cache(*rvs: int, at: str = "10") -> WatchCache:
    filled = WatchCache(retention_seconds=75.0, max_changes=1000)
    filled.replace([version("a", f"x{rv}", rv) for rv in rvs], at)
    return filled


def test_an_added_object_has_no_version_before() -> None:
    kept = cache()
    added = version("a", "x", 11)
    change = kept.apply(EventType.ADDED, added, 0.0)
    assert change is not None
    assert (change.previous, change.current, change.rv) == (None, added, "11")
    assert (kept.rv, kept.objects()) == ("11", [added])


def test_a_change_knows_the_version_before_it() -> None:
    kept = cache()
    first, second, last = (version("a", "x", rv) for rv in (11, 12, 13))
    kept.apply(EventType.ADDED, first, 0.0)
    modified = kept.apply(EventType.MODIFIED, second, 0.0)
    deleted = kept.apply(EventType.DELETED, last, 0.0)
    assert modified is not None
    assert deleted is not None
    assert (modified.previous, modified.current) == (first, second)
    assert (deleted.previous, deleted.current, deleted.rv) == (second, None, "13")
    assert kept.objects() == []


def test_the_deletion_of_what_was_never_there_only_moves_the_resource_version() -> None:
    kept = cache()
    assert kept.apply(EventType.DELETED, version("a", "x", 11), 0.0) is None
    assert kept.rv == "11"
    assert kept.history.locate("10") == kept.history.locate("11")


@pytest.mark.parametrize("kind", [EventType.ADDED, EventType.MODIFIED, EventType.DELETED])
@pytest.mark.parametrize("rv", [9, 10, 11, 12])
def test_an_event_that_goes_back_is_refused_and_changes_nothing(kind: EventType, rv: int) -> None:
    kept = cache(5)
    kept.apply(EventType.ADDED, version("a", "y", 12), 0.0)
    before = list(kept.objects())
    with pytest.raises(OutOfOrder, match="after 12"):
        kept.apply(kind, version("a", "x5", rv), 0.0)
    assert (kept.objects(), kept.rv) == (before, "12")


def test_an_event_behind_a_bookmark_is_refused() -> None:
    """A client that was given the bookmark resumes behind the event and would never see it."""
    kept = cache()
    kept.advance("20")
    with pytest.raises(OutOfOrder, match="after 20"):
        kept.apply(EventType.ADDED, version("a", "x", 15), 0.0)
    assert kept.rv == "20"


def test_a_bookmark_moves_the_resource_version_forward_only() -> None:
    kept = cache()
    kept.advance("15")
    kept.advance("12")
    kept.advance("")
    kept.advance("later")
    assert kept.rv == "15"


def test_objects_are_in_the_order_of_upstreams_storage_keys() -> None:
    kept = WatchCache(retention_seconds=75.0, max_changes=1000)
    places = [("a", "x"), ("a-b", "x"), ("ab", "x"), ("a", "x-1"), ("a", "x.1"), ("b", "a"), ("a0", "x")]
    kept.replace([version(namespace, name, 1) for namespace, name in places], "10")
    assert [each.key for each in kept.objects()] == sorted(places, key=lambda place: "/".join(place).encode())
    assert kept.objects()[0].namespace == "a-b"


def test_a_relist_replaces_everything_and_forgets_the_past() -> None:
    kept = cache(5)
    kept.apply(EventType.ADDED, version("a", "x", 11), 0.0)
    kept.replace([version("a", "z", 30)], "40")
    assert [each.name for each in kept.objects()] == ["z"]
    assert kept.history.locate("39") == TooOld(40)
    assert kept.history.after(kept.history.last_sequence, 10) == []


def test_objects_that_were_handed_out_do_not_change() -> None:
    kept = cache(5)
    handed_out = kept.objects()
    kept.apply(EventType.ADDED, version("a", "y", 11), 0.0)
    kept.replace([], "20")
    assert [each.name for each in handed_out] == ["x5"]


def test_a_resource_whose_versions_are_no_numbers_is_followed_too() -> None:
    kept = WatchCache(retention_seconds=75.0, max_changes=1000)
    kept.replace([], "alpha")
    change = kept.apply(EventType.ADDED, version("a", "x", "beta"), 0.0)
    assert change is not None
    assert kept.rv == "beta"
    assert kept.history.after(0, 10) == [change]
