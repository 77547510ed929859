"""The arguments, answers and exit codes of `policy can-i` and `policy explain`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.policy import policy

POLICY = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: view}
rules:
- {apiGroups: [""], resources: [pods, pods/log], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: devs, namespace: team-a}
subjects: [{kind: Group, name: devs}]
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: discovery}
rules:
- {nonResourceURLs: [/version], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: discovery}
subjects: [{kind: Group, name: "system:authenticated"}]
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: discovery}
---
apiVersion: watchkeeper.io/v1alpha1
kind: ClusterRole
metadata: {name: own}
rules:
- apiGroups: [""]
  resources: [secrets]
  verbs: [list]
  labelSelector: {matchLabels: {team: "${user.extra[team]}", uid: "${user.uid}"}}
---
apiVersion: watchkeeper.io/v1alpha1
kind: ClusterRoleBinding
metadata: {name: own}
namespaceSelector: {matchLabels: {open: "yes"}}
subjects: [{kind: User, name: carol}]
roleRef: {apiGroup: watchkeeper.io, kind: ClusterRole, name: own}
"""
NAMESPACES = '{apiVersion: v1, kind: Namespace, metadata: {name: x, labels: {open: "yes"}}}\n'


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "policy.yaml").write_text(POLICY)
    return folder


def run(*arguments: str | Path, stdin: str = "") -> Result:
    return CliRunner().invoke(policy, list(map(str, arguments)), input=stdin)


@pytest.mark.parametrize(
    ("question", "word", "code"),
    [
        (["--as-group", "devs", "list", "pods"], "yes (filtered)", 0),
        (["--as-group", "devs", "list", "pods", "-n", "team-a"], "yes", 0),
        (["--as-group", "devs", "get", "pods/x", "-n", "team-a", "--subresource", "log"], "yes", 0),
        (["--as-group", "devs", "get", "pods/x", "-n", "team-b"], "no", 1),
        (["--as-group", "devs", "list", "nodes"], "no", 1),
        (["list", "pods"], "no", 1),
        (["get", "/version"], "yes", 0),
        (["get", "/metrics"], "no", 1),
    ],
)
def test_can_i_says_yes_filtered_or_no_and_exits_accordingly(
    policies: Path, question: list[str], word: str, code: int
) -> None:
    result = run("can-i", "--policies", policies, "--as", "bob", *question)
    assert (result.stdout.splitlines()[0], result.exit_code) == (word, code)
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == ""


def test_who_asks_can_be_told_in_full(policies: Path, tmp_path: Path) -> None:
    (tmp_path / "namespaces.yaml").write_text(NAMESPACES)
    carol = ["--as", "carol", "--as-uid", "u1", "--as-extra", "team=blue"]
    asked = ["can-i", f"--policies={policies}", f"--namespaces={tmp_path}/namespaces.yaml", "list", "secrets"]
    assert run(*asked, *carol).stdout.startswith("yes (filtered)\n")
    assert run(*asked, "--as", "carol", "--as-uid", "u1").stdout.startswith("no\n")
    assert run(*asked, *carol, "--as-extra", "team=red").stdout.startswith("no\n")
    without_labels = run("can-i", "--policies", policies, *carol, "list", "secrets")
    assert (without_labels.exit_code, "--namespaces" in without_labels.stdout) == (1, True)


def test_explain_tells_a_request_that_is_refused_as_it_stands(policies: Path) -> None:
    result = run("explain", "--policies", policies, "--as", "bob", "/api/v1/../secrets")
    assert result.stdout.splitlines()[0] == "answer: no"
    assert " 400 " in result.stdout
    assert " 405 " in run("explain", "--policies", policies, "--as", "bob", "--method", "FOO", "/api").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["can-i", "list", "pods"], "--policies"),
        (["can-i", "--policies", "{policies}", "list", "pods"], "--as"),
        (["can-i", "--policies", "{policies}", "--as", "bob"], "VERB"),
        (["can-i", "--policies", "{policies}", "--as", "bob", "list", "pods/"], "RESOURCE"),
        (["can-i", "--policies", "{policies}", "--as", "bob", "--as-extra", "x", "list", "pods"], "KEY=VALUE"),
        (["can-i", "--policies", "{policies}", "--as", "bob", "--batch", "-"], "--batch"),
        (["can-i", "--policies", "{policies}", "--batch", "/nowhere"], "/nowhere"),
        (["can-i", "--policies", "/nowhere", "--as", "bob", "list", "pods"], "/nowhere"),
        (
            ["can-i", "--policies", "{policies}", "--namespaces", "{policies}/policy.yaml", "--as", "b", "get", "x"],
            "kind",
        ),
        (["explain", "--policies", "{policies}", "--as", "bob"], "TARGET"),
        (["explain", "--policies", "{policies}", "/api"], "--as"),
    ],
)
def test_what_keeps_a_question_from_an_answer_exits_with_2(policies: Path, arguments: list[str], message: str) -> None:
    result = run(*(argument.format(policies=policies) for argument in arguments))
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert isinstance(result.exception, SystemExit)
