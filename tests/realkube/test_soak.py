"""A short soak: what comes and goes leaves nothing behind. `make soak FOR=600` is the long one, and tells of memory.

What a client that has gone keeps of memory is in tests/wire/test_limits.py.
"""

from pathlib import Path

import pytest

from tests.soak.soak import soak
from tests.support.realkube import RealCluster

SECONDS = 20.0


@pytest.mark.timeout(240, func_only=True)
def test_a_thousand_visits_a_minute_leave_no_socket_and_no_task_behind(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    soaked = soak(real_cluster, tmp_path, seconds=SECONDS)
    print(soaked.table())
    assert not soaked.leaks()
    assert not soaked.findings
    assert soaked.cuts
    assert soaked.visits.total() > SECONDS / 60 * 500, "it was hardly visited"
