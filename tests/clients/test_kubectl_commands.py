"""kubectl's everyday commands, by a caller who may see two namespaces of four and write to one of them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import pytest
import yaml

from tests.clients.stage import BLUE, GREEN, RED, Stage, example_policy
from tests.support.grants import grant, rule
from tests.support.identities import Identity
from tests.support.kubectl import KubectlStream, kubectl
from tests.support.kubelet import Kubelet
from tests.support.manifests import Manifest, config_map, pod
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.watching import WatchStream

KAY = Identity(name="kay")
READS = rule("*", groups=("", "apps"))
WRITES = rule("*", groups=("", "apps"), verbs=("*",))
NODE = "kubectl-node"
Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def kay(cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A kubeconfig for a proxy with kay's policy; the API server lets kay write as well."""
    cluster.grant(KAY, [WRITES], namespace=RED)
    policies = {
        "kay.yaml": [*grant("kay", WRITES, namespace=RED), *grant("kay", READS, namespace=BLUE)],
        "discovery.yaml": example_policy("discovery/discovery.yaml"),
        "self-review.yaml": example_policy("discovery/self-review.yaml"),
    }
    with ProxyProcess(cluster, tmp_path_factory.mktemp("kubectl"), policies) as proxy:
        yield proxy.kubeconfig(KAY, namespace=RED)


@pytest.fixture
def run(kay: Path, stage: Stage) -> Run:
    """kubectl as kay, which has to end well unless `status` says otherwise."""

    def run(*arguments: str, status: int = 0) -> CompletedProcess[str]:
        done = kubectl(kay, *arguments)
        assert done.returncode == status, f"{done.stdout}{done.stderr}"
        return done

    return run


def deployment(name: str, namespace: str = RED) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "registry.example/app:1"}]},
            },
        },
    }


@pytest.fixture
def web(cluster: RealCluster) -> Iterator[Manifest]:
    """A Deployment; no controller runs that would do anything about it."""
    manifest = deployment("web")
    cluster.create(manifest)
    yield manifest
    cluster.delete(manifest)


def write(tmp_path: Path, manifest: Manifest) -> str:
    path = tmp_path / "manifest.yaml"
    path.write_text(yaml.safe_dump(manifest))
    return str(path)


def test_describe_over_all_namespaces_tells_of_what_is_visible(run: Run, cluster: RealCluster) -> None:
    """describe asks for events too, which are filtered like the rest."""
    for space in (RED, BLUE, GREEN):
        cluster.create(config_map("settings", space, data={"of": space}))
    shown = run("describe", "configmaps", "-A").stdout
    assert (RED in shown, BLUE in shown, GREEN in shown) == (True, True, False)


def test_describe_of_a_deployment_shows_its_template(run: Run, web: Manifest) -> None:
    shown = run("describe", "deployment", "web").stdout
    assert "registry.example/app:1" in shown


def test_several_kinds_at_once_are_each_filtered(run: Run, web: Manifest, cluster: RealCluster) -> None:
    cluster.create(pod("seen", BLUE))
    cluster.create(pod("unseen", GREEN))
    shown = run("get", "deployments,pods,configmaps", "-A", "-o", "name").stdout.split()
    assert shown == ["deployment.apps/web", "pod/seen"]


def test_chunks_sorting_and_columns_are_as_ever(run: Run, cluster: RealCluster) -> None:
    names = [f"{letter}-settings" for letter in "edcba"]
    for name in names:
        cluster.create(config_map(name, RED, data={}))
        cluster.create(config_map(name, GREEN, data={}))
    columns = ("--sort-by=.metadata.resourceVersion", "-o", "custom-columns=NAME:.metadata.name", "--no-headers")
    assert run("get", "configmaps", "-A", "--chunk-size=2", *columns).stdout.split() == names
    assert len(run("get", "configmaps", "-A", "--chunk-size=2", "--no-headers").stdout.splitlines()) == len(names)


def test_wait_returns_when_a_condition_comes_true(run: Run, kay: Path, cluster: RealCluster) -> None:
    """It lists and watches one name; another object of that name that is hidden does not count."""
    for space in (RED, GREEN):
        cluster.create(pod("slow", space))
    with KubectlStream(kay, "wait", "pod/slow", "--for=jsonpath={.status.phase}=Running", "--timeout=60s") as waiting:
        cluster.patch(pod("slow", GREEN), {"status": {"phase": "Running"}}, subresource="status")
        cluster.patch(pod("slow", RED), {"status": {"phase": "Running"}}, subresource="status")
        assert waiting.wait() == 0
    assert waiting.lines == ["pod/slow condition met"]


def test_wait_for_deletion_returns_when_the_object_is_gone(kay: Path, stage: Stage) -> None:
    gone = config_map("gone", RED, data={})
    stage.cluster.create(gone)
    with KubectlStream(kay, "wait", "configmap/gone", "--for=delete", "--timeout=60s") as waiting:
        stage.cluster.delete(gone)
        assert waiting.wait() == 0
    assert waiting.errors == []


def test_rollout_status_follows_a_deployment_to_its_end(kay: Path, web: Manifest, stage: Stage) -> None:
    def rolled_out(replicas: int) -> dict[str, object]:
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas)
        return {"status": {"observedGeneration": 1, **counts}}

    stage.cluster.patch(web, rolled_out(0), subresource="status")
    with KubectlStream(kay, "rollout", "status", "deployment/web", "--timeout=60s") as rollout:
        rollout.take_until(lambda line: line.startswith("Waiting for deployment"))
        stage.cluster.patch(web, rolled_out(1), subresource="status")
        rollout.take_until(lambda line: "successfully rolled out" in line)
        assert rollout.wait() == 0


def test_apply_on_the_server_and_diff_agree(run: Run, tmp_path: Path) -> None:
    """Server-side apply, its conflict, and a diff (which is a dry run of it)."""
    manifest = config_map("applied", RED, data={"a": "1"})
    assert "serverside-applied" in run("apply", "--server-side", "-f", write(tmp_path, manifest)).stdout
    assert run("diff", "--server-side", "-f", write(tmp_path, manifest)).stdout == ""
    manifest["data"] = {"a": "2"}
    assert '+  a: "2"' in run("diff", "--server-side", "-f", write(tmp_path, manifest), status=1).stdout
    refused = run("apply", "--server-side", "--field-manager=other", "-f", write(tmp_path, manifest), status=1)
    assert 'conflict with "kubectl"' in refused.stderr
    run("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", write(tmp_path, manifest))
    assert json.loads(run("get", "configmap", "applied", "-o", "json").stdout)["data"] == {"a": "2"}


def test_client_side_apply_prunes_what_is_left_out(run: Run, tmp_path: Path) -> None:
    manifest = config_map("classic", RED, data={"a": "1", "b": "2"})
    run("apply", "-f", write(tmp_path, manifest))
    manifest["data"] = {"a": "1"}
    assert "configured" in run("apply", "-f", write(tmp_path, manifest)).stdout
    assert json.loads(run("get", "configmap", "classic", "-o", "json").stdout)["data"] == {"a": "1"}


@pytest.mark.parametrize("kind", ["strategic", "merge", "json"])
def test_every_kind_of_patch_is_passed_on(run: Run, web: Manifest, cluster: RealCluster, kind: str) -> None:
    merge = '{"metadata":{"labels":{"by":"patch"}}}'
    change = '[{"op":"add","path":"/metadata/labels","value":{"by":"patch"}}]' if kind == "json" else merge
    run("patch", "deployment", "web", f"--type={kind}", f"-p={change}")
    assert cluster.get(web)["metadata"]["labels"] == {"by": "patch"}


def test_scale_set_image_and_dry_run(run: Run, web: Manifest, cluster: RealCluster) -> None:
    assert "scaled" in run("scale", "deployment", "web", "--replicas=3", "--current-replicas=1").stdout
    run("set", "image", "deployment/web", "main=registry.example/app:2")
    run("scale", "deployment", "web", "--replicas=9", "--dry-run=server")
    spec = cluster.get(web)["spec"]
    assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]) == (3, "registry.example/app:2")


def test_delete_waits_until_the_object_is_gone(kay: Path, cluster: RealCluster) -> None:
    """A finalizer holds it; kubectl watches until it goes."""
    held = config_map("held", RED, data={})
    cluster.create({**held, "metadata": {**held["metadata"], "finalizers": ["example.test/hold"]}})
    with KubectlStream(kay, "delete", "configmap", "held") as deleting:
        deleting.take_until(lambda line: "deleted" in line)
        assert cluster.get(held)["metadata"]["deletionTimestamp"]
        cluster.patch(held, {"metadata": {"finalizers": None}})
        assert deleting.wait() == 0
    assert deleting.errors == []


def test_delete_by_selector_touches_what_is_selected(run: Run, cluster: RealCluster) -> None:
    for name, labels in (("old-1", {"age": "old"}), ("old-2", {"age": "old"}), ("young", {"age": "young"})):
        cluster.create(config_map(name, RED, labels=labels, data={}))
    assert len(run("delete", "configmaps", "-l", "age=old").stdout.splitlines()) == 2
    assert run("get", "configmaps", "-o", "name").stdout.split() == ["configmap/young"]


def test_run_expose_replace_and_restart(run: Run, web: Manifest, cluster: RealCluster, tmp_path: Path) -> None:
    assert "created" in run("run", "shell", "--image=registry.example/app:1").stdout
    assert "exposed" in run("expose", "deployment", "web", "--port=80").stdout
    assert "deleted" in run("delete", "service", "web").stdout
    assert "restarted" in run("rollout", "restart", "deployment/web").stdout
    run("replace", "-f", write(tmp_path, deployment("web")))
    assert "annotations" not in cluster.get(web)["spec"]["template"]["metadata"]


def test_a_token_of_a_service_account_is_made_upstream(run: Run) -> None:
    run("create", "serviceaccount", "robot")
    assert run("create", "token", "robot").stdout.count(".") == 2
    run("delete", "serviceaccount", "robot")


def test_kubectl_proxy_lets_a_browser_list_and_watch(kay: Path, stage: Stage) -> None:
    """Dashboards are often reached so: plain HTTP up to kubectl, kubectl's credential from there."""
    stage.cluster.create(pod("seen", BLUE))
    stage.cluster.create(pod("unseen", GREEN))
    with KubectlStream(kay, "proxy", "--port=0") as serving:
        [line] = serving.take_until(lambda line: line.startswith("Starting to serve on "))
        with httpx.Client(base_url=f"http://{line.rsplit(' ', 1)[1]}", trust_env=False) as browser:
            listed = browser.get("/api/v1/pods").raise_for_status().json()
            assert [item["metadata"]["name"] for item in listed["items"]] == ["seen"]
            with WatchStream(
                browser, "/api/v1/pods", {"resourceVersion": listed["metadata"]["resourceVersion"]}
            ) as watch:
                stage.cluster.create(pod("unseen-too", GREEN))
                stage.cluster.create(pod("new", BLUE))
                [event] = watch.take_until(lambda event: bool(event["object"]["metadata"]["name"] == "new"))
                assert event["type"] == "ADDED"


def test_what_discovery_and_the_schema_tell_is_there(run: Run) -> None:
    assert {"pods", "deployments.apps"} <= set(run("api-resources", "-o", "name").stdout.split())
    assert {"v1", "apps/v1"} <= set(run("api-versions").stdout.split())
    assert "PodSpec is a description of a pod." in run("explain", "pod.spec").stdout
    assert "v1.36" in run("version").stdout


def test_auth_can_i_says_what_would_be_answered(run: Run) -> None:
    assert run("auth", "can-i", "list", "pods", "-A").stdout.strip() == "yes"
    assert run("auth", "can-i", "delete", "pods", "-n", BLUE, status=1).stdout.strip() == "no"
    assert "kay" in run("auth", "whoami").stdout


def test_logs_are_followed_line_by_line(kay: Path, stage: Stage) -> None:
    """Each line comes through as it is written, and the end ends it."""
    with Kubelet(stage.cluster.pki) as kubelet:
        node, address = kubelet.node(NODE)
        stage.cluster.create(node)
        stage.cluster.patch(node, address, subresource="status")
        stage.cluster.create(pod("talks", RED, node=NODE))
        stage.cluster.create(pod("talks", GREEN, node=NODE))
        try:
            with KubectlStream(kay, "logs", "--follow", "talks") as logs:
                for line in ("one", "two", "three"):
                    kubelet.write(line)
                    logs.take_until(line.__eq__)
                kubelet.end()
                assert logs.wait() == 0
            done = kubectl(kay, "logs", "talks", "-n", GREEN)
            assert (done.returncode, done.stdout) == (1, "")
            assert "Forbidden" in done.stderr
        finally:
            stage.cluster.delete(node)


@pytest.mark.parametrize(
    "arguments", [("exec", "p", "--", "ls"), ("attach", "p"), ("port-forward", "p", "8080")], ids=lambda each: each[0]
)
def test_what_needs_an_upgrade_is_refused_in_a_sentence(
    run: Run, cluster: RealCluster, arguments: tuple[str, ...]
) -> None:
    """501, by whatever protocol kubectl asks; it does not hang."""
    cluster.create(pod("p", RED))
    cluster.patch(pod("p", RED), {"status": {"phase": "Running"}}, subresource="status")
    refused = run(*arguments, status=1)
    assert "upgrades (exec, attach, port-forward, WebSocket) are not served by this proxy" in refused.stderr
