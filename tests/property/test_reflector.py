"""The reflector converges: against whatever misbehaves it waits within a bound, and recovers when that ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.watch.reflector import (
    MAX_DELAY_SECONDS,
    Ended,
    Expired,
    Failed,
    Input,
    List,
    Listed,
    Received,
    Reflector,
    Wait,
    Waited,
    Watch,
)

after_list: st.SearchStrategy[Input] = st.sampled_from((Listed(), Failed(), Failed(30.0), Expired()))
after_watch: st.SearchStrategy[Input] = st.sampled_from((Ended(), Expired(), Failed(), Received()))


@given(st.data(), st.integers(1, 60), st.floats(0, 1, exclude_max=True))
def test_every_list_and_watch_follows_from_what_happened_and_waits_are_bounded(
    data: st.DataObject, steps: int, jitter: float
) -> None:
    reflector = Reflector()
    asked: object = List()
    fruitless = 0
    for _ in range(steps):
        happened: Input
        match asked:
            case List():
                happened = data.draw(after_list)
            case Watch():
                happened = data.draw(after_watch)
            case _:
                happened = Waited()
        fruitless = 0 if happened == Received() else fruitless + (happened not in (Listed(), Waited()))
        command = reflector.step(happened, jitter=jitter)
        assert reflector.failures == fruitless
        match happened, command:
            case Received(), None:
                continue
            case (Listed(), Watch()) | (Waited(), List() | Watch()) | (Failed(), Wait()):
                pass
            case (Ended(), Watch()) | (Expired(), List()):
                assert fruitless == 1, "only the first time at once"
            case ((Ended() | Expired()), Wait()):
                assert fruitless > 1
            case _:
                raise AssertionError((happened, command))
        if isinstance(command, Wait):
            assert 0 < command.seconds <= max(MAX_DELAY_SECONDS, 30.0)
        asked = command


@given(st.lists(st.sampled_from((Failed(), Expired(), Ended())), max_size=30))
def test_it_watches_again_once_upstream_behaves(trouble: list[Input]) -> None:
    reflector = Reflector()
    command: object = reflector.step(Listed(), jitter=0.5)
    for happened in trouble:
        if isinstance(command, Watch | List):
            command = reflector.step(happened, jitter=0.5)
        else:
            command = reflector.step(Waited(), jitter=0.5)
    for _ in range(3):
        if isinstance(command, Wait):
            command = reflector.step(Waited(), jitter=0.5)
        if command == List():
            command = reflector.step(Listed(), jitter=0.5)
    assert command == Watch()
    assert reflector.step(Received(), jitter=0.5) is None
    assert reflector.failures == 0
