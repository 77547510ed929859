"""The whole of loading: kinds and dialects, lists, metadata, and what only a set of files shows."""

from __future__ import annotations

import pytest

from proxy.policy.findings import Severity
from proxy.policy.load import load_policies
from proxy.policy.model import Dialect, PolicySet
from tests.support.policy_files import findings_of, load_text, policy_of, role_of, with_binding, with_rules

RBAC = "rbac.authorization.k8s.io/v1"
ALPHA = "watchkeeper.io/v1alpha1"
NODE_RULE = "- {verbs: [get], apiGroups: [''], resources: [pods], fieldSelector: 'spec.nodeName=${node}'}"


def document(kind: str, name: str, *, api_version: str = RBAC, extra: str = "") -> str:
    return f"---\napiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: {name}}}\n{extra}\n"


def binding_to(role: str, subject: str, *, group: str = "watchkeeper.io", api_version: str = ALPHA) -> str:
    return document(
        "ClusterRoleBinding",
        "b",
        api_version=api_version,
        extra=f"roleRef: {{apiGroup: {group}, kind: ClusterRole, name: {role}}}\nsubjects: [{subject}]",
    )


def test_every_mistake_of_every_file_is_told_in_order() -> None:
    loaded = load_policies(
        {
            "b.yaml": b"kind: Role\n---\napiVersion: v1\nkind: Pod\n",
            "a/x.yaml": with_rules("- {verbs: [get], nonResourceURLs: [/a], x: 1}\n- {}").encode(),
            "c.json": b'{"a": ',
            "d.yaml": b"\xff",
        }
    )
    assert [str(finding) for finding in loaded.findings] == [
        "a/x.yaml:5:41: unknown field `x` in a rule, expected one of verbs, apiGroups, resources, resourceNames, "
        "nonResourceURLs, fieldSelector, labelSelector",
        "a/x.yaml:6:3: a rule needs at least one entry in `verbs`",
        "a/x.yaml:6:3: a rule on resources needs at least one entry in `apiGroups`",
        "a/x.yaml:6:3: a rule on resources needs at least one entry in `resources`",
        "b.yaml:1:1: a document needs `apiVersion`",
        f"b.yaml:3:13: unknown apiVersion `v1`, expected `{RBAC}` or `{ALPHA}`",
        "b.yaml:4:7: unknown kind `Pod`, expected `Role`, `ClusterRole`, `RoleBinding` or `ClusterRoleBinding`",
        "c.json:1:7: invalid YAML: did not find expected node content while parsing a flow node",
        "d.yaml:1:1: byte 0xff is not UTF-8",
    ]
    assert {finding.severity for finding in loaded.findings} == {Severity.ERROR}


def test_files_with_an_error_give_no_policy_at_all() -> None:
    good = with_rules("- {verbs: [get], nonResourceURLs: [/a]}").encode()
    assert load_policies({"a.yaml": good}).policy.roles
    assert load_policies({"a.yaml": good, "b.yaml": b"x"}).policy == PolicySet()


def test_a_warning_leaves_the_policy_whole() -> None:
    loaded = load_text(with_binding("namespaces: []"))
    assert [finding.severity for finding in loaded.findings] == [Severity.WARNING]
    assert not loaded.has_errors
    assert len(loaded.policy.bindings) == 1


def test_no_files_give_an_empty_policy() -> None:
    assert load_policies({}) == load_policies({"a.yaml": b"# nothing here\n"})
    assert load_policies({}).policy == PolicySet()


def test_an_export_of_a_cluster_loads_as_it_is() -> None:
    text = """
        apiVersion: v1
        kind: List
        metadata: {resourceVersion: ""}
        items:
        - apiVersion: rbac.authorization.k8s.io/v1
          kind: ClusterRole
          aggregationRule:
            clusterRoleSelectors:
            - matchLabels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}
          metadata:
            annotations:
              kubectl.kubernetes.io/last-applied-configuration: |
                {"metadata":{"annotations":{}}}
              x: ${literal}
            creationTimestamp: "2025-01-01T00:00:00Z"
            generation: 3
            labels: {kubernetes.io/bootstrapping: rbac-defaults}
            managedFields:
            - apiVersion: rbac.authorization.k8s.io/v1
              fieldsType: FieldsV1
              fieldsV1: {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:rules": {}}
              manager: clusterrole-aggregation-controller
              operation: Apply
              time: 2025-01-01T00:00:00Z
            name: view
            ownerReferences: []
            finalizers: [a/b]
            resourceVersion: "376"
            uid: d2a3a4a6-0000-0000-0000-000000000000
          rules: null
        - apiVersion: rbac.authorization.k8s.io/v1
          kind: RoleBinding
          metadata: {name: b, namespace: ns, creationTimestamp: null}
          roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
          subjects: null
    """
    policy = policy_of(text)
    assert [role.name for role in policy.roles] == ["view"]
    assert [(binding.kind, binding.namespace) for binding in policy.bindings] == [("RoleBinding", "ns")]


@pytest.mark.parametrize("kind", ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"])
def test_items_of_a_typed_list_take_kind_and_version_from_it(kind: str) -> None:
    namespace = ", namespace: ns" if kind in ("Role", "RoleBinding") else ""
    role_ref = ", roleRef: {kind: ClusterRole, name: x}" if kind.endswith("Binding") else ""
    item = f"{{metadata: {{name: a{namespace}}}{role_ref}}}"
    loaded = load_text(f"apiVersion: {RBAC}\nkind: {kind}List\nmetadata: {{resourceVersion: '1'}}\nitems: [{item}]\n")
    assert not loaded.has_errors
    objects = (*loaded.policy.roles, *loaded.policy.bindings)
    assert [(found.kind, found.name, found.dialect) for found in objects] == [(kind, "a", Dialect.RBAC)]


def test_an_item_of_a_list_is_held_to_the_same_rules() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: List, items: []}\n- 1\n"
    assert [finding.split(": ")[1].split(",")[0] for finding in findings_of(text)] == [
        "unknown apiVersion `v1`",
        "unknown kind `List`",
        "an item must be a mapping",
    ]
    assert findings_of("apiVersion: v1\nkind: List\nitem: []\n") == [
        "p.yaml:3:1: unknown field `item` in a document, did you mean `items`?"
    ]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("- a", "p.yaml:1:1: a document must be a mapping, got a list"),
        ("apiVersion: v1", "p.yaml:1:1: a document needs `kind`"),
        (
            "apiVersion: rbac.authorization.k8s.io/v1beta1\nkind: Role",
            f"p.yaml:1:13: unknown apiVersion `rbac.authorization.k8s.io/v1beta1`, expected `{RBAC}` or `{ALPHA}`",
        ),
        (f"apiVersion: {RBAC}\nkind: ClusterRol", "p.yaml:2:7: unknown kind `ClusterRol`, did you mean `ClusterRole`?"),
        (f"apiVersion: {RBAC}\nkind: ClusterRole", "p.yaml:1:1: ClusterRole needs `metadata`"),
        (f"apiVersion: {RBAC}\nkind: ClusterRole\nmetadata: {{}}", "p.yaml:3:11: `metadata` needs `name`"),
        (
            f"apiVersion: {RBAC}\nkind: ClusterRole\nmetadata: {{name: a, generateName: b-, nmespace: c}}",
            "p.yaml:3:39: unknown field `nmespace` in `metadata`, did you mean `namespace`?",
        ),
        (
            f"apiVersion: {RBAC}\nkind: ClusterRole\nmetadata: {{name: a%b}}",
            "p.yaml:3:18: name `a%b` must not contain `/` or `%`",
        ),
        (
            f"apiVersion: {RBAC}\nkind: ClusterRole\nmetadata: {{name: a, namespace: b}}",
            "p.yaml:3:32: a ClusterRole belongs to no namespace, remove `namespace`",
        ),
        (f"apiVersion: {RBAC}\nkind: Role\nmetadata: {{name: a}}", "p.yaml:3:11: `metadata` needs `namespace`"),
        (
            f"apiVersion: {RBAC}\nkind: Role\nmetadata: {{name: a, namespace: ''}}",
            "p.yaml:3:32: `namespace` must not be empty",
        ),
        (
            f"apiVersion: {RBAC}\nkind: Role\nmetadata: {{name: a, namespace: a.b}}",
            "p.yaml:3:32: namespace `a.b` must be lower case letters, digits and `-`, "
            "and begin and end with a letter or digit",
        ),
        (
            f"apiVersion: {RBAC}\nkind: ClusterRole\nmetadata: {{name: a, labels: {{b: true}}}}",
            "p.yaml:3:33: `b` must be text, but `true` reads as a boolean, quote it",
        ),
        (
            f"apiVersion: {RBAC}\nkind: ClusterRole\nmetadata: {{name: a}}\nsubjects: []",
            "p.yaml:4:1: unknown field `subjects` in ClusterRole, expected one of apiVersion, kind, metadata, rules, "
            "aggregationRule",
        ),
    ],
)
def test_a_document_that_is_no_policy_object_is_an_error(text: str, finding: str) -> None:
    assert findings_of(text + "\n") == [finding]


@pytest.mark.parametrize("labels", ["{'b c': d}", "{a: '-'}"])
def test_labels_of_an_object_are_as_kubernetes_has_them(labels: str) -> None:
    text = f"apiVersion: {RBAC}\nkind: ClusterRole\nmetadata: {{name: a, labels: {labels}}}\n"
    (finding,) = findings_of(text)
    assert finding.startswith("p.yaml:3:3")


def test_role_names_may_hold_what_kubernetes_allows() -> None:
    assert role_of(document("ClusterRole", "'system:a b:é.x'")).name == "system:a b:é.x"


def test_a_duplicate_object_is_an_error_that_names_the_first() -> None:
    loaded = load_policies(
        {"z.yaml": document("ClusterRole", "a").encode(), "a.yaml": document("ClusterRole", "a").encode()}
    )
    assert [str(finding) for finding in loaded.findings] == [
        "z.yaml:2:1: duplicate ClusterRole `a`, first at a.yaml:2:1"
    ]


def test_equal_names_of_other_kinds_namespaces_and_dialects_are_no_duplicates() -> None:
    text = (
        document("ClusterRole", "a")
        + document("ClusterRole", "a", api_version=ALPHA)
        + document("Role", "a, namespace: nx")
        + document("Role", "a, namespace: ny")
    )
    assert len(policy_of(text).roles) == 4


def test_a_missing_role_is_a_warning_that_helps() -> None:
    for role, hint in (
        ("viewer", ", so this binding grants nothing, did you mean `view`?"),
        ("other", ", so this binding grants nothing"),
        ("scoped", ", so this binding grants nothing, but there is one of apiGroup `watchkeeper.io`"),
    ):
        text = binding_to(role, "{kind: User, name: a}", group="rbac.authorization.k8s.io") + (
            document("ClusterRole", "view") + document("ClusterRole", "scoped", api_version=ALPHA)
        )
        assert findings_of(text) == [
            f"p.yaml:5:10: warning: no ClusterRole `{role}` of apiGroup `rbac.authorization.k8s.io`{hint}"
        ]


def test_a_role_of_another_namespace_is_missing() -> None:
    text = document("Role", "a, namespace: nx") + document(
        "RoleBinding", "b, namespace: ny", extra="roleRef: {kind: Role, name: a}"
    )
    assert findings_of(text) == [
        "p.yaml:10:10: warning: no Role `a` of apiGroup `rbac.authorization.k8s.io` in namespace `ny`, "
        "so this binding grants nothing"
    ]


def test_a_capture_that_the_binding_does_not_provide_is_an_error_at_the_binding() -> None:
    role = with_rules(NODE_RULE)
    for subject, who in (
        ("{kind: User, name: alice}", "User `alice`"),
        ("{kind: User, name: 'n:{nodes}'}", "User `n:{nodes}`"),
        ("{kind: Group, name: nodes}", "Group `nodes`"),
        ("{kind: ServiceAccount, name: a, namespace: b}", "ServiceAccount `a`"),
        ("{kind: User, name: 'n:{node}'}, {kind: Group, name: g}", "Group `g`"),
    ):
        assert findings_of(role + binding_to("r", subject)) == [
            f"p.yaml:7:1: ClusterRole `r` uses `${{node}}`, but {who} captures no `{{node}}`"
        ]


def test_names_of_objects_use_captures_as_selectors_do() -> None:
    rules = "- {verbs: [get, update], apiGroups: [''], resources: [nodes], resourceNames: ['${node}']}"
    assert findings_of(with_rules(rules) + binding_to("r", "{kind: User, name: 'n:{node}'}")) == []
    assert findings_of(with_rules(rules) + binding_to("r", "{kind: User, name: alice}")) == [
        "p.yaml:7:1: ClusterRole `r` uses `${node}`, but User `alice` captures no `{node}`"
    ]
    (finding,) = findings_of(with_rules(rules.replace("${node}", "${node")))
    assert finding == "p.yaml:5:79: `${node` lacks its closing brace"


def test_a_capture_that_every_subject_provides_is_fine() -> None:
    text = with_rules(NODE_RULE) + binding_to("r", "{kind: User, name: 'n:{node}'}, {kind: User, name: 'm:{node}'}")
    assert findings_of(text) == []
    assert findings_of(with_rules(NODE_RULE) + binding_to("r", "")) == []


def test_captures_are_followed_through_aggregation() -> None:
    collected = with_rules(NODE_RULE).replace("{name: r}", "{name: r, labels: {to: all}}")
    selectors = "aggregationRule: {clusterRoleSelectors: [{matchLabels: {to: %s}}]}"
    middle = document("ClusterRole", "middle, labels: {to: top}", api_version=ALPHA, extra=selectors % "all")
    top = document("ClusterRole", "top", api_version=ALPHA, extra=selectors % "top")
    assert [
        finding.split(": ", 1)[1]
        for finding in findings_of(collected + middle + top + binding_to("top", "{kind: User, name: alice}"))
    ] == ["ClusterRole `top` uses `${node}`, but User `alice` captures no `{node}`"]


def test_namespaces_of_a_binding_use_captures_of_its_own_subjects() -> None:
    for line in ("namespaces: ['ns-${team}']", "namespaceSelector: {matchLabels: {team: '${team}'}}"):
        assert findings_of(with_binding(f"{line}\nsubjects: [{{kind: User, name: 'dev:{{team}}'}}]")) == []
        (finding,) = findings_of(with_binding(f"{line}\nsubjects: [{{kind: User, name: dev}}]"))
        assert finding == "p.yaml:1:1: ClusterRoleBinding uses `${team}`, but User `dev` captures no `{team}`"


@pytest.mark.parametrize(
    "text",
    [
        with_rules("- {verbs: ['${user.name}'], apiGroups: [''], resources: [pods]}"),
        with_rules("- {verbs: [get], nonResourceURLs: ['/${user.name}']}"),
        with_binding(
            "subjects: [{kind: Group, name: 'g'}, {kind: ServiceAccount, name: a, namespace: '${user.name}'}]"
        ),
        document("ClusterRole", "'${user.name}'", api_version=ALPHA),
    ],
)
def test_a_template_anywhere_else_is_an_error(text: str) -> None:
    findings = [finding for finding in findings_of(text) if "templates stand in selector values, " in finding]
    assert len(findings) == 1
    assert "warning" not in findings[0]


def test_a_template_in_rbac_v1_is_literal_with_a_warning() -> None:
    rules = "- {verbs: [get], apiGroups: [''], resources: [pods], resourceNames: ['${user.name}']}"
    loaded = load_text(with_rules(rules, api_version=RBAC))
    assert [str(finding) for finding in loaded.findings] == [
        "p.yaml:5:70: warning: `${user.name}` is taken literally, templates need `watchkeeper.io/v1alpha1`"
    ]
    assert loaded.policy.roles[0].rules[0].resource_names == ("${user.name}",)


def test_an_aggregated_role_comes_filled_in() -> None:
    text = document(
        "ClusterRole", "all", extra="aggregationRule: {clusterRoleSelectors: [{matchLabels: {to: all}}]}"
    ) + with_rules("- {verbs: [get], nonResourceURLs: [/a]}", api_version=RBAC).replace(
        "{name: r}", "{name: r, labels: {to: all}}"
    ).join(["---\n", ""])
    by_name = {role.name: role for role in policy_of(text).roles}
    assert by_name["all"].rules == by_name["r"].rules != ()


def test_the_order_of_files_and_documents_means_nothing() -> None:
    parts = [
        with_rules(NODE_RULE),
        binding_to("r", "{kind: User, name: 'n:{node}'}").removeprefix("---\n"),
        binding_to("missing", "{kind: User, name: a}", group="x").removeprefix("---\n").replace("name: b", "name: c"),
    ]
    forward = load_policies({f"{index}.yaml": part.encode() for index, part in enumerate(parts)})
    backward = load_policies({f"{9 - index}.yaml": part.encode() for index, part in enumerate(parts)})
    assert {finding.message for finding in forward.findings} == {finding.message for finding in backward.findings}
    together = load_policies({"p.yaml": "---\n".join(reversed(parts)).encode()})
    assert {finding.message for finding in together.findings} == {finding.message for finding in forward.findings}
