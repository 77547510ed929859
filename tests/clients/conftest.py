"""One cluster and one proxy for all tests of this folder, and the client-go informer, built from its source.

The proxy may impersonate there, so writes work too. A test finds the four namespaces empty.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.program import Library
from tests.clients.stage import POLICIES, SPACES, Stage, tokens
from tests.support.binaries import Binaries
from tests.support.cable import Cable
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import PROXY_RULES, RealCluster

TEST_SECONDS = 180
_BUILD_SECONDS = 600.0  # with all of client-go to download and compile; a second when that is in Go's cache
_IMPERSONATE = (
    {"apiGroups": [""], "resources": ["users", "groups"], "verbs": ["impersonate"]},
    {"apiGroups": ["authentication.k8s.io"], "resources": ["*"], "verbs": ["impersonate"]},
)


@pytest.fixture(scope="session")
def cluster(real_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with RealCluster(tmp_path_factory.mktemp("clients"), real_binaries) as cluster:
        cluster.grant(cluster.proxy_identity, [*PROXY_RULES, *_IMPERSONATE])
        for space in SPACES:
            cluster.create_namespace(space)
        yield cluster


@pytest.fixture(scope="session")
def proxy(cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    with ProxyProcess(cluster, tmp_path_factory.mktemp("proxy"), POLICIES, tokens=tokens()) as process:
        yield process


@pytest.fixture(scope="session")
def cable(proxy: ProxyProcess) -> Iterator[Cable]:
    with Cable(lambda: proxy.port) as cable:
        yield cable


@pytest.fixture
def stage(cluster: RealCluster, proxy: ProxyProcess, cable: Cable) -> Iterator[Stage]:
    """With nothing on it, and left as it was."""
    stage = Stage(cluster, proxy, cable)
    stage.clear()
    yield stage
    stage.restore()


@pytest.fixture(scope="session")
def informer_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`informer/` built; without Go the test is skipped, or fails where real components are required."""
    if shutil.which("go") is None:
        missing = "needs the Go toolchain, version 1.26 or later, on the PATH"
        if os.environ.get("WATCHKEEPER_REQUIRE_REALKUBE") == "1":
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    binary = tmp_path_factory.mktemp("informer") / "informer"
    subprocess.run(
        ["go", "build", "-buildvcs=false", "-o", binary, "."],
        cwd=Path(__file__).parent / "informer",
        env={**os.environ, "CGO_ENABLED": "0"},
        timeout=_BUILD_SECONDS,
        check=True,
    )
    return binary


@pytest.fixture
def library(request: pytest.FixtureRequest) -> Library:
    """The library of the parameter; that of an informer gets its binary."""
    library: Library = request.param
    return library.built(request.getfixturevalue("informer_binary")) if library.is_informer else library


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limit is for the test alone: the cluster and the build have deadlines of their own."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True))
