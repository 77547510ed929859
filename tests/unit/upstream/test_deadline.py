"""What a Deadline ends, and what it leaves alone."""

import asyncio

import pytest

from proxy.upstream.deadline import Deadline

FAR_SECONDS = 3600.0


async def lasts(deadline_seconds: float) -> None:
    with Deadline(deadline_seconds):
        await asyncio.get_running_loop().create_future()


async def cancelled_while_it_lasts(deadline_seconds: float) -> None:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(lasts(deadline_seconds))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_what_lasts_too_long_is_cancelled_and_told_as_a_timeout() -> None:
    async def late() -> int:
        with pytest.raises(TimeoutError):
            await lasts(0.0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert asyncio.run(late()) == 0


def test_what_is_done_in_time_goes_on() -> None:
    async def quick() -> str:
        with Deadline(FAR_SECONDS):
            await asyncio.sleep(0)
        return "done"

    assert asyncio.run(quick()) == "done"


def test_a_cancellation_from_outside_stays_one() -> None:
    asyncio.run(cancelled_while_it_lasts(FAR_SECONDS))


def test_a_cancellation_from_outside_wins_over_a_timeout_of_the_same_moment() -> None:
    asyncio.run(cancelled_while_it_lasts(0.0))


def test_an_error_of_the_block_is_not_changed() -> None:
    async def failing() -> None:
        with Deadline(FAR_SECONDS):
            raise ValueError("own")

    with pytest.raises(ValueError, match="own"):
        asyncio.run(failing())
