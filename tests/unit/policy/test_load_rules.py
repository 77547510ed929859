"""Rules, selectors and roles as files write them."""

from __future__ import annotations

import pytest

from proxy.api.selectors import FieldTerm, LabelOperator, LabelRequirement
from proxy.policy.model import Dialect
from tests.support.policy_files import findings_of, load_text, role_of, with_rules

RBAC = "rbac.authorization.k8s.io/v1"


def scoped(selector: str, **replaced: str) -> str:
    rule = {"apiGroups": '[""]', "resources": "[pods]", "verbs": "[get, list, watch]", **replaced}
    fields = "\n  ".join(f"{name}: {value}" for name, value in rule.items())
    return with_rules(f"- {selector}\n  {fields}")


def test_a_rule_of_each_dialect_is_read_whole() -> None:
    rules = """
        - verbs: [get, "*"]
          apiGroups: ["", apps]
          resources: [pods, pods/log]
          resourceNames: [a, "1"]
        - {verbs: [get], nonResourceURLs: [/version, "/api/*"]}
    """
    for api_version, dialect in ((RBAC, Dialect.RBAC), ("watchkeeper.io/v1alpha1", Dialect.WATCHKEEPER)):
        role = role_of(with_rules(rules, api_version=api_version))
        assert (role.dialect, role.kind, role.namespace, role.name) == (dialect, "ClusterRole", "", "r")
        resource_rule, url_rule = role.rules
        assert resource_rule.verbs == ("get", "*")
        assert resource_rule.api_groups == ("", "apps")
        assert resource_rule.resources == ("pods", "pods/log")
        assert resource_rule.resource_names == ("a", "1")
        assert not resource_rule.is_scoped
        assert str(resource_rule.position) == "p.yaml:5:3"
        assert url_rule.non_resource_urls == ("/version", "/api/*")


def test_a_field_selector_is_read_with_its_templates() -> None:
    role = role_of(scoped('fieldSelector: "spec.nodeName=${node},status.phase!=Failed"'))
    selector = role.rules[0].field_selector
    assert selector is not None
    assert selector.terms == (
        FieldTerm("spec.nodeName", False, "${node}"),
        FieldTerm("status.phase", True, "Failed"),
    )


def test_escapes_in_a_field_selector_may_stand_in_a_template() -> None:
    role = role_of(scoped(r"fieldSelector: 'spec.a=${user.extra[a\=b\,c]}'"))
    selector = role.rules[0].field_selector
    assert selector is not None
    assert selector.terms == (FieldTerm("spec.a", False, "${user.extra[a=b,c]}"),)


def test_a_label_selector_is_read_canonically() -> None:
    role = role_of(
        scoped(
            "labelSelector: {matchLabels: {z: '${user.name}', a: b}, matchExpressions: ["
            "{key: k, operator: NotIn, values: [w, v, w]}, {key: k8s.io/e, operator: Exists}, "
            "{key: d, operator: DoesNotExist, values: []}, {key: a, operator: In, values: [b]}]}"
        )
    )
    selector = role.rules[0].label_selector
    assert selector is not None
    assert set(selector.requirements) == {
        LabelRequirement("a", LabelOperator.IN, ("b",)),
        LabelRequirement("z", LabelOperator.IN, ("${user.name}",)),
        LabelRequirement("k", LabelOperator.NOT_IN, ("v", "w")),
        LabelRequirement("k8s.io/e", LabelOperator.EXISTS, ()),
        LabelRequirement("d", LabelOperator.DOES_NOT_EXIST, ()),
    }
    assert list(selector.requirements) == sorted(selector.requirements)


def test_names_may_stand_beside_selectors() -> None:
    role = role_of(scoped('fieldSelector: "spec.nodeName=n"', resourceNames="[a]"))
    assert role.rules[0].resource_names == ("a",)


@pytest.mark.parametrize("verb", ["create", "update", "patch", "delete", "deletecollection", "*", "GET"])
def test_a_rule_with_selectors_grants_reading_only(verb: str) -> None:
    for selector in ('fieldSelector: "a=b"', "labelSelector: {matchLabels: {a: b}}"):
        findings = findings_of(scoped(selector, verbs=f'[get, "{verb}"]'))
        assert f"p.yaml:8:16: a rule with selectors grants `get`, `list` and `watch` only, not `{verb}`" in findings


@pytest.mark.parametrize("resource", ["pods/log", "pods/status", "*/scale", "*/*", "pods/*", "pods/"])
def test_a_rule_with_selectors_names_no_subresource(resource: str) -> None:
    findings = findings_of(scoped("labelSelector: {matchLabels: {a: b}}", resources=f'["{resource}"]'))
    assert f"p.yaml:7:15: a rule with selectors never covers the subresource `{resource}`" in findings


def test_a_rule_with_selectors_covers_no_url() -> None:
    text = with_rules('- {verbs: [get], nonResourceURLs: [/version], fieldSelector: "a=b"}')
    assert findings_of(text) == ["p.yaml:5:18: selectors do not apply to `nonResourceURLs`"]


@pytest.mark.parametrize(
    ("selector", "finding"),
    [
        ('fieldSelector: ""', "p.yaml:5:18: `fieldSelector` is empty, remove it to match every object"),
        ('fieldSelector: ",,"', "p.yaml:5:18: `fieldSelector` is empty, remove it to match every object"),
        ("fieldSelector:", "p.yaml:5:17: `fieldSelector` is null, expected text"),
        ("labelSelector:", "p.yaml:5:17: `labelSelector` is null, expected a mapping"),
        ("labelSelector: {}", "p.yaml:5:18: `labelSelector` is empty, remove it to match every object"),
        (
            "labelSelector: {matchLabels: {}, matchExpressions: []}",
            "p.yaml:5:18: `labelSelector` is empty, remove it to match every object",
        ),
        ("labelSelector: {matchExpressions: }", "p.yaml:5:37: `matchExpressions` is null, expected a list"),
        ("labelSelector: a=b", "p.yaml:5:18: `labelSelector` must be a mapping, got the text `a=b`"),
        ("fieldSelector: {a: b}", "p.yaml:5:18: `fieldSelector` must be text, got a mapping"),
    ],
)
def test_a_selector_that_selects_nothing_in_particular_does_not_open_a_rule(selector: str, finding: str) -> None:
    loaded = load_text(scoped(selector))
    assert [str(found) for found in loaded.findings] == [finding]
    assert loaded.has_errors
    assert loaded.policy.roles == ()


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("spec.nodeName", "invalid selector: 'spec.nodeName'; can't understand 'spec.nodeName'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        ("spec.containers[0].image=x", "invalid field path `spec.containers[0].image`, expected names and dots"),
        ("a=1, b=2", "invalid field path ` b`, expected names and dots"),
        ("a..b=2", "invalid field path `a..b`, expected names and dots"),
        ("status.phase!= Failed", "value ` Failed` of `status.phase` begins or ends with a space"),
        ("a=${nod", "`${nod` lacks its closing brace"),
        ("a=${user.nme}", "unknown reference `${user.nme}`"),
        ("a=${}", "unknown reference `${}`"),
        ("a=x-${user.extra[]}", "unknown reference `${user.extra[]}`"),
        ("${node}=a", "template in the field path `${node}`, expected one in values only"),
        ("a=${user.extra[k=v]}", "inside a template `,` and `=` need a backslash before them"),
    ],
)
def test_a_field_selector_that_cannot_mean_what_it_says_is_an_error(selector: str, message: str) -> None:
    (finding,) = findings_of(scoped(f"fieldSelector: '{selector}'"))
    assert finding.startswith("p.yaml:5:18: ")
    assert message in finding
    assert "warning" not in finding


def test_an_empty_value_is_a_warning_since_absent_fields_match_no_term() -> None:
    assert findings_of(scoped("fieldSelector: 'spec.nodeName='")) == [
        "p.yaml:5:18: warning: `spec.nodeName=` matches an empty value only, an absent field matches no term"
    ]


@pytest.mark.parametrize(
    ("selector", "finding"),
    [
        (
            "{matchLables: {a: b}}",
            "p.yaml:5:19: unknown field `matchLables` in `labelSelector`, did you mean `matchLabels`?",
        ),
        ("{matchLabels: {a: yes}}", "p.yaml:5:36: `a` must be text, but `yes` reads as a boolean, quote it"),
        ("{matchLabels: {a: 1}}", "p.yaml:5:36: `a` must be text, but `1` reads as a number, quote it"),
        (
            "{matchLabels: {'${user.name}': a}}",
            "p.yaml:5:33: template in the label key `${user.name}`, expected one in values only",
        ),
        ("{matchLabels: {a: '${oops'}}", "p.yaml:5:36: `${oops` lacks its closing brace"),
        (
            "{matchExpressions: [{key: a, operator: in, values: [b]}]}",
            "p.yaml:5:57: unknown operator `in`, did you mean `In`?",
        ),
        (
            "{matchExpressions: [{key: a, operator: '${user.name}', values: [b]}]}",
            "p.yaml:5:57: unknown operator `${user.name}`, expected `In`, `NotIn`, `Exists` or `DoesNotExist`",
        ),
        (
            "{matchExpressions: [{key: a, operator: In}]}",
            "p.yaml:5:38: operator `In` needs at least one entry in `values`",
        ),
        (
            "{matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
            "p.yaml:5:65: operator `Exists` takes no `values`",
        ),
        ("{matchExpressions: [{operator: Exists}]}", "p.yaml:5:38: a match expression needs `key`"),
    ],
)
def test_a_label_selector_with_a_mistake_is_an_error_where_it_is(selector: str, finding: str) -> None:
    assert finding in findings_of(scoped(f"labelSelector: {selector}"))


@pytest.mark.parametrize("selector", ["{'-a': b}", "{a/b/c: d}", "{a: -b}", "{a: 'b c'}", f"{{a: {'x' * 64}}}"])
def test_labels_are_as_kubernetes_has_them(selector: str) -> None:
    (finding,) = findings_of(scoped(f"labelSelector: {{matchLabels: {selector}}}"))
    assert finding.startswith("p.yaml:5:3")


@pytest.mark.parametrize(
    ("rule", "findings"),
    [
        ("- {}", ["p.yaml:5:3: a rule needs at least one entry in `verbs`"]),
        (
            "- {verbs: [], apiGroups: [''], resources: [pods]}",
            ["p.yaml:5:3: a rule needs at least one entry in `verbs`"],
        ),
        (
            "- {verbs: [get], resources: [pods]}",
            ["p.yaml:5:3: a rule on resources needs at least one entry in `apiGroups`"],
        ),
        (
            "- {verbs: [get], apiGroups: ['']}",
            ["p.yaml:5:3: a rule on resources needs at least one entry in `resources`"],
        ),
        (
            "- {verbs: [get], apiGroups: [''], resources: [pods], nonResourceURLs: [/a]}",
            ["p.yaml:5:54: a rule applies to resources or to `nonResourceURLs`, make it two rules"],
        ),
        (
            "- {verbs: [get], resourceNames: [a], nonResourceURLs: [/a]}",
            ["p.yaml:5:38: a rule applies to resources or to `nonResourceURLs`, make it two rules"],
        ),
        ("- {verbs: get, nonResourceURLs: [/a]}", ["p.yaml:5:11: `verbs` must be a list of texts, got the text `get`"]),
        (
            "- {verbs: [get], apiGroups: [''], resources: [pods], resourceNames: [1, null, [x], yes]}",
            [
                "p.yaml:5:70: an entry of `resourceNames` must be text, but `1` reads as a number, quote it",
                "p.yaml:5:73: an entry of `resourceNames` is null, expected text",
                "p.yaml:5:79: an entry of `resourceNames` must be text, got a list",
                "p.yaml:5:84: an entry of `resourceNames` must be text, but `yes` reads as a boolean, quote it",
            ],
        ),
        ("- get", ["p.yaml:5:3: a rule must be a mapping, got the text `get`"]),
        (
            "- {verbs: [get], apiGroups: [''], resorces: [pods]}",
            [
                "p.yaml:5:3: a rule on resources needs at least one entry in `resources`",
                "p.yaml:5:35: unknown field `resorces` in a rule, did you mean `resources`?",
            ],
        ),
    ],
)
def test_rules_are_validated_as_in_kubernetes(rule: str, findings: list[str]) -> None:
    for api_version in (RBAC, "watchkeeper.io/v1alpha1"):
        expected = ["p.yaml:5:3: a rule needs at least one entry in `verbs`"] if rule == "- {}" else []
        found = findings_of(with_rules(rule, api_version=api_version))
        assert set(expected) <= set(found)
        assert set(findings) <= set(found)
        assert rule == "- {}" or found == findings


def test_a_null_list_of_names_does_not_open_every_name() -> None:
    """Kubernetes reads `resourceNames:` with nothing after it as no restriction at all."""
    rule = "- {verbs: [get], apiGroups: [''], resources: [pods], resourceNames: }"
    loaded = load_text(with_rules(rule, api_version=RBAC))
    assert [str(finding) for finding in loaded.findings] == [
        "p.yaml:5:69: `resourceNames` is null, expected a list of texts"
    ]
    assert loaded.policy.roles == ()


def test_a_role_of_one_namespace_has_no_urls() -> None:
    text = with_rules("- {verbs: [get], nonResourceURLs: [/a]}", api_version=RBAC, kind="Role")
    assert findings_of(text) == [
        "p.yaml:5:18: `nonResourceURLs` belong in a ClusterRole, a Role applies to one namespace"
    ]


@pytest.mark.parametrize("field", ['fieldSelector: "a=b"', "labelSelector: {matchLabels: {a: b}}"])
def test_selectors_in_an_rbac_v1_rule_are_an_error(field: str) -> None:
    """Kubernetes would drop the field and grant everything."""
    text = with_rules(f"- {{verbs: [get], apiGroups: [''], resources: [pods], {field}}}", api_version=RBAC)
    name = field.split(":")[0]
    assert findings_of(text) == [
        f"p.yaml:5:54: unknown field `{name}` in a rule, it needs apiVersion `watchkeeper.io/v1alpha1`"
    ]


@pytest.mark.parametrize(
    ("rule", "finding"),
    [
        (
            "{verbs: [wacth], apiGroups: [''], resources: [pods]}",
            "p.yaml:5:12: warning: unknown verb `wacth`, did you mean `watch`?",
        ),
        (
            "{verbs: [Get], apiGroups: [''], resources: [pods]}",
            "p.yaml:5:12: warning: unknown verb `Get`, did you mean `get`?",
        ),
        (
            "{verbs: [get], apiGroups: [apps/v1], resources: [deployments]}",
            "p.yaml:5:30: warning: no API group is called `apps/v1`, leave the version out",
        ),
        (
            "{verbs: [get], apiGroups: [''], resources: ['pods/*']}",
            "p.yaml:5:47: warning: `pods/*` matches nothing, name each subresource",
        ),
        (
            "{verbs: [get], apiGroups: [''], resources: [Pods]}",
            "p.yaml:5:47: warning: no resource is called `Pods`, use the lower case plural",
        ),
        (
            "{verbs: [get], nonResourceURLs: [api]}",
            "p.yaml:5:36: warning: `api` matches nothing, a path begins with `/`",
        ),
        (
            "{verbs: [get], nonResourceURLs: [/api/*/x]}",
            "p.yaml:5:36: warning: `/api/*/x` matches nothing, `*` is a wildcard at the end only",
        ),
        (
            "{verbs: [get], apiGroups: [''], resources: [pods], resourceNames: []}",
            "p.yaml:5:54: warning: `resourceNames` is empty, which matches every name",
        ),
    ],
)
def test_what_is_valid_and_probably_not_meant_is_a_warning(rule: str, finding: str) -> None:
    loaded = load_text(with_rules(f"- {rule}", api_version=RBAC))
    assert [str(found) for found in loaded.findings] == [finding]
    assert len(loaded.policy.roles) == 1


@pytest.mark.parametrize("rule", ["{verbs: [use, approve, my-own], apiGroups: ['*'], resources: ['*', '*/scale']}"])
def test_what_kubernetes_knows_is_no_warning(rule: str) -> None:
    assert findings_of(with_rules(f"- {rule}", api_version=RBAC)) == []


def test_an_aggregated_role_keeps_none_of_its_own_rules() -> None:
    text = """
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: view}
        aggregationRule: {clusterRoleSelectors: [{matchLabels: {to: view}}]}
        rules: [{verbs: ["*"], apiGroups: ["*"], resources: ["*"]}]
    """
    loaded = load_text(text)
    assert [str(finding) for finding in loaded.findings] == [
        "p.yaml:5:1: warning: rules beside an `aggregationRule` are ignored, they are collected"
    ]
    assert loaded.policy.roles[0].rules == ()


@pytest.mark.parametrize(
    ("aggregation", "finding"),
    [
        ("{}", "p.yaml:4:18: an `aggregationRule` needs at least one entry in `clusterRoleSelectors`"),
        (
            "{clusterRoleSelectors: []}",
            "p.yaml:4:18: an `aggregationRule` needs at least one entry in `clusterRoleSelectors`",
        ),
        ("{clusterRoleSelectors: }", "p.yaml:4:41: `clusterRoleSelectors` is null, expected a list"),
        ("null", "p.yaml:4:18: `aggregationRule` is null, expected a mapping"),
        (
            "{clusterRoleSelectors: [{matchLabel: {a: b}}]}",
            "p.yaml:4:43: unknown field `matchLabel` in a selector, did you mean `matchLabels`?",
        ),
    ],
)
def test_an_aggregation_rule_with_a_mistake_is_an_error(aggregation: str, finding: str) -> None:
    text = f"apiVersion: {RBAC}\nkind: ClusterRole\nmetadata: {{name: r}}\naggregationRule: {aggregation}\n"
    assert findings_of(text) == [finding]


def test_an_aggregation_rule_takes_no_template() -> None:
    text = """
        apiVersion: watchkeeper.io/v1alpha1
        kind: ClusterRole
        metadata: {name: r}
        aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: "${user.name}"}}]}
    """
    assert any("label value `${user.name}`" in finding for finding in findings_of(text))


def test_a_role_of_one_namespace_does_not_aggregate() -> None:
    text = with_rules("[]\naggregationRule: {clusterRoleSelectors: [{}]}", kind="Role").replace(
        "rules:\n[]", "rules: []"
    )
    assert findings_of(text) == ["p.yaml:5:1: unknown field `aggregationRule` in Role, it belongs in a ClusterRole"]
