"""Fixtures for every test that runs against real Kubernetes components."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.support.binaries import Binaries, BinariesMissingError, find_binaries


@pytest.fixture(scope="session")
def real_binaries() -> Binaries:
    """The real kube-apiserver, etcd and kubectl; without them the test is skipped, or fails where they are required."""
    try:
        return find_binaries()
    except BinariesMissingError as missing:
        if os.environ.get("WATCHKEEPER_REQUIRE_REALKUBE") == "1":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


# Other processes share the machine: how long an example takes says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
