"""Slots are taken in turns by caller, and none is lost, whoever gives up when."""

from __future__ import annotations

import asyncio

import pytest

from proxy.upstream.fair_slots import CALLER, FairSlots, NoRoom
from tests.support.simulated_time import let_others_run, run_simulated


async def hold(slots: FairSlots, caller: str, log: list[str], *, timeout_seconds: float | None = None) -> None:
    """Takes a slot in the name of a caller and keeps it for a second."""
    CALLER.set(caller)
    await slots.acquire(timeout_seconds)
    log.append(caller)
    try:
        await asyncio.sleep(1)
    finally:
        slots.release()


def test_a_caller_waits_behind_one_request_of_each_other() -> None:
    async def talk() -> None:
        slots, log = FairSlots(1, max_waiting=100), list[str]()
        async with asyncio.TaskGroup() as tasks:
            for caller in ("greedy",) * 6 + ("modest", "greedy", "modest", "third"):
                tasks.create_task(hold(slots, caller, log))
        assert log == ["greedy", "greedy", "modest", "third", "greedy", "modest", *["greedy"] * 4]

    run_simulated(talk())


def test_there_are_as_many_slots_as_were_promised_after_any_number_of_turns() -> None:
    async def talk() -> None:
        slots, log = FairSlots(3, max_waiting=100), list[str]()
        async with asyncio.TaskGroup() as tasks:
            for number in range(30):
                tasks.create_task(hold(slots, f"u{number % 4}", log))
        for _ in range(3):
            await slots.acquire(0.0)
        with pytest.raises(TimeoutError):
            await slots.acquire(0.5)

    run_simulated(talk())


def test_a_slot_is_not_lost_with_whoever_gives_up() -> None:
    """Before its turn, in the step of its turn, and by its timeout."""

    async def talk() -> None:
        slots, log = FairSlots(1, max_waiting=100), list[str]()
        await slots.acquire(None)
        waiting, served, late = (asyncio.ensure_future(hold(slots, "u", log)) for _ in range(3))
        impatient = asyncio.ensure_future(hold(slots, "v", log, timeout_seconds=0.1))
        await let_others_run()
        waiting.cancel()
        await asyncio.sleep(0.2)
        assert isinstance(impatient.exception(), TimeoutError)
        slots.release()
        served.cancel()
        await late
        assert log == ["u"]
        await slots.acquire(0.0)

    run_simulated(talk())


def test_a_line_has_an_end() -> None:
    async def talk() -> None:
        slots = FairSlots(1, max_waiting=1)
        await slots.acquire(None)
        waiting = asyncio.ensure_future(slots.acquire(None))
        await let_others_run()
        with pytest.raises(NoRoom):
            await slots.acquire(None)
        slots.release()
        await waiting

    run_simulated(talk())


def test_nobody_can_fill_the_line_for_others() -> None:
    """The last of the longest line makes room for one whose line is shorter, and is told."""

    async def talk() -> None:
        slots, log = FairSlots(1, max_waiting=10), list[str]()
        await slots.acquire(None)
        greedy = [asyncio.ensure_future(hold(slots, "greedy", log)) for _ in range(10)]
        await let_others_run()
        modest = asyncio.ensure_future(hold(slots, "modest", log))
        await let_others_run()
        assert [task.done() for task in greedy] == [False] * 9 + [True]
        assert isinstance(greedy[-1].exception(), NoRoom)
        one_more = asyncio.ensure_future(hold(slots, "greedy", log))
        await let_others_run()
        assert isinstance(one_more.exception(), NoRoom), "its own line is the longest"
        slots.release()
        await asyncio.gather(modest, *greedy[:-1])
        assert log[:2] == ["greedy", "modest"]
        await slots.acquire(0.0)

    run_simulated(talk())
