"""One caller cannot take everything."""

import pytest

from proxy.api.status import TooManyRequests
from proxy.server.limits import MAX_SELECTOR_TERMS, CallerLimits, Limits


@pytest.fixture
def limits() -> CallerLimits:
    """Two watches and one other request a user."""
    return CallerLimits(Limits(max_open_watches=2, max_requests_in_flight=1))


def test_a_caller_over_its_limit_is_told_to_come_again(limits: CallerLimits) -> None:
    with limits.request("alice", long_running=False):
        with pytest.raises(TooManyRequests) as refused, limits.request("alice", long_running=False):
            pass
    assert refused.value.retry_after_seconds == 1


def test_the_others_are_not_concerned(limits: CallerLimits) -> None:
    with limits.request("alice", long_running=False), limits.request("bob", long_running=False):
        pass


def test_watches_and_other_requests_are_counted_apart(limits: CallerLimits) -> None:
    with (
        limits.request("alice", long_running=True),
        limits.request("alice", long_running=True),
        limits.request("alice", long_running=False),
    ):
        with pytest.raises(TooManyRequests), limits.request("alice", long_running=True):
            pass


def test_what_has_ended_is_not_counted_any_more(limits: CallerLimits) -> None:
    for _ in range(5):
        with pytest.raises(ValueError, match="bug"), limits.request("alice", long_running=False):
            raise ValueError("bug")
    with limits.request("alice", long_running=False):
        pass


def test_the_selector_terms_of_a_users_watches_are_bounded_together(limits: CallerLimits) -> None:
    with limits.watch_selectors("alice", MAX_SELECTOR_TERMS - 1):
        with limits.watch_selectors("alice", 1), pytest.raises(TooManyRequests, match="selector terms"):
            limits.watch_selectors("alice", 1)
        with limits.watch_selectors("bob", MAX_SELECTOR_TERMS), limits.watch_selectors("alice", 1):
            pass
    with limits.watch_selectors("alice", MAX_SELECTOR_TERMS):
        pass
