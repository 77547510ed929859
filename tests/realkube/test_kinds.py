"""Kinds that do not fit: what cannot be watched, is not there, or not yet, goes away, or comes back as another."""

from collections.abc import Iterator
from itertools import product

import httpx
import pytest

from tests.support.grants import EVERYTHING, grant, rule, scoped_grant
from tests.support.identities import Identity
from tests.support.manifests import Manifest
from tests.support.polling import poll
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.samples import crd, install, uninstall
from tests.support.watching import WatchStream

SPACE = "kinds"
GROUP = "kinds.example"
SECONDS = 20.0  # the proxy asks discovery at once for what it does not know

ROOT, PART, NONE = (Identity(name=name) for name in ("root", "part", "none"))
EVERYTHING_THERE = rule("*", groups=("*",), verbs=("*",))
POLICIES = {
    "root.yaml": grant("root", *EVERYTHING),
    "part.yaml": [
        *grant("part", EVERYTHING_THERE, namespace=SPACE),
        *scoped_grant("part", rule("componentstatuses", resourceNames=["etcd-0"])),
    ],
    "none.yaml": grant("none", rule("pods", verbs=("create",))),
}


@pytest.fixture(scope="module")
def proxy(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    real_cluster.create_namespace(SPACE)
    flags = ("--upstream-identity", "proxy")  # for subresources: nobody is known upstream by name here
    with ProxyProcess(real_cluster, tmp_path_factory.mktemp("kinds"), POLICIES, flags=flags) as process:
        yield process
    real_cluster.delete_namespace(SPACE)


@pytest.fixture
def root(proxy: ProxyProcess) -> Iterator[httpx.Client]:
    with proxy.client(ROOT) as client:
        yield client


@pytest.fixture
def part(proxy: ProxyProcess) -> Iterator[httpx.Client]:
    with proxy.client(PART) as client:
        yield client


def said(answer: httpx.Response) -> tuple[int, str, str]:
    if not answer.headers["content-type"].startswith("application/json"):
        return answer.status_code, "", answer.text
    status = answer.json()
    return answer.status_code, status.get("reason", ""), status.get("message", "")


def test_what_cannot_be_watched_is_listed_and_its_watch_refused_as_upstream_does(
    root: httpx.Client, part: httpx.Client, real_cluster: RealCluster
) -> None:
    path = "/api/v1/componentstatuses"
    straight = real_cluster.admin.get(path).json()
    names = sorted(item["metadata"]["name"] for item in straight["items"])  # upstream's own order is random
    assert "etcd-0" in names
    assert len(names) > 1
    assert sorted(item["metadata"]["name"] for item in root.get(path).json()["items"]) == names
    for options in ({}, {"resourceVersion": "0"}, {"limit": "1"}):
        assert [item["metadata"]["name"] for item in part.get(path, params=options).json()["items"]] == ["etcd-0"]
    refused = said(real_cluster.admin.get(path, params={"watch": "1"}))
    assert refused[0] == 405
    for client in (root, part):
        # The filtered caller's sentence is the general one of a 405.
        assert said(client.get(path, params={"watch": "1"}))[:2] == refused[:2]


@pytest.mark.parametrize(
    "path",
    [
        f"/api/v1/namespaces/{SPACE}/bindings",
        f"/api/v1/namespaces/{SPACE}/nonsense",
        f"/api/v1/namespaces/{SPACE}/nonsense/x",
        f"/apis/no.such/v1/namespaces/{SPACE}/pods",
        f"/apis/apps/v9/namespaces/{SPACE}/deployments",
        f"/api/v1/namespaces/{SPACE}/nodes",
        f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SPACE}/clusterroles",
        f"/api/v1/namespaces/{SPACE}/pods/absent/status",
        f"/apis/apps/v1/namespaces/{SPACE}/deployments/absent/scale",
        f"/api/v1/namespaces/{SPACE}/pods/absent/nonsense",
    ],
)
def test_what_is_not_there_is_upstreams_answer_with_a_grant_and_403_without(
    proxy: ProxyProcess, root: httpx.Client, part: httpx.Client, real_cluster: RealCluster, path: str
) -> None:
    options = (
        [{}, {"watch": "1"}, {"limit": "1"}] if path.endswith("bindings") else [{}]
    )  # discovery is asked each time
    with proxy.client(NONE) as none:
        for asked in options:
            expected = said(real_cluster.admin.get(path, params=asked))
            assert expected[0] in (404, 405)
            for client in (root, part):
                assert said(client.get(path, params=asked)) == expected, (path, asked)
            assert said(none.get(path, params=asked))[:2] == (403, "Forbidden")


def test_subresources_are_read_as_upstream_serves_them(
    root: httpx.Client, part: httpx.Client, real_cluster: RealCluster
) -> None:
    labels = {"app": "web"}
    spec = {"containers": [{"name": "main", "image": "registry.example/app:1"}]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": SPACE},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }
    real_cluster.create(deployment)
    try:
        for name in ("status", "scale"):
            path = f"/apis/apps/v1/namespaces/{SPACE}/deployments/web/{name}"
            for client, accept in product((root, part), ("application/json", "application/yaml")):
                headers = {"accept": accept}
                assert (
                    client.get(path, headers=headers).content == real_cluster.admin.get(path, headers=headers).content
                )
    finally:
        real_cluster.delete(deployment)


@pytest.mark.parametrize("path", ["/api/v1/pods", f"/api/v1/namespaces/{SPACE}/pods/x"])
def test_head_is_authorized_and_then_not_allowed(
    proxy: ProxyProcess, root: httpx.Client, path: str, real_cluster: RealCluster
) -> None:
    with proxy.client(NONE) as none:
        assert none.head(path).status_code == 403
    assert root.head(path).status_code == real_cluster.admin.head(path).status_code == 405


def shape(name: str, namespace: str | None, *, kind: str = "Shape") -> Manifest:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, "spec": {"color": "red"}}


def test_a_custom_resource_is_served_while_it_is_there(
    proxy: ProxyProcess, part: httpx.Client, root: httpx.Client, real_cluster: RealCluster
) -> None:
    """It comes, is deleted under a watch, comes back cluster-scoped and of another kind, and goes."""
    everywhere, here = f"/apis/{GROUP}/v1/shapes", f"/apis/{GROUP}/v1/namespaces/{SPACE}/shapes"
    assert (root.get(everywhere).status_code, part.get(here).status_code) == (404, 404)
    assert part.get(everywhere).status_code == 403

    first = crd("shapes", "Shape", group=GROUP)
    install(real_cluster, first)
    poll(lambda: part.get(everywhere).is_success, timeout_seconds=SECONDS, failure=lambda: part.get(everywhere).text)
    real_cluster.create(shape("hidden", "default"))
    real_cluster.create(shape("seen", SPACE))
    assert [item["metadata"]["name"] for item in part.get(everywhere).json()["items"]] == ["seen"]
    with WatchStream(part, everywhere, {}) as ours, WatchStream(root, everywhere, {}) as roots:
        for stream in (ours, roots):
            stream.take_until(lambda each: each["object"]["metadata"]["name"] == "seen")
        uninstall(real_cluster, first)
        for stream in (ours, roots):
            assert stream.wait_ended(timeout=60) is None
        assert ours.events[-1]["type"] in ("ADDED", "MODIFIED", "DELETED")
        assert {each["object"]["metadata"]["name"] for each in ours.events} == {"seen"}
    poll(lambda: root.get(everywhere).status_code == 404, timeout_seconds=60, failure=lambda: root.get(everywhere).text)
    poll(lambda: part.get(here).status_code == 404, timeout_seconds=60, failure=lambda: part.get(here).text)

    second = crd("shapes", "Figure", scope="Cluster", group=GROUP)
    install(real_cluster, second)
    real_cluster.create(shape("round", None, kind="Figure"))
    poll(lambda: root.get(everywhere).is_success, timeout_seconds=SECONDS, failure=lambda: root.get(everywhere).text)
    listed = root.get(everywhere).json()
    assert (listed["kind"], [item["metadata"]["name"] for item in listed["items"]]) == ("FigureList", ["round"])
    assert root.get(everywhere, params={"resourceVersion": "0"}).json()["kind"] == "FigureList"

    def bookmarked() -> str:
        with WatchStream(root, everywhere, {"allowWatchBookmarks": "1"}) as stream:
            kind: str = stream.take_until(lambda each: each["type"] == "BOOKMARK")[-1]["object"]["kind"]
            return kind

    poll(lambda: bookmarked() == "Figure", timeout_seconds=60, failure=bookmarked)
    assert part.get(everywhere).status_code == 403, "a namespaced grant covers nothing cluster-scoped"
    uninstall(real_cluster, second)
