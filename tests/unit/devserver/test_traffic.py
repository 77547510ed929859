"""Traffic: it never fails, keeps the cluster small, shows everything that can happen, and repeats by its seed."""

from collections import Counter
from random import Random

import pytest

from proxy.devserver.handlers import Api
from proxy.devserver.kinds import KINDS, NAMESPACES, PODS
from proxy.devserver.traffic import FEWEST_PODS, MOST_PODS, TEAM_NAMESPACES, Traffic
from tests.unit.devserver.calling import NOW, new_api


def traffic_over(api: Api, seed: int) -> Traffic:
    traffic = Traffic(api.writer, Random(seed), lambda: NOW)
    traffic.seed()
    return traffic


@pytest.mark.parametrize("seed", range(5))
def test_it_goes_on_for_ever_within_its_bounds(seed: int) -> None:
    api = new_api(namespaces=())
    traffic = traffic_over(api, seed)
    for _ in range(500):
        before = api.storage.rv
        traffic.step()
        assert api.storage.rv - before <= 1
        assert FEWEST_PODS - 1 <= len(api.storage.current(PODS.gvr)) <= MOST_PODS


def test_everything_that_can_happen_to_a_pod_happens() -> None:
    api = new_api(namespaces=())
    traffic = traffic_over(api, 0)
    seen: Counter[str] = Counter()
    start = api.storage.rv
    for _ in range(500):
        traffic.step()
    deleted: set[tuple[str, str]] = set()
    for change in api.storage.changes_after(start):
        if change.gvr != PODS.gvr:
            seen[change.gvr.resource] += 1
        elif change.current is None:
            assert change.previous is not None
            deleted.add(change.previous.key)
            seen["deleted"] += 1
        elif change.previous is None:
            seen["recreated" if change.current.key in deleted else "created"] += 1
        else:
            old, new = change.previous.body, change.current.body
            seen["scheduled"] += old["spec"] != new["spec"]
            seen["relabelled"] += old["metadata"]["labels"] != new["metadata"]["labels"]
            if old["status"]["phase"] != new["status"]["phase"]:
                seen[f"{old['status']['phase']} to {new['status']['phase']}"] += 1
    assert set(seen) == {
        "created",
        "recreated",
        "deleted",
        "scheduled",
        "relabelled",
        "Pending to Running",
        "Running to Succeeded",
        "Running to Failed",
        "configmaps",
        "leases",
    }


def test_the_same_seed_makes_the_same_cluster() -> None:
    raws = []
    for _ in range(2):
        api = new_api(namespaces=())
        traffic = traffic_over(api, 7)
        for _ in range(100):
            traffic.step()
        raws.append([version.raw for kind in KINDS for version in api.storage.current(kind.gvr)])
    assert raws[0] == raws[1]


def test_it_survives_users_who_delete_everything() -> None:
    api = new_api(namespaces=())
    traffic = traffic_over(api, 0)
    for namespace in TEAM_NAMESPACES:
        api.writer.delete(NAMESPACES, "", namespace, preconditions={}, dry_run=False)
    for _ in range(200):
        traffic.step()
    assert api.storage.current(PODS.gvr) == []
