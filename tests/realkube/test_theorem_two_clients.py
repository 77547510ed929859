"""Two clients of one user: what one of them has listed anew does not make right what the other still holds.

Nothing is written between the steps, so that all happens at one resourceVersion: that of the change of policy, too.
"""

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from tests.support.identities import Identity
from tests.support.manifests import Manifest, pod, role
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.watching import WatchStream

ALICE = Identity(name="alice")
PODS = "/api/v1/pods"
RBAC = "rbac.authorization.k8s.io"
NAMESPACES = ("two-clients-a", "two-clients-b")


def policy(*namespaces: str) -> dict[str, list[Manifest]]:
    """Alice may read pods in these namespaces."""
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    bindings = [
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "read", "namespace": namespace},
            "subjects": [{"kind": "User", "apiGroup": RBAC, "name": ALICE.name}],
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "read"},
        }
        for namespace in namespaces
    ]
    return {"policy.yaml": [role("read", [rule], None), *bindings]}


@pytest.fixture
def pods(real_cluster: RealCluster) -> Iterator[None]:
    """A pod in each of both namespaces."""
    for name in NAMESPACES:
        real_cluster.create_namespace(name)
        real_cluster.create(pod("p", name))
    yield
    for name in NAMESPACES:
        real_cluster.delete(pod("p", name))
        real_cluster.delete_namespace(name)


def list_pods(client: httpx.Client, **parameters: str) -> tuple[list[str], str]:
    """The namespaces of the pods that are listed, and the resourceVersion."""
    body = client.get(PODS, params=parameters).raise_for_status().json()
    return [item["metadata"]["namespace"] for item in body["items"]], body["metadata"]["resourceVersion"]


def resumes(client: httpx.Client, rv: str) -> bool:
    """Whether a watch goes on from `rv`; what it does not go on from has expired."""
    parameters = {"resourceVersion": rv, "timeoutSeconds": "1"}
    with WatchStream(client, PODS, parameters) as watch:
        watch.wait_ended()
    codes = [event["object"]["code"] for event in watch.events if event["type"] == "ERROR"]
    assert codes in ([], [HTTPStatus.GONE]), codes
    return not codes


@pytest.mark.usefixtures("pods")
def test_a_client_does_not_resume_where_another_one_of_its_user_has_listed_after_a_change_of_scope(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """Else it would keep, for good, what its user may not see any more."""
    with (
        ProxyProcess(real_cluster, tmp_path, policy(*NAMESPACES)) as proxy,
        proxy.client(ALICE) as first,
        proxy.client(ALICE) as second,
    ):
        held, rv = list_pods(first)
        assert held == list(NAMESPACES)
        proxy.write_policies(policy(NAMESPACES[0]))
        assert list_pods(second)[0] == [NAMESPACES[0]]
        assert not resumes(first, rv)


@pytest.mark.usefixtures("pods")
def test_a_client_does_not_resume_at_an_old_resource_version_that_it_listed_under_a_scope_of_later(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """A list at exactly an old resourceVersion is filtered by the scope of now, not by that of then."""
    with (
        ProxyProcess(real_cluster, tmp_path, policy(NAMESPACES[0])) as proxy,
        proxy.client(ALICE) as first,
        proxy.client(ALICE) as second,
    ):
        list_pods(first)
        real_cluster.patch(pod("p", NAMESPACES[0]), {"metadata": {"labels": {"step": "1"}}})
        _, then = list_pods(first)
        real_cluster.patch(pod("p", NAMESPACES[0]), {"metadata": {"labels": {"step": "2"}}})
        proxy.write_policies(policy(*NAMESPACES))
        listed = first.get(PODS, params={"resourceVersion": then, "resourceVersionMatch": "Exact"})
        proxy.write_policies(policy(NAMESPACES[0]))
        assert list_pods(second)[0] == [NAMESPACES[0]]
        assert listed.status_code == HTTPStatus.GONE or not resumes(first, then)
