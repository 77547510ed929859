"""A short soak: what comes and goes leaves nothing behind. `make soak FOR=600` is the long one."""

from pathlib import Path

import pytest

from tests.soak.soak import soak
from tests.support.realkube import RealCluster

SECONDS = 20.0
MAX_GROWTH_MIB = 40  # between two halves; a leak of one connection's 40 KiB a visit would be 8 in this time


@pytest.mark.timeout(240, func_only=True)
def test_a_thousand_visits_a_minute_leave_no_socket_no_task_and_no_memory_behind(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    soaked = soak(real_cluster, tmp_path, seconds=SECONDS)
    print(soaked.table())
    assert not soaked.leaks()
    assert not soaked.findings
    assert soaked.cuts
    assert soaked.visits.total() > SECONDS / 60 * 500, "it was hardly visited"
    assert soaked.memory_in(0.5, 1.0) - soaked.memory_in(0.0, 0.5) < MAX_GROWTH_MIB
