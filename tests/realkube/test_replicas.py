"""Two replicas that follow a change of policy at different moments, and a client that moves between them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.grants import grant, rule
from tests.support.identities import Identity
from tests.support.manifests import Manifest, config_map
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.watching import WatchEvent, WatchStream

SPACES = ("replicas-a", "replicas-b")
PATH = "/api/v1/configmaps"
CARL, DORA = Identity(name="carl"), Identity(name="dora")
CONFIG_MAPS = rule("configmaps")


def policies(*carl: str) -> dict[str, list[Manifest]]:
    return {
        "carl.yaml": [each for space in carl for each in grant("carl", CONFIG_MAPS, namespace=space)],
        "dora.yaml": grant("dora", CONFIG_MAPS, namespace=SPACES[0]),
    }


@pytest.fixture
def replicas(real_cluster: RealCluster, tmp_path: Path) -> Iterator[tuple[ProxyProcess, ProxyProcess]]:
    for space in SPACES:
        real_cluster.create_namespace(space)
        real_cluster.create(config_map("here", space, data={}))
    flags = ("--replica-lag", "600", "--watch-bookmark-interval", "0.2")
    with (
        ProxyProcess(real_cluster, tmp_path / "one", policies(*SPACES), flags=flags) as one,
        ProxyProcess(real_cluster, tmp_path / "other", policies(*SPACES), flags=flags) as other,
    ):
        yield one, other
    for space in SPACES:
        real_cluster.delete(config_map("here", space, data={}))
        real_cluster.delete_namespace(space)


def listed(proxy: ProxyProcess, who: Identity) -> tuple[str, list[str]]:
    """The resourceVersion of a list of everything that somebody may see, and the namespaces in it."""
    with proxy.client(who) as client:
        answer = client.get(PATH).json()
    return answer["metadata"]["resourceVersion"], [item["metadata"]["namespace"] for item in answer["items"]]


def first_event(proxy: ProxyProcess, who: Identity, rv: str) -> WatchEvent:
    """Of a watch that goes on from `rv`; a bookmark when it may."""
    parameters = {"resourceVersion": rv, "allowWatchBookmarks": "true"}
    with proxy.client(who) as client, WatchStream(client, PATH, parameters) as stream:
        return stream.take_until(lambda event: True)[0]


def is_refused(event: WatchEvent) -> bool:
    return event["type"] == "ERROR" and event["object"]["code"] == 410


def test_nobody_goes_on_from_what_a_replica_with_the_old_policy_has_shown(
    real_cluster: RealCluster, replicas: tuple[ProxyProcess, ProxyProcess]
) -> None:
    """What the new policy hides would stay with the client for ever."""
    one, other = replicas
    one.write_policies(policies(SPACES[0]))
    assert set(listed(one, CARL)[1]) == {SPACES[0]}
    real_cluster.patch(config_map("here", SPACES[0], data={}), {"data": {"changed": "yes"}})
    rv, seen = listed(other, CARL)
    assert set(seen) == set(SPACES), "it is behind"
    assert is_refused(first_event(one, CARL, rv))


def test_who_stays_with_one_replica_goes_on(replicas: tuple[ProxyProcess, ProxyProcess]) -> None:
    """Also under a scope that has just changed, and from where the last stream ended."""
    one, _ = replicas
    one.write_policies(policies(SPACES[0]))
    for who in (CARL, DORA):
        rv, seen = listed(one, who)
        assert set(seen) == {SPACES[0]}
        bookmark = first_event(one, who, rv)
        assert bookmark["type"] == "BOOKMARK"
        again = first_event(one, who, bookmark["object"]["metadata"]["resourceVersion"])
        assert again["type"] == "BOOKMARK"
