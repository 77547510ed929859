"""Writes by each Python library, in the name of a caller who may write to one namespace and read it in part."""

import sys

import pytest

from tests.clients.program import PROGRAMS, Library, Program
from tests.clients.stage import BLUE, POLICIES, RED, Stage
from tests.support.grants import grant, rule
from tests.support.identities import Identity

WANDA = Identity(name="wanda")
RULES = (rule("configmaps", verbs=("get", "list", "watch", "create", "patch", "delete")),)
every_writer = pytest.mark.parametrize("name", ["kubernetes", "kubernetes-asyncio", "lightkube", "kr8s"])


def writer(stage: Stage, name: str, namespace: str) -> Program:
    library = Library(name=name, command=(sys.executable, PROGRAMS / "writer.py"))
    kubeconfig = stage.cluster.kubeconfig(WANDA, server=stage.proxy.url)
    return Program(library, kubeconfig, "--library", name, "--namespace", namespace)


@pytest.fixture
def allowed(stage: Stage) -> Stage:
    """With the policy that lets wanda write, and the API server's."""
    stage.cluster.grant(WANDA, RULES, namespace=RED)
    stage.write_policies({**POLICIES, "wanda.yaml": grant("wanda", *RULES, namespace=RED)})
    return stage


@every_writer
def test_create_patch_apply_and_delete_come_back_as_from_the_api_server(allowed: Stage, name: str) -> None:
    with writer(allowed, name, RED) as program:
        assert program.wait() == 0, program.errors.read_text()
        assert program.said == [
            {"said": "created", "data": {"value": "created"}},
            {"said": "patched", "data": {"value": "patched"}},
            {"said": "applied", "data": {"value": "patched", "more": "applied"}},
            {"said": "deleted", "status": "Success"},
        ]


@every_writer
def test_a_refusal_is_the_librarys_own_error_with_kubernetes_sentence(allowed: Stage, name: str) -> None:
    with writer(allowed, name, BLUE) as program:
        assert program.wait() == 1
        assert program.said == []
        assert "cannot create resource" in program.errors.read_text()
