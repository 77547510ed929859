"""History: everything after its start, in order, without a gap."""

from __future__ import annotations

import pytest

from proxy.watch.history import MIN_CHANGES, History, OutOfOrder, TooOld, rv_number
from tests.support.versions import version


def history(start_rv: str = "10", *, retention_seconds: float = 75.0, max_changes: int = 1000) -> History:
    return History(start_rv=start_rv, retention_seconds=retention_seconds, max_changes=max_changes)


def append(to: History, *rvs: int | str, now: float = 0.0) -> None:
    for rv in rvs:
        to.append(rv=str(rv), previous=None, current=version("a", "x", rv), now=now)


def rvs_after(of: History, rv: str) -> list[str]:
    located = of.locate(rv)
    assert not isinstance(located, TooOld)
    changes = of.after(located, 10_000)
    assert changes is not None
    return [change.rv for change in changes]


def test_a_watch_starts_after_its_resource_version_whether_or_not_a_change_has_it() -> None:
    kept = history()
    append(kept, 12, 15)
    assert rvs_after(kept, "10") == ["12", "15"]
    assert rvs_after(kept, "12") == ["15"]
    assert rvs_after(kept, "13") == ["15"]
    assert rvs_after(kept, "15") == []


def test_a_resource_version_of_the_future_is_the_newest() -> None:
    kept = history()
    append(kept, 12)
    assert rvs_after(kept, "99") == []


def test_what_is_older_than_the_list_is_too_old() -> None:
    assert history().locate("9") == TooOld(10)


@pytest.mark.parametrize("rv", ["", "0", "x", "-1", "010", "1.5", "\N{SUPERSCRIPT TWO}"])
def test_what_is_no_resource_version_is_too_old(rv: str) -> None:
    assert history().locate(rv) == TooOld(10)


@pytest.mark.parametrize(("rv", "number"), [("1", 1), ("184", 184), ("", None), ("0", None), ("01", None), ("a", None)])
def test_resource_versions_are_numbers_without_leading_zeros(rv: str, number: int | None) -> None:
    assert rv_number(rv) == number


@pytest.mark.parametrize("rv", ["10", "9", "x", "0", ""])
def test_an_ordered_history_does_not_go_back(rv: str) -> None:
    kept = history()
    with pytest.raises(OutOfOrder, match="after 10"):
        append(kept, rv)
    assert rvs_after(kept, "10") == []


def test_a_change_younger_than_the_retention_is_never_dropped() -> None:
    kept = history(retention_seconds=75.0)
    append(kept, *range(11, 11 + 3 * MIN_CHANGES), now=0.0)
    append(kept, 1000, now=75.0)
    assert len(rvs_after(kept, "10")) == 3 * MIN_CHANGES + 1


def test_old_changes_are_dropped_down_to_the_number_that_is_always_kept() -> None:
    kept = history(retention_seconds=75.0)
    append(kept, *range(11, 11 + 3 * MIN_CHANGES), now=0.0)
    append(kept, 1000, now=75.1)
    newest_dropped = 11 + 2 * MIN_CHANGES
    assert kept.locate(str(newest_dropped - 1)) == TooOld(newest_dropped)
    assert len(rvs_after(kept, str(newest_dropped))) == MIN_CHANGES


def test_the_number_of_changes_is_bounded_however_young_they_are() -> None:
    kept = history(max_changes=150)
    append(kept, *range(11, 1011), now=0.0)
    assert kept.locate("859") == TooOld(860)
    assert len(rvs_after(kept, "860")) == 150


def test_who_is_further_behind_than_the_history_goes_is_told() -> None:
    kept = history(max_changes=150)
    append(kept, 11)
    position = kept.last_sequence
    append(kept, *range(12, 1012))
    assert kept.after(position, 10) is None


def test_resource_versions_that_are_no_numbers_are_found_by_equality() -> None:
    kept = history("alpha")
    append(kept, "beta", "aaa")
    assert rvs_after(kept, "alpha") == ["beta", "aaa"]
    assert rvs_after(kept, "beta") == ["aaa"]
    assert kept.locate("never seen") == TooOld(0)


def test_the_start_of_an_unordered_history_is_forgotten_with_its_first_change() -> None:
    kept = history("alpha", max_changes=MIN_CHANGES)
    append(kept, *(f"v{number}" for number in range(MIN_CHANGES + 1)))
    assert kept.locate("alpha") == TooOld(0)
    assert kept.locate("v0") == TooOld(0)
    assert len(rvs_after(kept, "v1")) == MIN_CHANGES - 1
