"""The theorem where it is hardest, step by step: what was filtered under another scope is never gone on with.

A policy or a namespace changes at the worst moment: while a read is on its way, before the proxy has heard of it, or at
the very resourceVersion that a client holds. Nothing but the steps of a test writes meanwhile, save the API server's
renewal of its own lease now and then.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from tests.support.identities import Identity
from tests.support.link import Link
from tests.support.manifests import Manifest, pod, role
from tests.support.manifests import namespace as namespace_manifest
from tests.support.polling import poll
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.watching import WatchStream

pytestmark = pytest.mark.timeout(240, func_only=True)

ALICE = Identity(name="alice")
PODS = "/api/v1/pods"
RBAC = "rbac.authorization.k8s.io"
HERE, THERE = NAMESPACES = ("scope-changes-a", "scope-changes-b")
READ = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
HEARD_SECONDS = 30.0

Policy = dict[str, list[Manifest]]


def in_namespaces(*namespaces: str) -> Policy:
    """Alice may read pods in these namespaces."""
    bindings = [_binding("rbac.authorization.k8s.io/v1", "RoleBinding", {"namespace": each}) for each in namespaces]
    return {"policy.yaml": [role("read", [READ], None), *bindings]}


def in_labelled_namespaces() -> Policy:
    """Alice may read pods in namespaces that are labelled `team: a`."""
    binding = _binding("watchkeeper.io/v1alpha1", "ClusterRoleBinding", {})
    return {
        "policy.yaml": [
            role("read", [READ], None),
            {**binding, "namespaceSelector": {"matchLabels": {"team": "a"}}},
        ]
    }


def _binding(api_version: str, kind: str, metadata: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "read", **metadata},
        "subjects": [{"kind": "User", "apiGroup": RBAC, "name": ALICE.name}],
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "read"},
    }


@pytest.fixture(autouse=True)
def pods(real_cluster: RealCluster) -> Iterator[None]:
    """A pod in each of both namespaces, which are labelled `team: a`."""
    for name in NAMESPACES:
        real_cluster.create_namespace(name, labels={"team": "a"})
        real_cluster.create(pod("p", name))
    yield
    for name in NAMESPACES:
        real_cluster.delete(pod("p", name))
        real_cluster.delete_namespace(name)


@contextmanager
def linked_proxy(
    cluster: RealCluster, directory: Path, policies: Policy
) -> Iterator[tuple[ProxyProcess, Link, httpx.Client]]:
    """A proxy behind a link, and a client of Alice's."""
    certificate = cluster.client_certificate(cluster.proxy_identity.name)
    with (
        Link(cluster.url, cluster.pki, certificate) as link,
        ProxyProcess(cluster, directory, policies, upstream=link.url) as proxy,
        proxy.client(ALICE) as client,
    ):
        try:
            yield proxy, link, client
        finally:
            link.thaw()


def list_pods(client: httpx.Client, **parameters: str) -> tuple[list[str], str]:
    """The namespaces of the pods that are listed, and the resourceVersion."""
    body = client.get(PODS, params=parameters).raise_for_status().json()
    return [item["metadata"]["namespace"] for item in body["items"]], body["metadata"]["resourceVersion"]


def initial_events(client: httpx.Client) -> list[str]:
    """The namespaces of the pods that a watch-list begins with."""
    parameters = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    with WatchStream(client, PODS, parameters) as watch:
        *added, _ = watch.take_until(lambda event: event["type"] == "BOOKMARK")
    return [event["object"]["metadata"]["namespace"] for event in added]


def resumes(client: httpx.Client, rv: str) -> bool:
    """Whether a watch goes on from `rv`; what it does not go on from has expired."""
    with WatchStream(client, PODS, {"resourceVersion": rv, "timeoutSeconds": "1"}) as watch:
        watch.wait_ended()
    codes = [event["object"]["code"] for event in watch.events if event["type"] == "ERROR"]
    assert codes in ([], [HTTPStatus.GONE]), codes
    return not codes


def touch(cluster: RealCluster, step: str, namespace: str = HERE) -> None:
    """A write to a pod."""
    cluster.patch(pod("p", namespace), {"metadata": {"labels": {"step": step}}})


@pytest.mark.parametrize("is_watch", [False, True])
def test_a_read_that_a_change_of_policy_overtakes_shows_the_new_scope(
    real_cluster: RealCluster, tmp_path: Path, is_watch: bool
) -> None:
    """It was on its way upstream when the policy came into force, and returns what was written after that."""
    with (
        linked_proxy(real_cluster, tmp_path, in_namespaces(*NAMESPACES)) as (proxy, link, client),
        ThreadPoolExecutor() as pool,
    ):
        assert list_pods(client)[0] == list(NAMESPACES)
        link.freeze()
        with proxy.client(ALICE) as other:
            reading = pool.submit(initial_events if is_watch else lambda each: list_pods(each)[0], other)
            proxy.write_policies(in_namespaces(HERE))
            touch(real_cluster, "after")
            link.thaw()
            assert reading.result(HEARD_SECONDS) == [HERE]


def test_a_client_that_listed_before_the_proxy_heard_of_a_namespace_does_not_resume(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """What it holds is newer than the change of the namespace, and filtered by the labels before it."""
    with (
        linked_proxy(real_cluster, tmp_path, in_labelled_namespaces()) as (proxy, link, first),
        proxy.client(ALICE) as second,
    ):
        poll(
            lambda: first.get(PODS).status_code == HTTPStatus.OK,
            timeout_seconds=HEARD_SECONDS,
            failure=lambda: "the labels of namespaces do not become known",
        )
        link.freeze(watches_only=True)
        real_cluster.patch(namespace_manifest(THERE), {"metadata": {"labels": {"team": "b"}}})
        touch(real_cluster, "before")
        held, rv = list_pods(first)
        assert held == list(NAMESPACES)
        touch(real_cluster, "after")
        link.thaw()
        poll(
            lambda: list_pods(second)[0] == [HERE],
            timeout_seconds=HEARD_SECONDS,
            failure=lambda: "the proxy does not hear of the namespace",
        )
        assert not resumes(first, rv)


def test_a_client_does_not_resume_where_another_one_of_its_user_has_listed_after_a_change_of_scope(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """Nothing was written between its list and the change; the other's list waits a moment for the next write."""
    with (
        ProxyProcess(real_cluster, tmp_path, in_namespaces(*NAMESPACES)) as proxy,
        proxy.client(ALICE) as first,
        proxy.client(ALICE) as second,
        ThreadPoolExecutor() as pool,
    ):
        held, rv = list_pods(first)
        assert held == list(NAMESPACES)
        proxy.write_policies(in_namespaces(HERE))
        listing = pool.submit(list_pods, second)
        touch(real_cluster, "next")
        assert listing.result(HEARD_SECONDS)[0] == [HERE]
        assert not resumes(first, rv)


def test_a_client_does_not_resume_at_an_old_resource_version_that_it_listed_under_a_scope_of_later(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """A list at exactly an old resourceVersion is filtered by the scope of now, not by that of then."""
    with (
        ProxyProcess(real_cluster, tmp_path, in_namespaces(HERE)) as proxy,
        proxy.client(ALICE) as first,
        proxy.client(ALICE) as second,
    ):
        list_pods(first)
        touch(real_cluster, "1")
        _, then = list_pods(first)
        touch(real_cluster, "2")
        proxy.write_policies(in_namespaces(*NAMESPACES))
        listed = first.get(PODS, params={"resourceVersion": then, "resourceVersionMatch": "Exact"})
        proxy.write_policies(in_namespaces(HERE))
        assert list_pods(second)[0] == [HERE]
        assert listed.status_code == HTTPStatus.GONE or not resumes(first, then)


def test_a_client_whose_scope_did_not_change_resumes(real_cluster: RealCluster, tmp_path: Path) -> None:
    """Also across a change of policy: nobody lists anew for the sake of others."""
    with ProxyProcess(real_cluster, tmp_path, in_namespaces(HERE)) as proxy, proxy.client(ALICE) as client:
        list_pods(client)
        touch(real_cluster, "1")
        _, rv = list_pods(client)
        proxy.write_policies({**in_namespaces(HERE), "more.yaml": [role("more", [READ], None)]})
        assert resumes(client, rv)
