"""What one request shows: its scope, narrowed by what it asks for."""

from __future__ import annotations

import pytest

from proxy.api.objects import ObjectVersion
from proxy.api.selectors import parse_field_selector, parse_label_selector
from proxy.authz.scope import EVERYTHING, Grant, Scope
from proxy.authz.visibility import FieldReader, Visibility
from proxy.policy.namespace_set import NamespaceSet
from tests.support.versions import version
from tests.support.visibilities import read_client_field

TEAM_A = Scope(
    False,
    frozenset(
        {Grant(namespaces=NamespaceSet(frozenset({"team-a"})), names=None, field_selector=None, label_selector=None)}
    ),
)


def asked(
    scope: Scope = EVERYTHING,
    *,
    namespace: str = "",
    name: str = "",
    labels: str = "",
    fields: str = "",
    of_namespaces: bool = False,
    read_field: FieldReader = read_client_field,
) -> Visibility:
    return Visibility(
        scope=scope,
        namespace=namespace,
        name=name,
        namespace_is_name=of_namespaces,
        label_selector=parse_label_selector(labels) if labels else None,
        field_selector=parse_field_selector(fields) if fields else None,
        read_field=read_field,
    )


POD = version("team-a", "x", 1, labels={"app": "web"}, node="node1")


@pytest.mark.parametrize(
    ("visible", "sees"),
    [
        (asked(), True),
        (asked(TEAM_A), True),
        (asked(TEAM_A, namespace="team-b"), False),
        (asked(namespace="team-a"), True),
        (asked(namespace="team"), False),
        (asked(name="x"), True),
        (asked(name="y"), False),
        (asked(labels="app=web"), True),
        (asked(labels="app!=web"), False),
        (asked(fields="spec.nodeName=node1,metadata.name=x"), True),
        (asked(fields="spec.nodeName=node1,metadata.name=y"), False),
        (asked(fields="status.phase="), True),
        (asked(TEAM_A, namespace="team-a", name="x", labels="app", fields="spec.nodeName!=node2"), True),
    ],
)
def test_everything_that_was_asked_for_must_hold(visible: Visibility, sees: bool) -> None:
    assert visible.sees(POD) is sees


def test_a_clients_selector_never_widens_the_scope() -> None:
    assert not asked(TEAM_A, fields="metadata.namespace=team-b").sees(version("team-b", "x", 1))


def test_the_namespace_of_a_namespace_is_its_name() -> None:
    team_a = ObjectVersion(b'{"metadata":{"name":"team-a"}}')
    team_b = ObjectVersion(b'{"metadata":{"name":"team-b"}}')
    assert [asked(TEAM_A, of_namespaces=True).sees(each) for each in (team_a, team_b)] == [True, False]
    assert [asked(namespace="team-b", of_namespaces=True).sees(each) for each in (team_a, team_b)] == [False, True]
    assert asked(TEAM_A, of_namespaces=True).index_keys == frozenset({("metadata.name", "team-a")})


@pytest.mark.parametrize(
    ("visible", "keys"),
    [
        (asked(), None),
        (asked(TEAM_A), {("metadata.namespace", "team-a")}),
        (asked(namespace="team-b"), {("metadata.namespace", "team-b")}),
        (asked(TEAM_A, name="x"), {("metadata.name", "x")}),
        (asked(fields="spec.nodeName=node1"), {("spec.nodeName", "node1")}),
        (asked(fields="spec.nodeName!=node1"), None),
        (asked(fields="spec.nodeName="), None),
        (asked(fields="status.phase=Running"), None),
        (asked(labels="app=web"), None),
    ],
)
def test_views_are_found_by_what_their_objects_have_in_common(
    visible: Visibility, keys: set[tuple[str, str]] | None
) -> None:
    found = visible.index_keys
    assert (None if found is None else set(found)) == keys


def test_equal_questions_are_equal_whoever_reads_their_fields() -> None:
    one = asked(TEAM_A, fields="spec.nodeName=node1")
    same = asked(TEAM_A, fields="spec.nodeName=node1", read_field=lambda version, label: "")
    assert (one, hash(one)) == (same, hash(same))
    assert one != asked(TEAM_A, fields="spec.nodeName=node2")
    assert one != asked(EVERYTHING, fields="spec.nodeName=node1")
