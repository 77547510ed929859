"""`watchkeeper policy can-i` and `policy explain`, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.test_policy_questions import POLICY


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "policy.yaml").write_text(POLICY)
    return folder


def run(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from proxy.cli.main import main; main(prog_name='watchkeeper')", "policy"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_can_i_says_yes_or_no_and_exits_accordingly(policies: Path) -> None:
    asked = ["can-i", f"--policies={policies}", "--as=bob", "--as-group=devs", "list", "pods", "-n"]
    yes, no = run(*asked, "team-a"), run(*asked, "team-b")
    assert (yes.stdout.splitlines()[0], yes.returncode, yes.stderr) == ("yes", 0, "")
    assert (no.stdout.splitlines()[0], no.returncode, no.stderr) == ("no", 1, "")


def test_can_i_answers_a_batch_line_by_line(policies: Path, tmp_path: Path) -> None:
    question = {"user": "bob", "groups": ["devs"], "resourceAttributes": {"verb": "list", "resource": "pods"}}
    url = {"user": "bob", "nonResourceAttributes": {"verb": "get", "path": "/version"}}
    lines = "\n".join([json.dumps(question), "nonsense", json.dumps(url)])
    from_stdin = run("can-i", "--policies", policies, "--batch", "-", stdin=lines)
    (tmp_path / "batch").write_text(lines + "\n")
    assert from_stdin.stdout == run("can-i", "--policies", policies, "--batch", tmp_path / "batch").stdout
    answers = [json.loads(line) for line in from_stdin.stdout.splitlines()]
    assert [answer["scope"] for answer in answers] == [[{"namespaces": ["team-a"]}], None, None]
    assert [answer["allowed"] for answer in answers] == [True, False, False]
    assert answers[1]["reason"].startswith("line 2: ")
    assert from_stdin.returncode == 0


def test_explain_shows_rules_answer_and_scope(policies: Path) -> None:
    result = run("explain", "--policies", policies, "--as", "bob", "--as-group", "devs", "/api/v1/pods?watch=1")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0] == 'question: watch pods in API group "" across all namespaces'
    assert "    rule policy.yaml:5:3: applies: namespaces team-a" in lines
    assert lines[-3:] == [
        "answer: yes (filtered)",
        'reason: RBAC: allowed by RoleBinding "devs/team-a" of ClusterRole "view" to Group "devs"',
        "scope: namespaces team-a",
    ]


def test_explain_answers_a_batch_of_requests(policies: Path) -> None:
    lines = '{"method": "GET", "target": "/version"}\n{"method": "GET", "target": "/api/v1//pods"}\n'
    result = run("explain", "--policies", policies, "--as", "bob", "--batch", "-", stdin=lines)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(answer["status"], answer["request"] is None) for answer in answers] == [(200, False), (400, True)]


def test_a_policy_with_an_error_answers_nothing_and_its_errors_are_told(policies: Path) -> None:
    (policies / "bad.yaml").write_text("apiVersion: v1\nkind: Role\n")
    result = run("can-i", "--policies", policies, "--as", "bob", "get", "/version")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("bad.yaml:1:13: ")
