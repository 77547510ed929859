"""The end of a credential is told once, by the clock or by who revokes it, and not after it was forgotten."""

from __future__ import annotations

import asyncio

import pytest

from proxy.server.credential import Credential
from proxy.server.expiry_timer import ExpiryTimer
from tests.support.simulated_time import let_others_run, loop_time, run_simulated


class Told:
    """When the timer told of the end."""

    def __init__(self, credential: Credential) -> None:
        self.at: list[float] = []
        self.timer = ExpiryTimer(credential, loop_time, lambda: self.at.append(loop_time()))


@pytest.mark.parametrize("seconds", [0.0, 5.0, 10_000.0])
def test_the_end_is_told_when_it_comes(seconds: float) -> None:
    async def scene() -> None:
        began_at = loop_time()
        told = Told(Credential(began_at + seconds))
        await asyncio.sleep(2 * seconds + 1)
        assert told.at == [pytest.approx(began_at + seconds)]

    run_simulated(scene())


@pytest.mark.parametrize("life_seconds", [None, 100.0])
def test_a_revocation_is_told_at_once_and_once(life_seconds: float | None) -> None:
    async def scene() -> None:
        credential = Credential(None if life_seconds is None else loop_time() + life_seconds)
        first, second = Told(credential), Told(credential)
        second.timer.cancel()
        await asyncio.sleep(1)
        revoked_at = loop_time()
        credential.revoke()
        credential.revoke()
        await asyncio.sleep(200)
        assert (first.at, second.at) == ([revoked_at], [])

    run_simulated(scene())


def test_a_credential_that_was_revoked_before_has_ended() -> None:
    async def scene() -> None:
        credential = Credential(None)
        credential.revoke()
        told = Told(credential)
        await let_others_run()
        assert told.at == [loop_time()]

    run_simulated(scene())
