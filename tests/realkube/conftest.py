"""One real cluster for all tests of this folder.

It is shared: a test creates namespaces of its own, and leaves the cluster running if it stops it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.binaries import Binaries
from tests.support.identities import TOKEN_USERS
from tests.support.realkube import RealCluster

TEST_SECONDS = 120


@pytest.fixture(scope="session")
def real_cluster(real_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A kube-apiserver with etcd, started with the first test that asks for it."""
    with RealCluster(tmp_path_factory.mktemp("cluster"), real_binaries, token_users=TOKEN_USERS) as cluster:
        yield cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limit is for the test alone here: the start of the cluster has a deadline and an error of its own."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True))
