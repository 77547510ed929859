"""Health: what failed is named, and the API server is asked only when it was not heard lately."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from proxy.api.status import ServiceUnavailable
from proxy.telemetry.health import FRESH_SECONDS, PROBE_AGAIN_SECONDS, HealthReport, Reachability, examine, simple_check
from proxy.telemetry.upstream_meter import FailureKind, UpstreamMeter

GOOD = simple_check("good", lambda: "")
BAD = simple_check("bad", lambda: "out of order")


def test_health_without_a_question_is_one_word() -> None:
    assert asyncio.run(examine("livez", [GOOD], verbose=False)) == HealthReport(True, "ok")


def test_verbose_health_names_every_check() -> None:
    report = asyncio.run(examine("livez", [GOOD], verbose=True))
    assert report == HealthReport(True, "[+]good ok\nlivez check passed\n")


def test_what_failed_is_named_also_without_verbose() -> None:
    report = asyncio.run(examine("readyz", [GOOD, BAD, GOOD], verbose=False))
    assert report == HealthReport(False, "[+]good ok\n[-]bad failed: out of order\n[+]good ok\nreadyz check failed\n")


class Upstream:
    """An API server that answers probes or does not, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.is_there = True
        self.probes = 0
        self.meter = UpstreamMeter(CollectorRegistry(), lambda: self.now)
        self.reachability = Reachability(self.meter, self._probe, lambda: self.now)

    async def _probe(self) -> None:
        self.probes += 1
        await asyncio.sleep(0)
        if self.is_there:
            self.meter.answered("GET", 200)
        else:
            self.meter.failed(FailureKind.CONNECT)
            raise ServiceUnavailable("away")

    async def problems(self, times: int = 1) -> set[str]:
        return set(await asyncio.gather(*(self.reachability.problem() for _ in range(times))))


def test_an_api_server_that_was_heard_lately_is_not_asked() -> None:
    async def talk() -> None:
        upstream = Upstream()
        upstream.meter.answered("GET", 200)
        upstream.now += FRESH_SECONDS
        assert await upstream.problems() == {""}
        assert upstream.probes == 0

    asyncio.run(talk())


def test_many_who_ask_at_once_cause_one_probe() -> None:
    async def talk(is_there: bool, problems: set[str]) -> None:
        upstream = Upstream()
        upstream.is_there = is_there
        assert await upstream.problems(50) == problems
        assert upstream.probes == 1

    asyncio.run(talk(True, {""}))
    asyncio.run(talk(False, {"the API server does not answer"}))


def test_an_api_server_that_comes_back_is_found_a_second_later() -> None:
    async def talk() -> None:
        upstream = Upstream()
        upstream.is_there = False
        assert await upstream.problems() != {""}
        upstream.is_there = True
        assert await upstream.problems() != {""}
        upstream.now += PROBE_AGAIN_SECONDS
        assert await upstream.problems() == {""}

    asyncio.run(talk())
