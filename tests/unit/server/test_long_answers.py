"""A long answer leaves the loop to others, however fast its client reads."""

from __future__ import annotations

import asyncio

from tests.support.fake_connection import FakeExchange
from tests.support.simulated_time import run_simulated

PARTS = 40
PART = b"x" * 64 * 1024


def test_others_get_the_loop_between_two_parts() -> None:
    async def talk() -> int:
        client = FakeExchange()
        turns = 0
        serving = asyncio.ensure_future(client.exchange.respond_in_parts(iter([PART] * PARTS)))
        while not serving.done():
            await asyncio.sleep(0)
            turns += 1
        await serving
        assert client.ended
        assert client.connection.data.count(b"x") == PARTS * len(PART)
        return turns

    assert run_simulated(talk()) >= PARTS
