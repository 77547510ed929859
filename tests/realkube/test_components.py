"""A cluster whose components speak to the proxy alone, each under the policy in `policies/` that is for it.

kube-controller-manager, kube-scheduler and two kubelets (kubemark's: their containers exist in name only) make the pods
of a Deployment and run them. What they asked is in the proxy's audit log: the policies refuse nothing of it.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping

import httpx
import pytest
import yaml

from tests.support.binaries import Binaries
from tests.support.component_cluster import COMPONENTS, NODES, POLICIES, SCHEDULER, Stage, component_cluster
from tests.support.identities import ADMIN, Identity
from tests.support.manifests import Manifest, config_map, namespace, pod
from tests.support.objects import Objects, RefusedError
from tests.support.polling import poll

WORK_SECONDS = 90.0  # what takes the components a few seconds on an idle machine
SCRAPER = Identity(name="olga", groups=("watchkeeper:admins",))  # a cluster-admin to the proxy, nobody upstream
NOBODY = Identity(name="nora")

WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}}
REPLICAS = 4

# What a policy grants and these tests do not bring about.
NOT_ASKED_HERE: Mapping[str, Mapping[str, str]] = {
    "kube-scheduler": {
        "delete pods": "preemption",
        "patch pods/status": "a pod that finds no place",
        "update persistentvolumeclaims": "volumes that wait for a pod",
        "update persistentvolumes": "volumes that wait for a pod",
        "get resourceclaims.resource.k8s.io": "dynamic resource allocation",
        "patch resourceclaims.resource.k8s.io": "dynamic resource allocation",
        "update resourceclaims.resource.k8s.io": "dynamic resource allocation",
        "patch resourceclaims/binding.resource.k8s.io": "dynamic resource allocation",
        "update resourceclaims/binding.resource.k8s.io": "dynamic resource allocation",
        "patch resourceclaims/status.resource.k8s.io": "dynamic resource allocation",
        "update resourceclaims/status.resource.k8s.io": "dynamic resource allocation",
        "create tokenreviews.authentication.k8s.io": "nobody shows its port a token",
        "get configmaps": "a lookup where the informer has none",
        "patch events": "an event that comes again",
        "patch events.events.k8s.io": "an event that comes again",
    },
    "kubelet": {
        "create pods": "mirrors of static pods",
        "create events": "a hollow kubelet records none",
        "patch events": "a hollow kubelet records none",
        "create events.events.k8s.io": "a hollow kubelet records none",
        "patch events.events.k8s.io": "a hollow kubelet records none",
        "patch nodes": "labels of a kubelet that comes back",
        "update nodes": "labels of a kubelet that comes back",
        "patch csinodes.storage.k8s.io": "drivers that register",
        "update csinodes.storage.k8s.io": "drivers that register",
        "get configmaps": "a kubelet that does not watch",
    },
}


@pytest.fixture(scope="module")
def stage(real_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """All components at work."""
    with component_cluster(tmp_path_factory.mktemp("components"), real_binaries) as stage:
        yield stage


@pytest.fixture(scope="module")
def running_pods(stage: Stage) -> list[Manifest]:
    """The pods of a Deployment, each with a token of its service account and the cluster's CA mounted."""
    volume = {
        "name": "token",
        "projected": {
            "sources": [
                {"serviceAccountToken": {"path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt"}},
            ]
        },
    }
    mounts = [{"name": "token", "mountPath": "/var/run/secrets"}]
    spec = {
        "containers": [{"name": "main", "image": "registry.example/app:1", "volumeMounts": mounts}],
        "serviceAccountName": "default",
        "volumes": [volume],
    }
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": spec}
    selector = {"matchLabels": labels}
    _wait_until_there(stage, *(_named("Node", name) for name in NODES))  # else all pods go to the first
    stage.objects.create({**WEB, "spec": {"replicas": REPLICAS, "selector": selector, "template": template}})

    def all_run() -> list[Manifest]:
        pods = stage.pods(ADMIN)
        return pods if [each["status"]["phase"] for each in pods] == ["Running"] * REPLICAS else []

    return poll(all_run, timeout_seconds=WORK_SECONDS, failure=lambda: json.dumps(stage.pods(ADMIN)))


@pytest.fixture(scope="module")
def deleted_namespace(stage: Stage) -> Manifest:
    """A namespace with something in it, of which the controllers leave nothing."""
    doomed = namespace("doomed")
    stage.objects.create(doomed)
    stage.objects.create(config_map("settings", "doomed", data={"a": "b"}))
    stage.objects.create(pod("alone", "doomed"))
    stage.objects.delete(doomed, grace_period_seconds=30)
    poll(lambda: not stage.exists(doomed), timeout_seconds=WORK_SECONDS, failure=stage.controllers.log_tail)
    return doomed


def test_a_deployment_becomes_running_pods(stage: Stage, running_pods: list[Manifest]) -> None:
    poll(
        lambda: stage.objects.get(WEB)["status"].get("readyReplicas") == REPLICAS,
        timeout_seconds=WORK_SECONDS,
        failure=stage.controllers.log_tail,
    )


def test_a_kubelet_sees_the_pods_of_its_node_and_no_others(stage: Stage, running_pods: list[Manifest]) -> None:
    where = {each["metadata"]["name"]: each["spec"]["nodeName"] for each in running_pods}
    assert set(where.values()) == set(NODES)
    for node, identity in NODES.items():
        seen = {each["metadata"]["name"] for each in stage.pods(identity)}
        assert seen == {name for name, place in where.items() if place == node}


@pytest.mark.parametrize("kind", ["Node", "Lease"])
def test_a_kubelet_can_change_its_own_node_and_lease_and_no_other(
    stage: Stage, running_pods: list[Manifest], kind: str
) -> None:
    own, other = (_named(kind, name) for name in ("hollow-1", "hollow-2"))
    _wait_until_there(stage, own, other)
    with stage.proxy.client(NODES["hollow-1"]) as client:
        objects = Objects(client)

        def replaced() -> bool:
            try:
                objects.replace(stage.objects.get(own))
            except RefusedError as error:
                assert error.code == 409, error  # the kubelet itself was faster
                return False
            return True

        poll(replaced, timeout_seconds=WORK_SECONDS, failure=lambda: "each time somebody else was faster")
        with pytest.raises(RefusedError) as refused:
            objects.replace(stage.objects.get(other))
        assert refused.value.code == 403
        assert f'User "{NODES["hollow-1"].name}" cannot update' in refused.value.status["message"]


def test_a_kubelet_keeps_its_lease(stage: Stage, running_pods: list[Manifest]) -> None:
    lease = _named("Lease", "hollow-1")
    _wait_until_there(stage, lease)
    first = stage.objects.get(lease)["spec"]["renewTime"]
    poll(
        lambda: stage.objects.get(lease)["spec"]["renewTime"] > first,
        timeout_seconds=WORK_SECONDS,
        failure=lambda: f"not renewed since {first}",
    )


def test_a_namespace_is_emptied_and_goes(stage: Stage, deleted_namespace: Manifest) -> None:
    assert not stage.exists(config_map("settings", "doomed", data={}))


def test_pods_go_with_their_deployment(stage: Stage) -> None:
    """The garbage collector deletes them, and the kubelet ends them."""
    other = {**WEB, "metadata": {"name": "brief", "namespace": "default"}}
    labels = {"app": "brief"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": "registry.example/app:1"}]},
    }
    stage.objects.create({**other, "spec": {"selector": {"matchLabels": labels}, "template": template}})

    def brief_pods() -> list[Manifest]:
        return [each for each in stage.pods(ADMIN) if each["metadata"]["name"].startswith("brief")]

    poll(
        lambda: [each["status"]["phase"] for each in brief_pods()] == ["Running"],
        timeout_seconds=WORK_SECONDS,
        failure=stage.scheduler.log_tail,
    )
    stage.objects.delete(other, grace_period_seconds=30)
    poll(lambda: not brief_pods(), timeout_seconds=WORK_SECONDS, failure=stage.controllers.log_tail)


def test_components_ask_the_proxy_who_may_ask_them(stage: Stage, running_pods: list[Manifest]) -> None:
    """They take the CA of clients from a ConfigMap, and a SubjectAccessReview says yes by the proxy's policy."""
    for component in (stage.scheduler, stage.controllers):
        assert component.port is not None
        url = f"https://127.0.0.1:{component.port.number}/metrics"
        for identity, code in ((SCRAPER, 200), (NOBODY, 403)):
            certificate = stage.cluster.client_certificate(identity.name, identity.groups)
            context = stage.cluster.pki.client_context(certificate)
            context.check_hostname = False
            context.verify_mode = 0  # type: ignore[assignment]  # it serves with a certificate it made itself
            with httpx.Client(verify=context, trust_env=False) as client:
                assert client.get(url).status_code == code, component.log_tail()


def test_all_that_components_say_comes_through_the_proxy(
    stage: Stage, running_pods: list[Manifest], deleted_namespace: Manifest
) -> None:
    events = stage.cluster.audit_events()
    assert {event["user"]["username"] for event in events}.isdisjoint(COMPONENTS)
    assert {event["impersonatedUser"]["username"] for event in events if "impersonatedUser" in event} >= COMPONENTS


def test_the_policies_refuse_nothing_that_components_ask(
    stage: Stage, running_pods: list[Manifest], deleted_namespace: Manifest
) -> None:
    """But for what these tests themselves asked in a node's name."""
    refused = [
        (user, event["verb"], event["requestURI"])
        for user, event in stage.asked()
        if event["annotations"].get("authorization.k8s.io/decision") != "allow"
        and not event["userAgent"].startswith("python-httpx")
    ]
    assert refused == []


@pytest.mark.parametrize("role", NOT_ASKED_HERE)
def test_a_policy_grants_what_is_asked_and_what_has_a_reason(
    stage: Stage, running_pods: list[Manifest], deleted_namespace: Manifest, role: str
) -> None:
    """An informer that is refused a watch with initial events lists first: `list` counts as asked with `watch`.

    kube-controller-manager is left out: it has `*`, and each of its fifty controllers would need a scene.
    """
    users = {SCHEDULER.name} if role == "kube-scheduler" else {each.name for each in NODES.values()}
    asked = defaultdict(set)
    for user, event in stage.asked():
        if user in users and "objectRef" in event:
            asked[_resource_of(event["objectRef"])].add(event["verb"])
    unasked = {
        f"{verb} {resource}"
        for verb, resource in _granted(role)
        if verb not in asked[resource] and not (verb == "list" and "watch" in asked[resource])
    }
    assert unasked <= NOT_ASKED_HERE[role].keys()


def _named(kind: str, node: str) -> Manifest:
    if kind == "Node":
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}
    metadata = {"name": node, "namespace": "kube-node-lease"}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}


def _wait_until_there(stage: Stage, *manifests: Manifest) -> None:
    poll(
        lambda: all(stage.exists(each) for each in manifests),
        timeout_seconds=WORK_SECONDS,
        failure=lambda: f"not all are there: {manifests}",
    )


def _granted(folder: str) -> Iterator[tuple[str, str]]:
    """(verb, resource) of every rule in a folder of `policies/`."""
    for path in (POLICIES / folder).glob("*.yaml"):
        for manifest in yaml.safe_load_all(path.read_text()):
            for rule in manifest.get("rules", ()):
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        for verb in rule["verbs"]:
                            yield verb, ".".join(filter(None, (resource, group)))


def _resource_of(reference: Mapping[str, str]) -> str:
    resource = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
    return ".".join(filter(None, (resource, reference.get("apiGroup"))))
