"""Loading ends with a policy or with findings, whatever the bytes."""

from __future__ import annotations

from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.policy.compile import compile_policy
from proxy.policy.load import NO_POLICY, load_policies
from tests.support.policy_files import with_binding, with_rules

EXAMPLES = [
    path.read_text()
    for path in sorted(Path(__file__).parents[2].glob("policies/**/*.yaml"))
    if path.name != "tests.yaml"
]
WHOLE_FILES = [
    *EXAMPLES,
    with_rules("- {verbs: [get], apiGroups: [''], resources: [pods], fieldSelector: 'a=${user.extra[k]},b!=c'}"),
    with_binding(
        "namespaces: ['a-*', '${user.name}']\nexpires: 2027-06-30T00:00:00Z\nsubjects: [{kind: User, name: a}]"
    ),
]
WORDS = st.sampled_from(
    [
        *("apiVersion", "kind", "metadata", "name", "namespace", "labels", "rules", "subjects", "roleRef", "items"),
        *("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs", "fieldSelector", "labelSelector"),
        *("matchLabels", "matchExpressions", "key", "operator", "values", "aggregationRule", "clusterRoleSelectors"),
        *("namespaces", "namespaceSelector", "expires", "apiGroup", "List", "v1", "RoleList", "In", "Exists", "*"),
        *("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "User", "Group", "ServiceAccount"),
        *("rbac.authorization.k8s.io/v1", "watchkeeper.io/v1alpha1", "rbac.authorization.k8s.io", "watchkeeper.io"),
        *("${node}", "${user.name}", "{node}", "${", "a=b", "a!=${x},b=", "2027-06-30T00:00:00Z", "/a*", "get", ""),
    ]
)
SCALARS = WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6), max_leaves=25
)
TEXT_VALUES = st.recursive(
    WORDS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6), max_leaves=25
)


def check_outcome(files: dict[str, bytes]) -> None:
    loaded = load_policies(files)
    if loaded.has_errors:
        assert loaded.policy == NO_POLICY
    else:
        compile_policy(loaded.policy)
    for finding in loaded.findings:
        assert finding.position.file in files
        assert finding.position.line >= 1
        assert finding.position.column >= 1
        assert str(finding).isprintable()


@given(st.binary(max_size=300))
def test_any_bytes_give_a_policy_or_findings(data: bytes) -> None:
    check_outcome({"p.yaml": data})


@given(st.text(alphabet="ab:-[]{}*&!|>'\"#%@`,?\n\t \\$~\u2028\u0085\ufeff<", max_size=120))
def test_any_text_of_yaml_s_own_characters_gives_a_policy_or_findings(text: str) -> None:
    check_outcome({"p.yaml": text.encode()})


@given(st.lists(VALUES, max_size=3))
@settings(max_examples=200)
def test_any_documents_in_the_words_of_policies_give_a_policy_or_findings(documents: list[object]) -> None:
    text = yaml.safe_dump_all(documents, allow_unicode=True)
    check_outcome({"p.yaml": text.encode("utf-8", "replace")})


@given(st.sampled_from(WHOLE_FILES), st.data())
@settings(max_examples=200)
def test_a_file_with_a_slip_gives_a_policy_or_findings(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    inserted = data.draw(
        WORDS | st.text(max_size=3) | st.sampled_from(["\n", ":", "- ", "{", "]", "'", "---\n", "&a ", "*a"])
    )
    check_outcome({"p.yaml": (text[:start] + inserted + text[end:]).encode("utf-8", "replace")})


@given(st.sampled_from(WHOLE_FILES), st.data())
def test_a_truncated_file_gives_a_policy_or_findings(text: str, data: st.DataObject) -> None:
    check_outcome({"p.yaml": text.encode()[: data.draw(st.integers(0, len(text)))]})


@given(TEXT_VALUES)
@settings(max_examples=200)
def test_json_and_yaml_of_the_same_object_load_alike(value: object) -> None:
    """Flow style with everything quoted is what JSON is; block style is what authors write."""
    flow = yaml.safe_dump(value, default_flow_style=True, default_style='"', width=10_000)
    block = yaml.safe_dump(value, default_flow_style=False)
    from_flow, from_block = load_policies({"p.yaml": flow.encode()}), load_policies({"p.yaml": block.encode()})
    messages = [sorted(finding.message for finding in loaded.findings) for loaded in (from_flow, from_block)]
    assert messages[0] == messages[1]
