"""check: what loading finds, and what time does."""

from __future__ import annotations

import json

import pytest

from proxy.policy.findings import Severity
from proxy.policytools.check import check
from tests.support.policy_files import with_binding

EXPIRES_AT = 1814313600.0  # 2027-06-30T00:00:00Z
EXPIRING = {"p.yaml": with_binding("expires: 2027-06-30T00:00:00Z").encode()}


def test_an_expired_binding_is_a_warning_from_its_second_on() -> None:
    assert check(EXPIRING, EXPIRES_AT - 0.001).findings == ()
    result = check(EXPIRING, EXPIRES_AT)
    assert [str(finding) for finding in result.findings] == [
        "p.yaml:1:1: warning: ClusterRoleBinding `b` has expired and grants nothing"
    ]
    assert (result.count(Severity.ERROR), result.count(Severity.WARNING)) == (0, 1)


def test_an_expired_binding_is_told_beside_errors_in_order() -> None:
    result = check({"a.yaml": b"x", **EXPIRING, "z.yaml": b"y"}, EXPIRES_AT)
    assert [finding.position.file for finding in result.findings] == ["a.yaml", "p.yaml", "z.yaml"]
    assert (result.count(Severity.ERROR), result.count(Severity.WARNING)) == (2, 1)


def test_files_roles_and_bindings_are_counted() -> None:
    result = check(EXPIRING, 0.0)
    assert (result.files, result.roles, result.bindings) == (1, 1, 1)


def test_the_last_moment_of_the_calendar_can_be_told() -> None:
    files = {"p.yaml": with_binding("expires: 9999-12-31T23:59:59-23:59").encode()}
    assert check(files, 0.0).findings == ()
    assert len(check(files, float("inf")).findings) == 1


def warnings_of(group: str, resource: str) -> list[str]:
    """What is said of a rule for one resource, without the position."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "r"},
        "rules": [{"apiGroups": [group], "resources": [resource], "verbs": ["get"]}],
    }
    return [finding.message for finding in check({"r.json": json.dumps(role).encode()}, 0.0).findings]


@pytest.mark.parametrize(
    ("resource", "hint"),
    [
        ("pod", ", did you mean `pods`?"),
        ("deployments", ", did you mean apiGroup `apps`?"),
        ("ingress", ""),
        ("deployments/scale", ", did you mean apiGroup `apps`?"),
    ],
)
def test_a_resource_that_the_core_group_does_not_have_is_told(resource: str, hint: str) -> None:
    name = resource.partition("/")[0]
    assert warnings_of("", resource) == [f'apiGroup `""` has no resource `{name}`, which grants nothing{hint}']


@pytest.mark.parametrize(
    ("group", "resource"),
    [("", "pods"), ("", "pods/log"), ("", "*"), ("", "users"), ("apps", "deployments"), ("example.com", "anything")],
)
def test_what_there_is_or_may_be_is_not(group: str, resource: str) -> None:
    assert warnings_of(group, resource) == []
