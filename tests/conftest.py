"""Fixtures for every test that runs against real Kubernetes components."""

import os

import pytest

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
