"""The bound of all watch caches: who ends first, and who is not begun again."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.upstream.cache_budget import REMEMBERED_SECONDS, CacheBudget


@dataclass
class FakeCache:
    size_bytes: int
    is_idle: bool = False
    is_essential: bool = False
    idle_since: float = 0.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def budget(max_bytes: int | None = 100) -> tuple[CacheBudget[str], Clock]:
    clock = Clock()
    return CacheBudget(max_bytes, clock=clock), clock


def test_nothing_ends_while_all_fits() -> None:
    bound, _ = budget()
    assert bound.surplus([("a", FakeCache(60)), ("b", FakeCache(40, is_idle=True))]) == []
    assert bound.evictions == 0


def test_without_a_bound_nothing_ends_ever() -> None:
    bound, _ = budget(None)
    assert bound.surplus([("a", FakeCache(10**12))]) == []
    assert bound.has_room_for("a", [FakeCache(10**12)])


def test_what_nobody_uses_ends_first_the_longest_unused_before_the_others() -> None:
    bound, _ = budget()
    caches = [
        ("used", FakeCache(60)),
        ("lately", FakeCache(30, is_idle=True, idle_since=9)),
        ("long ago", FakeCache(30, is_idle=True, idle_since=5)),
    ]
    assert bound.surplus(caches) == ["long ago"]
    assert bound.evictions == 1


def test_of_those_in_use_the_one_begun_last_ends() -> None:
    bound, _ = budget()
    assert bound.surplus([("first", FakeCache(60)), ("second", FakeCache(60)), ("idle", FakeCache(9, True))]) == [
        "idle",
        "second",
    ]


def test_what_the_proxy_itself_follows_never_ends() -> None:
    bound, _ = budget()
    assert bound.surplus([("first", FakeCache(60)), ("namespaces", FakeCache(60, is_essential=True))]) == ["first"]


def test_what_did_not_fit_is_not_begun_again_until_there_is_room() -> None:
    bound, _ = budget()
    first, second = FakeCache(60), FakeCache(60)
    bound.surplus([("first", first), ("second", second)])
    assert not bound.has_room_for("second", [first])
    assert bound.has_room_for("another", [first]), "nobody knows yet how large it is"
    first.size_bytes = 40
    assert bound.has_room_for("second", [first])


def test_what_is_idle_makes_room() -> None:
    bound, _ = budget()
    first, second = FakeCache(60), FakeCache(60)
    bound.surplus([("first", first), ("second", second)])
    first.is_idle = True
    assert bound.has_room_for("second", [first])


def test_that_something_did_not_fit_is_believed_for_a_while_only() -> None:
    bound, clock = budget()
    bound.surplus([("huge", FakeCache(1000))])
    clock.now = REMEMBERED_SECONDS - 1
    assert not bound.has_room_for("huge", [])
    clock.now = REMEMBERED_SECONDS
    assert bound.has_room_for("huge", [])
