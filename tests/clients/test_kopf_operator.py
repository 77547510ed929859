"""A kopf operator that reads and writes: its handlers run for what its user may see, and for nothing else."""

import sys
from collections.abc import Iterator

import pytest

from tests.clients.program import PROGRAMS, Library, Program
from tests.clients.stage import BLUE, GREEN, POLICIES, RED, Stage
from tests.support.grants import grant, rule
from tests.support.identities import Identity
from tests.support.manifests import Manifest, config_map
from tests.support.objects import RefusedError
from tests.support.polling import poll

OPAL = Identity(name="opal")
RULES = (
    rule("configmaps", verbs=("get", "list", "watch", "patch")),
    rule("events", verbs=("create",)),
    rule("events", groups=("events.k8s.io",), verbs=("create",)),
)
OPERATOR = Library(name="kopf-operator", command=(sys.executable, PROGRAMS / "kopf_operator.py"))
GONE_SECONDS = 30.0


@pytest.fixture
def operator(stage: Stage) -> Iterator[Program]:
    """It may see and patch ConfigMaps of two namespaces. One that it may see is there, and one that it may not."""
    for space in (RED, BLUE):
        stage.cluster.grant(OPAL, RULES, namespace=space)
    policy = [each for space in (RED, BLUE) for each in grant("opal", *RULES, namespace=space)]
    stage.write_policies({**POLICIES, "opal.yaml": policy})
    for space in (BLUE, GREEN):
        stage.cluster.create(greeted("early", space))
    kubeconfig = stage.cluster.kubeconfig(OPAL, server=stage.cable.url)
    with Program(OPERATOR, kubeconfig) as program:
        yield program
    for space in (RED, BLUE):  # nobody else takes away its finalizers
        for item in stage.cluster.admin.get(f"/api/v1/namespaces/{space}/configmaps").json()["items"]:
            stage.cluster.patch(greeted(item["metadata"]["name"], space), {"metadata": {"finalizers": None}})


def greeted(name: str, space: str) -> Manifest:
    return config_map(name, space, labels={"greet": "yes"}, data={"value": f"{space}-1"})


def test_an_operator_handles_what_its_user_may_see(operator: Program, stage: Stage) -> None:
    cluster = stage.cluster
    operator.take_until(lambda said: said == {"said": "greeted", "name": "early"})
    cluster.create(greeted("late", GREEN))
    cluster.create(greeted("late", RED))
    operator.take_until(lambda said: said == {"said": "greeted", "name": "late"})
    annotations = wait_for_annotation(stage, greeted("late", RED))
    assert annotations["example.test/greeted"] == "late"
    for space in (GREEN, RED):
        cluster.patch(greeted("late", space), {"data": {"value": f"{space}-2"}})
    operator.take_until(lambda said: said == {"said": "followed", "name": "late", "old": f"{RED}-1", "new": f"{RED}-2"})
    cluster.delete(greeted("late", RED))
    operator.take_until(lambda said: said == {"said": "left", "name": "late"})
    poll(
        lambda: is_gone(stage, greeted("late", RED)),
        timeout_seconds=GONE_SECONDS,
        failure=lambda: "the finalizer stays",
    )
    assert "annotations" not in cluster.get(greeted("late", GREEN))["metadata"]
    assert [said["said"] for said in operator.said] == ["greeted", "greeted", "followed", "left"]


def wait_for_annotation(stage: Stage, manifest: Manifest) -> dict[str, str]:
    def read() -> dict[str, str]:
        annotations: dict[str, str] = stage.cluster.get(manifest)["metadata"].get("annotations", {})
        return annotations

    return poll(read, timeout_seconds=GONE_SECONDS, failure=lambda: "the operator's patch does not arrive")


def is_gone(stage: Stage, manifest: Manifest) -> bool:
    try:
        stage.cluster.get(manifest)
    except RefusedError as error:
        return error.code == 404
    return False
