"""The reflector's table, row by row, as conversations."""

from __future__ import annotations

import pytest

from proxy.watch.reflector import (
    BASE_DELAY_SECONDS,
    MAX_DELAY_SECONDS,
    Command,
    Ended,
    Expired,
    Failed,
    Input,
    List,
    Listed,
    Received,
    Reflector,
    Removed,
    State,
    Stop,
    Wait,
    Waited,
    Watch,
)


def tell(reflector: Reflector, *happened: Input) -> Command | None:
    """The command that the last of the inputs gives."""
    commands = [reflector.step(each, jitter=1.0) for each in happened]
    return commands[-1]


def watching() -> Reflector:
    reflector = Reflector()
    assert tell(reflector, Listed()) == Watch()
    return reflector


def test_a_list_is_followed_by_a_watch_that_goes_on() -> None:
    reflector = watching()
    assert tell(reflector, Received()) is None
    assert reflector.state is State.WATCHING


def test_a_failed_list_is_tried_again_after_a_wait() -> None:
    reflector = Reflector()
    assert tell(reflector, Failed()) == Wait(BASE_DELAY_SECONDS)
    assert tell(reflector, Waited()) == List()


def test_a_failed_watch_is_opened_again_after_a_wait_without_a_list() -> None:
    reflector = watching()
    assert tell(reflector, Failed()) == Wait(BASE_DELAY_SECONDS)
    assert tell(reflector, Waited()) == Watch()


def test_a_watch_that_ends_is_opened_again_at_once_but_not_over_and_over() -> None:
    reflector = watching()
    assert tell(reflector, Received(), Ended()) == Watch()
    assert tell(reflector, Ended()) == Wait(2 * BASE_DELAY_SECONDS)
    assert tell(reflector, Waited()) == Watch()
    assert tell(reflector, Received(), Ended()) == Watch()


def test_an_expired_watch_is_listed_anew_at_once() -> None:
    reflector = watching()
    assert tell(reflector, Received(), Expired()) == List()
    assert reflector.state is State.LISTING


def test_a_server_whose_watches_all_expire_is_not_asked_for_list_after_list() -> None:
    reflector = watching()
    waits = []
    for _ in range(10):
        command = tell(reflector, Expired())
        if isinstance(command, Wait):
            waits.append(command.seconds)
            command = tell(reflector, Waited())
        assert command == List()
        assert tell(reflector, Listed()) == Watch()
    assert len(waits) == 9
    assert waits == sorted(waits)
    assert waits[-1] == MAX_DELAY_SECONDS


def test_a_list_that_cannot_be_read_is_tried_again_after_ever_longer_waits() -> None:
    reflector = Reflector()
    tell(reflector, Expired())
    first, second = (tell(reflector, Expired()) for _ in range(2))
    assert isinstance(first, Wait)
    assert isinstance(second, Wait)
    assert second.seconds == 2 * first.seconds


def test_upstreams_own_wish_to_be_left_alone_is_honoured() -> None:
    assert tell(Reflector(), Failed(retry_after_seconds=30.0)) == Wait(30.0)
    assert tell(Reflector(), Failed(retry_after_seconds=0.01)) == Wait(BASE_DELAY_SECONDS)


def test_jitter_halves_a_wait_at_most() -> None:
    assert Reflector().step(Failed(), jitter=0.0) == Wait(BASE_DELAY_SECONDS / 2)


@pytest.mark.parametrize("before", [(), (Listed(),), (Failed(),)])
def test_a_resource_that_is_gone_is_not_followed(before: tuple[Input, ...]) -> None:
    reflector = Reflector()
    for each in before:
        tell(reflector, each)
    assert tell(reflector, Removed()) == Stop()
    assert reflector.state is State.STOPPED
