"""Bindings: subjects, roleRef, and what the watchkeeper dialect adds to them."""

from __future__ import annotations

import pytest

from proxy.api.selectors import LabelOperator, LabelRequirement, LabelSelector
from proxy.policy.model import Dialect, Subject, SubjectKind
from tests.support.policy_files import binding_of, findings_of, load_text, with_binding

RBAC = "rbac.authorization.k8s.io/v1"
RBAC_GROUP = "rbac.authorization.k8s.io"


def subject(text: str, **kind: str) -> list[str]:
    return findings_of(with_binding(f"subjects:\n- {text}", **kind))


def role_ref(text: str, *, kind: str = "ClusterRoleBinding", api_version: str = "watchkeeper.io/v1alpha1") -> list[str]:
    namespace = ", namespace: ns" if kind == "RoleBinding" else ""
    return findings_of(f"apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: b{namespace}}}\nroleRef: {text}\n")


def test_every_part_of_a_binding_is_read() -> None:
    binding = binding_of(
        with_binding(
            """
            expires: 2027-06-30T00:00:00Z
            namespaces: [team-a, "team-*-b*", "${user.name}-dev"]
            namespaceSelector: {matchLabels: {team: "${user.extra[team]}"}}
            subjects:
            - {kind: User, apiGroup: rbac.authorization.k8s.io, name: "alice@example.com"}
            - {kind: Group, name: "oidc:devs"}
            - {kind: ServiceAccount, name: default, namespace: ns, apiGroup: ""}
            """
        )
    )
    assert (binding.dialect, binding.kind, binding.name) == (Dialect.WATCHKEEPER, "ClusterRoleBinding", "b")
    assert binding.subjects == (
        Subject(kind=SubjectKind.USER, name="alice@example.com", position=binding.position),
        Subject(kind=SubjectKind.GROUP, name="oidc:devs", position=binding.position),
        Subject(kind=SubjectKind.SERVICE_ACCOUNT, name="default", namespace="ns", position=binding.position),
    )
    assert (binding.role_ref.dialect, binding.role_ref.kind, binding.role_ref.name) == (
        Dialect.RBAC,
        "ClusterRole",
        "view",
    )
    assert binding.expires == 1814313600
    assert binding.namespaces == ("team-a", "team-*-b*", "${user.name}-dev")
    assert binding.namespace_selector == LabelSelector(
        (LabelRequirement("team", LabelOperator.IN, ("${user.extra[team]}",)),)
    )


def test_what_is_absent_is_none() -> None:
    binding = binding_of(with_binding("subjects: []"))
    assert (binding.namespaces, binding.namespace_selector, binding.expires) == (None, None, None)


def test_a_capture_stays_in_the_name_of_a_user() -> None:
    binding = binding_of(with_binding('subjects: [{kind: User, name: "system:node:{node}"}]'))
    assert binding.subjects[0].name == "system:node:{node}"


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (
            "{kind: User, name: 'a:{x}:{y}'}",
            "p.yaml:6:22: `a:{x}:{y}` must hold one capture, as in `system:node:{node}`",
        ),
        ("{kind: User, name: 'a:{x'}", "p.yaml:6:22: `a:{x` must hold one capture, as in `system:node:{node}`"),
        ("{kind: User, name: 'a:x}'}", "p.yaml:6:22: `a:x}` must hold one capture, as in `system:node:{node}`"),
        (
            "{kind: Group, name: 'a:{x}'}",
            "p.yaml:6:23: capture in the Group name `a:{x}`, only a User name may hold one",
        ),
        ("{kind: Usr, name: a}", "p.yaml:6:10: unknown kind of subject `Usr`, did you mean `User`?"),
        (
            "{kind: Robot, name: a}",
            "p.yaml:6:10: unknown kind of subject `Robot`, expected `User`, `Group` or `ServiceAccount`",
        ),
        ("{kind: User}", "p.yaml:6:3: a subject needs `name`"),
        ("{kind: User, name: ''}", "p.yaml:6:22: `name` must not be empty"),
        ("{kind: User, name: null}", "p.yaml:6:22: `name` is null, expected text"),
        ("{name: a}", "p.yaml:6:3: a subject needs `kind`"),
        ("{kind: User, name: 12}", "p.yaml:6:22: `name` must be text, but `12` reads as a number, quote it"),
        (
            "{kind: User, name: a, apiGroup: rbac}",
            f"p.yaml:6:35: apiGroup of a User must be `{RBAC_GROUP}`, not `rbac`",
        ),
        (
            "{kind: Group, name: a, apiGroup: watchkeeper.io}",
            f"p.yaml:6:36: apiGroup of a Group must be `{RBAC_GROUP}`, not `watchkeeper.io`",
        ),
        (
            f"{{kind: ServiceAccount, name: a, namespace: ns, apiGroup: {RBAC_GROUP}}}",
            f'p.yaml:6:60: apiGroup of a ServiceAccount must be `""`, not `{RBAC_GROUP}`',
        ),
        ("{kind: ServiceAccount, name: a}", "p.yaml:6:3: a ServiceAccount in a ClusterRoleBinding needs `namespace`"),
        (
            "{kind: ServiceAccount, name: A_b, namespace: ns}",
            "p.yaml:6:32: ServiceAccount name `A_b` must be lower case letters, digits, `-` and `.`, "
            "and begin and end with a letter or digit",
        ),
        (
            "{kind: User, user: a, name: b}",
            "p.yaml:6:16: unknown field `user` in a subject, expected one of kind, apiGroup, name, namespace",
        ),
        ("alice", "p.yaml:6:3: a subject must be a mapping, got the text `alice`"),
    ],
)
def test_a_subject_with_a_mistake_is_an_error(text: str, finding: str) -> None:
    assert subject(text) == [finding]


def test_a_service_account_takes_the_namespace_of_its_role_binding() -> None:
    assert subject("{kind: ServiceAccount, name: default}", kind="RoleBinding") == []


def test_the_namespace_of_a_user_is_ignored_with_a_warning() -> None:
    text = with_binding("subjects: [{kind: User, name: a, namespace: ns}]", api_version=RBAC)
    assert binding_of(text).subjects[0].namespace == ""
    assert findings_of(text) == ["p.yaml:5:45: warning: a User has no namespace, this one is ignored"]


def test_a_capture_is_literal_in_rbac_v1_with_a_warning() -> None:
    text = with_binding("subjects: [{kind: User, name: 'n:{x}:{y}'}]", api_version=RBAC)
    assert findings_of(text) == [
        "p.yaml:5:31: warning: `n:{x}:{y}` is taken literally, captures need `watchkeeper.io/v1alpha1`"
    ]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (
            "{kind: ClusterRole, name: x}",
            "p.yaml:4:10: `roleRef` needs `apiGroup`, `watchkeeper.io` or `rbac.authorization.k8s.io`",
        ),
        (
            "{apiGroup: rbac, kind: ClusterRole, name: x}",
            "p.yaml:4:21: unknown apiGroup `rbac` of a role, expected `watchkeeper.io` or `rbac.authorization.k8s.io`",
        ),
        (
            "{apiGroup: watchkeeper.io, kind: Role, name: x}",
            "p.yaml:4:43: a ClusterRoleBinding cannot reference the kind `Role`, expected `ClusterRole`",
        ),
        (
            "{apiGroup: watchkeeper.io, kind: clusterrole, name: x}",
            "p.yaml:4:43: a ClusterRoleBinding cannot reference the kind `clusterrole`, did you mean `ClusterRole`?",
        ),
        ("{apiGroup: watchkeeper.io, kind: ClusterRole}", "p.yaml:4:10: `roleRef` needs `name`"),
        (
            "{apiGroup: watchkeeper.io, kind: ClusterRole, name: a/b}",
            "p.yaml:4:62: role name `a/b` must not contain `/` or `%`",
        ),
        ("{apiGroup: watchkeeper.io, kind: ClusterRole, name: ..}", "p.yaml:4:62: role name `..` must not be `..`"),
        (
            "{apiGroup: watchkeeper.io, kind: ClusterRole, name: x, namespace: ns}",
            "p.yaml:4:65: unknown field `namespace` in `roleRef`, expected one of apiGroup, kind, name",
        ),
        ("view", "p.yaml:4:10: `roleRef` must be a mapping, got the text `view`"),
        ("null", "p.yaml:4:10: `roleRef` is null, expected a mapping"),
    ],
)
def test_a_role_ref_with_a_mistake_is_an_error(text: str, finding: str) -> None:
    assert finding in role_ref(text)


def test_an_rbac_v1_binding_references_rbac_v1_roles_only() -> None:
    assert role_ref("{apiGroup: watchkeeper.io, kind: ClusterRole, name: x}", api_version=RBAC) == [
        "p.yaml:4:21: unknown apiGroup `watchkeeper.io` of a role, expected `rbac.authorization.k8s.io`"
    ]


def test_the_api_group_of_an_rbac_v1_role_ref_has_kubernetes_default() -> None:
    for group in ("", 'apiGroup: "", '):
        (finding,) = role_ref(f"{{{group}kind: ClusterRole, name: x}}", api_version=RBAC)
        assert "warning: no ClusterRole `x` of apiGroup `rbac.authorization.k8s.io`" in finding


def test_a_binding_needs_a_role_ref() -> None:
    text = f"apiVersion: {RBAC}\nkind: RoleBinding\nmetadata: {{name: b, namespace: ns}}\n"
    assert findings_of(text) == ["p.yaml:1:1: RoleBinding needs `roleRef`"]


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("namespaces: [Team]", "namespace `Team` must be lower case letters, digits and `-`"),
        (f"namespaces: [{'a' * 64}]", "must be no more than 63 characters"),
        ("namespaces: ['']", "namespace `` must be lower case letters"),
        ("namespaces: ['team-?']", "invalid glob `team-?`"),
        ("namespaces: ['x[ab]*']", "invalid glob `x[ab]*`"),
        ("namespaces: ['a[b']", "invalid glob `a[b`"),
        ("namespaces: ['a]*']", "invalid glob `a]*`"),
        ("namespaces: ['A*']", "invalid glob `A*`"),
        ("namespaces: ['a/*']", "invalid glob `a/*`"),
        ("namespaces: ['[]*']", "invalid glob `[]*`"),
        ("namespaces: ['${user.name}-*']", "`${user.name}-*` mixes a glob and a template"),
        ("namespaces: ['[${user.name}]']", "`[${user.name}]` mixes a glob and a template"),
        ("namespaces: ['a.${user.name}']", "`a.${user.name}` cannot become the name of a namespace"),
        ("namespaces: ['${user.nam}']", "unknown reference `${user.nam}`"),
        ("namespaces: ['${user.name']", "`${user.name` lacks its closing brace"),
        ("namespaces: a", "`namespaces` must be a list of texts, got the text `a`"),
        ("namespaces:", "`namespaces` is null, expected a list of texts"),
        ("namespaces: [null]", "an entry of `namespaces` is null, expected text"),
        ("namespaces: [1]", "an entry of `namespaces` must be text, but `1` reads as a number, quote it"),
        ("namespaceSelector:", "`namespaceSelector` is null, expected a mapping"),
        ("namespaceSelector: {team: a}", "unknown field `team` in `namespaceSelector`"),
        ("expires:", "`expires` is null, expected text"),
        ("expires: 2027", "`expires` must be text, but `2027` reads as a number"),
    ],
)
def test_what_narrows_a_binding_is_never_dropped(line: str, finding: str) -> None:
    loaded = load_text(with_binding(line))
    messages = [str(found) for found in loaded.findings]
    assert len(messages) == 1
    assert messages[0].startswith("p.yaml:5:")
    assert finding in messages[0]
    assert loaded.has_errors
    assert loaded.policy.bindings == ()


def test_an_empty_list_of_namespaces_grants_nothing_with_a_warning() -> None:
    text = with_binding("namespaces: []")
    assert findings_of(text) == ["p.yaml:5:1: warning: `namespaces` is empty, so this binding grants nothing"]
    assert binding_of(text).namespaces == ()


def test_an_extra_key_in_a_template_is_no_glob() -> None:
    assert binding_of(with_binding("namespaces: ['${user.extra[example.com/team]}']")).namespaces is not None


@pytest.mark.parametrize("field", ["namespaces: [a]", "namespaceSelector: {}", "expires: 2027-06-30T00:00:00Z"])
def test_the_additions_are_unknown_to_rbac_v1(field: str) -> None:
    """Kubernetes would drop the field and grant everywhere, for ever."""
    (finding,) = findings_of(with_binding(field, api_version=RBAC))
    name = field.split(":")[0]
    assert finding == (
        f"p.yaml:5:1: unknown field `{name}` in ClusterRoleBinding, it needs apiVersion `watchkeeper.io/v1alpha1`"
    )


@pytest.mark.parametrize("field", ["namespaces: [a]", "namespaceSelector: {}"])
def test_a_role_binding_has_a_namespace_already(field: str) -> None:
    (finding,) = findings_of(with_binding(field, kind="RoleBinding"))
    name = field.split(":")[0]
    assert finding == f"p.yaml:5:1: unknown field `{name}` in RoleBinding, a RoleBinding applies to its own namespace"


def test_a_role_binding_may_expire() -> None:
    assert binding_of(with_binding("expires: 2027-06-30T00:00:00Z", kind="RoleBinding")).expires is not None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:10Z", 10.0),
        ('"1970-01-01T00:00:10Z"', 10.0),
        ("1970-01-01t00:00:10z", 10.0),
        ("1970-01-01T02:00:10.5+02:00", 10.5),
        ("1969-12-31T23:00:00-01:00", 0.0),
        ("2024-02-29T00:00:00Z", 1709164800.0),
    ],
)
def test_expires_is_rfc_3339(text: str, seconds: float) -> None:
    assert binding_of(with_binding(f"expires: {text}")).expires == seconds


@pytest.mark.parametrize(
    "text",
    [
        "2027-06-30",
        "2027-06-30T00:00:00",
        "2027-06-30 00:00:00Z",
        "2027-06-31T00:00:00Z",
        "2027-13-01T00:00:00Z",
        "2027-06-30T24:01:00Z",
        "2027-06-30T00:00:60Z",
        "2027-06-30T00:00:00+25:00",
        "2027-6-30T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "never",
        '""',
        '"2027-06-30T00:00:00Z "',
        '"٢٠٢٧-06-30T00:00:00Z"',
    ],
)
def test_a_time_that_is_none_is_an_error(text: str) -> None:
    loaded = load_text(with_binding(f"expires: {text}"))
    assert [str(finding) for finding in loaded.findings] == [
        f"p.yaml:5:10: `{text.strip(chr(34))}` is no time, expected one like `2027-06-30T00:00:00Z`"
    ]
    assert loaded.policy.bindings == ()


def test_times_at_the_end_of_the_calendar_are_read() -> None:
    for text in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        assert binding_of(with_binding(f"expires: {text}")).expires is not None
