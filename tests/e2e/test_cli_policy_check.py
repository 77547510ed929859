"""`watchkeeper policy check`, as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "policies"
WARNING = """\
apiVersion: watchkeeper.io/v1alpha1
kind: ClusterRoleBinding
metadata: {name: b}
expires: 2020-01-01T00:00:00Z
roleRef: {apiGroup: watchkeeper.io, kind: ClusterRole, name: missing}
"""


def policy_check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from proxy.cli.main import main; main(prog_name='watchkeeper')",
        "policy",
        "check",
    ]
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=EXAMPLES.parent, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_examples_pass_strictly() -> None:
    result = policy_check("--strict", EXAMPLES)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "12 files with 13 roles and 16 bindings: 0 errors, 0 warnings\n"


def test_findings_go_to_stdout_one_a_line_and_an_error_fails(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "roles.yaml").write_text("apiVersion: v1\nkind: Role\n---\n- a\n")
    (tmp_path / "b.json").write_text("{")
    result = policy_check(tmp_path)
    assert result.returncode == 1
    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == [
        f"{tmp_path}/b.json:1:2",
        f"{tmp_path}/team/roles.yaml:1:13",
        f"{tmp_path}/team/roles.yaml:4:1",
    ]
    assert result.stderr == "2 files with 0 roles and 0 bindings: 3 errors, 0 warnings\n"


def test_warnings_fail_only_when_strict(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(WARNING)
    result = policy_check(tmp_path)
    assert result.returncode == 0
    assert result.stdout.splitlines() == [
        f"{tmp_path}/p.yaml:1:1: warning: ClusterRoleBinding `b` has expired and grants nothing",
        f"{tmp_path}/p.yaml:5:10: warning: no ClusterRole `missing` of apiGroup `watchkeeper.io`, "
        "so this binding grants nothing",
    ]
    assert policy_check(tmp_path, "--strict").returncode == 1


def test_a_missing_or_empty_folder_is_one_clear_line(tmp_path: Path) -> None:
    for folder, message in (
        (tmp_path / "missing", f"Error: {tmp_path / 'missing'}: no such file or directory\n"),
        (tmp_path, f"Error: {tmp_path}: holds no policy file (*.yaml, *.yml, *.json)\n"),
    ):
        result = policy_check(folder)
        assert (result.returncode, result.stdout, result.stderr) == (1, "", message)


def test_wrong_usage_exits_with_2() -> None:
    assert policy_check().returncode == 2
    assert policy_check(EXAMPLES, "--stritc").returncode == 2
