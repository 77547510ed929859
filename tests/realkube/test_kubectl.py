"""kubectl as it comes, through the proxy with the example policies, in front of a real kube-apiserver."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.identities import Identity
from tests.support.kubectl import KubectlStream, kubectl
from tests.support.manifests import config_map, pod
from tests.support.polling import poll
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster

EXAMPLES = Path(__file__).parents[2] / "policies"
SHOW_ALL = "--show-managed-fields"  # kubectl hides them from people
NAMESPACES = ("team-a", "team-b", "team-c")

ALICE = Identity(name="alice")
BOB = Identity(name="bob")
NODE1 = Identity(name="system:node:node1", groups=("system:nodes",))
ADMIN = Identity(name="root", groups=("watchkeeper:admins",))
BY_TOKEN = {each.name: Identity(name=each.name, groups=each.groups, token=f"{each.name}-t") for each in
            (ALICE, BOB, NODE1, ADMIN)}  # fmt: skip


def example_policies() -> dict[str, list[dict[str, object]]]:
    """All objects of `policies/`, by file."""
    return {
        f"{path.parent.name}-{path.name}": list(yaml.safe_load_all(path.read_text()))
        for path in EXAMPLES.rglob("*.yaml")
        if path.name != "tests.yaml"
    }


@pytest.fixture(scope="module")
def proxy(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """The proxy with the example policies, and a pod in each team's namespace; team-a's runs on node1."""
    for namespace in NAMESPACES:
        real_cluster.create_namespace(namespace)
        real_cluster.create(pod("web", namespace, node="node1" if namespace == "team-a" else "node2"))
        real_cluster.create(config_map("settings", namespace, data={"secret-of": namespace}))
    directory = tmp_path_factory.mktemp("kubectl")
    with ProxyProcess(real_cluster, directory, example_policies(), tokens=list(BY_TOKEN.values())) as process:
        yield process
    for namespace in NAMESPACES:
        real_cluster.delete_namespace(namespace)


@pytest.fixture(params=["certificate", "token"])
def credential(request: pytest.FixtureRequest) -> str:
    """How a caller proves itself."""
    how: str = request.param
    return how


def _kubeconfig(proxy: ProxyProcess, identity: Identity, credential: str, namespace: str = "default") -> Path:
    return proxy.kubeconfig(identity if credential == "certificate" else BY_TOKEN[identity.name], namespace=namespace)


@pytest.mark.parametrize(
    ("identity", "seen"),
    [
        (ALICE, {"team-a", "team-c"}),
        (BOB, {"team-b"}),
        (NODE1, {"team-a"}),
        (ADMIN, {"team-a", "team-b", "team-c"}),
    ],
    ids=lambda value: value.name if isinstance(value, Identity) else "",
)
def test_get_all_namespaces_shows_exactly_what_the_caller_may_see(
    proxy: ProxyProcess, identity: Identity, seen: set[str], credential: str
) -> None:
    done = kubectl(_kubeconfig(proxy, identity, credential), "get", "pods", "-A", "--no-headers")
    assert done.returncode == 0, done.stderr
    shown = {line.split()[0] for line in done.stdout.splitlines()}
    assert shown & set(NAMESPACES) == seen
    assert "web" in done.stdout


def test_get_prints_the_servers_columns(proxy: ProxyProcess) -> None:
    done = kubectl(proxy.kubeconfig(ALICE), "get", "pods", "-A", "-o", "wide")
    header, *rows = done.stdout.splitlines()
    assert header.split()[:5] == ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS"]
    assert any("node1" in row for row in rows)


def test_get_as_yaml_is_the_object_the_api_server_has(proxy: ProxyProcess, real_cluster: RealCluster) -> None:
    done = kubectl(proxy.kubeconfig(ALICE), "get", "pod", "web", "-n", "team-a", "-o", "yaml", SHOW_ALL)
    assert yaml.safe_load(done.stdout) == real_cluster.get(pod("web", "team-a"))


def test_a_list_as_yaml_holds_the_visible_objects_whole(proxy: ProxyProcess, real_cluster: RealCluster) -> None:
    done = kubectl(proxy.kubeconfig(NODE1), "get", "pods", "-A", "-o", "json", SHOW_ALL)
    assert json.loads(done.stdout)["items"] == [real_cluster.get(pod("web", "team-a"))]


def test_describe_works_with_what_is_visible(proxy: ProxyProcess, credential: str) -> None:
    done = kubectl(_kubeconfig(proxy, ALICE, credential), "describe", "pod", "web", "-n", "team-a")
    assert done.returncode == 0, done.stderr
    assert "registry.example/app:1" in done.stdout


def test_get_namespaces_shows_the_namespaces_of_the_caller(proxy: ProxyProcess) -> None:
    done = kubectl(proxy.kubeconfig(ALICE), "get", "namespaces", "-o", "name")
    assert done.stdout.split() == ["namespace/team-a", "namespace/team-c"]


def test_a_label_selector_of_the_client_narrows_what_is_visible(proxy: ProxyProcess) -> None:
    done = kubectl(proxy.kubeconfig(ALICE), "get", "pods", "-A", "-o", "name", "-l", "no=such")
    assert (done.returncode, done.stdout) == (0, "")


def test_watch_shows_what_is_visible_live_and_nothing_else(
    proxy: ProxyProcess, real_cluster: RealCluster, credential: str
) -> None:
    """The promise of the product, for a certificate and for a token."""
    arguments = ("get", "pods", "-A", "--watch", "--no-headers")
    names = [f"{letter}-{credential}" for letter in "xyz"]
    with KubectlStream(_kubeconfig(proxy, ALICE, credential), *arguments) as stream:
        stream.take_until(lambda line: line.startswith("team-c"))
        for name, namespace in zip(names, NAMESPACES, strict=True):
            real_cluster.create(pod(name, namespace))
        stream.take_until(lambda line: line.split()[:2] == ["team-c", names[2]])
        for name, namespace in zip(names, NAMESPACES, strict=True):
            real_cluster.delete(pod(name, namespace))
        stream.take_until(lambda line: line.split()[:2] == ["team-c", names[2]] and "Terminating" in line)
        assert {line.split()[0] for line in stream.lines} == {"team-a", "team-c"}
        assert [line.split()[1] for line in stream.lines if line.startswith("team-a")].count(names[0]) >= 2
        assert stream.errors == []


def test_watch_of_one_name_prints_its_changes(proxy: ProxyProcess, real_cluster: RealCluster) -> None:
    """kubectl gets the object, then watches it from any resourceVersion: a change in between is not printed."""
    with KubectlStream(proxy.kubeconfig(ALICE), "get", "pod", "web", "-n", "team-a", "--watch") as stream:
        stream.take_until(lambda line: line.startswith("web"))

        def changed() -> bool:
            real_cluster.patch(pod("web", "team-a"), {"status": {"phase": "Running"}}, subresource="status")
            real_cluster.patch(pod("web", "team-a"), {"status": {"phase": "Pending"}}, subresource="status")
            return any("Running" in line for line in stream.lines)

        poll(changed, timeout_seconds=30, failure=lambda: f"{stream.lines} {stream.errors}")


def test_a_pod_that_leaves_the_selector_is_shown_as_deleted_to_the_node(
    proxy: ProxyProcess, real_cluster: RealCluster
) -> None:
    """spec.nodeName cannot change, so the pod is deleted and comes back elsewhere under the same name."""
    arguments = ("get", "pods", "-A", "--watch", "--output-watch-events", "-o", "json")
    real_cluster.create(pod("moving", "team-b", node="node1"))
    with KubectlStream(proxy.kubeconfig(NODE1), *arguments) as stream:
        stream.take_until(lambda line: '"moving"' in line)
        real_cluster.delete(pod("moving", "team-b"))
        stream.take_until(lambda line: '"DELETED"' in line)
        real_cluster.create(pod("moving", "team-b", node="node2"))
        real_cluster.create(pod("last", "team-b", node="node1"))
        stream.take_until(lambda line: '"last"' in line)
        assert not any("node2" in line for line in stream.lines)
    for name in ("moving", "last"):
        real_cluster.delete(pod(name, "team-b"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("get", "pods", "-n", "team-a"),
            'pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "team-a"',
        ),
        (
            ("get", "nodes"),
            'nodes is forbidden: User "bob" cannot list resource "nodes" in API group "" at the cluster scope',
        ),
        (
            ("get", "deployments.apps", "web", "-n", "team-a"),
            'deployments.apps "web" is forbidden: User "bob" cannot get resource "deployments" in API group "apps" '
            'in the namespace "team-a"',
        ),
        (
            ("get", "secrets", "-A"),
            'secrets is forbidden: User "bob" cannot list resource "secrets" in API group "" at the cluster scope',
        ),
    ],
)
def test_a_refusal_reads_as_kubernetes_own(
    proxy: ProxyProcess, arguments: tuple[str, ...], sentence: str, credential: str
) -> None:
    done = kubectl(_kubeconfig(proxy, BOB, credential), *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip() == f"Error from server (Forbidden): {sentence}"


def test_what_is_hidden_and_what_is_absent_are_refused_alike(proxy: ProxyProcess) -> None:
    """No telling which names exist: node1 may get pods of its own node only, whatever they are called."""
    hidden = kubectl(proxy.kubeconfig(NODE1), "get", "pod", "web", "-n", "team-b")
    absent = kubectl(proxy.kubeconfig(NODE1), "get", "pod", "gone", "-n", "team-b")
    assert hidden.stderr.replace("web", "gone") == absent.stderr
    assert "forbidden" in absent.stderr


def test_a_caller_without_credentials_is_unauthorized(proxy: ProxyProcess) -> None:
    with proxy.client(None) as client:
        answer = client.get("/api/v1/pods")
    assert answer.status_code == 401
    assert answer.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    }


def test_an_edit_of_the_policy_folder_ends_the_watch_of_a_revoked_caller(
    proxy: ProxyProcess, real_cluster: RealCluster
) -> None:
    """kubectl's watch ends when the grant goes, and a new one shows the rest."""
    policies = example_policies()
    with KubectlStream(proxy.kubeconfig(ALICE), "get", "pods", "-A", "--watch", "--no-headers") as stream:
        stream.take_until(lambda line: line.startswith("team-c"))
        without = {
            name: [each for each in objects if each["metadata"] != {"name": "alice", "namespace": "team-c"}]
            for name, objects in policies.items()
        }
        proxy.write_policies(without)
        try:
            real_cluster.create(pod("after", "team-c"))
            stream.wait()
            assert not any("after" in line for line in stream.lines)
            done = kubectl(proxy.kubeconfig(ALICE), "get", "pods", "-A", "--no-headers")
            assert {line.split()[0] for line in done.stdout.splitlines()} == {"team-a"}
        finally:
            proxy.write_policies(policies)
            real_cluster.delete(pod("after", "team-c"))


def test_a_bad_policy_file_leaves_the_last_good_policy_serving(proxy: ProxyProcess) -> None:
    bad = proxy.policies / "bad.yaml"
    bad.write_text("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: x}\nrulez: []\n")
    try:
        poll(
            lambda: "the last good policy stays in force: bad.yaml:" in proxy.log.read_text(),
            timeout_seconds=15,
            failure=proxy.log.read_text,
        )
        done = kubectl(proxy.kubeconfig(BOB), "get", "pods", "-A", "--no-headers")
        assert {line.split()[0] for line in done.stdout.splitlines()} == {"team-b"}
    finally:
        bad.unlink()


def test_one_caller_cannot_take_everything(
    proxy: ProxyProcess, real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """429 with Retry-After for the watch too many; the caller's other requests and other callers go on."""
    flags = ["--max-watches-per-user", "1"]
    with (
        ProxyProcess(real_cluster, tmp_path_factory.mktemp("limits"), example_policies(), flags=flags) as limited,
        limited.client(ALICE) as alice,
        limited.client(BOB) as bob,
        alice.stream("GET", "/api/v1/pods?watch=true"),
    ):
        refused = alice.get("/api/v1/pods?watch=true")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["reason"] == "TooManyRequests"
        assert alice.get("/api/v1/pods").status_code == 200
        with bob.stream("GET", "/api/v1/pods?watch=true") as other:
            assert other.status_code == 200
