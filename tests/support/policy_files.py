"""Policy files written in a test: loaded, and their findings as text."""

from __future__ import annotations

from textwrap import dedent

from proxy.policy.load import Loaded, load_policies
from proxy.policy.model import Binding, PolicySet, Role


def load_text(text: str) -> Loaded:
    """Loads one file named `p.yaml`."""
    return load_policies({"p.yaml": dedent(text).lstrip("\n").encode()})


def findings_of(text: str) -> list[str]:
    """The findings of one file named `p.yaml`."""
    return [str(finding) for finding in load_text(text).findings]


def policy_of(text: str) -> PolicySet:
    """The policy of one file without any finding."""
    loaded = load_text(text)
    assert [str(finding) for finding in loaded.findings] == []
    return loaded.policy


def role_of(text: str) -> Role:
    """The only role of a file without any finding."""
    (role,) = policy_of(text).roles
    return role


def binding_of(text: str) -> Binding:
    """The only binding of a file whose sole findings are warnings."""
    loaded = load_text(text)
    assert not loaded.has_errors, [str(finding) for finding in loaded.findings]
    (binding,) = loaded.policy.bindings
    return binding


def with_rules(rules: str, *, api_version: str = "watchkeeper.io/v1alpha1", kind: str = "ClusterRole") -> str:
    """A role whose `rules:` line is line 4 of the file, so that its first rule stands on line 5."""
    namespace = ", namespace: ns" if kind == "Role" else ""
    return (
        f"apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: r{namespace}}}\nrules:\n{dedent(rules).strip()}\n"
    )


def with_binding(lines: str, *, api_version: str = "watchkeeper.io/v1alpha1", kind: str = "ClusterRoleBinding") -> str:
    """A binding to the ClusterRole `view` of rbac/v1, which is there too; `lines` begin at line 5 of the file."""
    namespace = ", namespace: ns" if kind == "RoleBinding" else ""
    return (
        f"apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: b{namespace}}}\n"
        "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}\n"
        f"{dedent(lines).strip()}\n---\n"
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: view}\nrules: []\n"
    )
