"""Random policies, users, questions and objects over a small alphabet, so that they meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from hypothesis import strategies as st

from proxy.api.selectors import FieldSelector, FieldTerm, LabelOperator, LabelRequirement, LabelSelector
from proxy.authn.user import User
from proxy.authz.decision import Attributes
from proxy.policy.model import Binding, Dialect, PolicyRule, PolicySet, Role, Subject
from tests.spec.rbac import Thing, World
from tests.support.policies import (
    CLUSTER_SCOPED,
    asking,
    asking_path,
    binding,
    group_subject,
    role,
    rule,
    service_account,
    user_subject,
)

NAMESPACES = ["a", "b", "team-a-1", "team-b"]
NAMES = ["x", "a"]
RESOURCES = ["pods", "deployments", "namespaces", "nodes"]
VERBS = ["get", "list", "watch", "create", "deletecollection"]
PATHS = ["/healthz", "/api", "/api/v1", "/x*"]
NODE = "spec.nodeName"
NOW = 1000.0


def some_of(values: list[str], *, at_least: int = 1) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), min_size=at_least, max_size=3, unique=True).map(tuple)


def mostly(usual: tuple[str, ...], others: list[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """The usual words three times out of four: with independent choices hardly any rule would meet a question."""
    return st.integers(0, 3).flatmap(lambda die: st.just(usual) if die else some_of(others))


templates = st.sampled_from(["${node}", "${user.name}", "${user.uid}", "${user.extra[team]}", "t-${user.extra[team]}"])
values = st.sampled_from(["a", "b", "t-a", "alice"]) | templates
fields = st.builds(FieldTerm, st.sampled_from([NODE, "status.phase"]), st.booleans(), values)
field_selectors = st.lists(fields, max_size=2, unique=True).map(lambda terms: FieldSelector(tuple(terms)))
requirements = st.builds(
    LabelRequirement,
    st.sampled_from(["team", "tier"]),
    st.sampled_from([LabelOperator.IN, LabelOperator.NOT_IN]),
    st.lists(values, min_size=1, max_size=2, unique=True).map(lambda values: tuple(sorted(values))),
) | st.builds(
    LabelRequirement,
    st.sampled_from(["team", "tier"]),
    st.sampled_from([LabelOperator.EXISTS, LabelOperator.DOES_NOT_EXIST]),
    st.just(()),
)
label_selectors = st.lists(requirements, max_size=2, unique=True).map(lambda terms: LabelSelector(tuple(terms)))

resource_rules = st.builds(
    lambda verbs, resources, groups, names: rule(" ".join(verbs), " ".join(resources), groups=groups, names=names),
    mostly(("*",), VERBS),
    mostly(("pods", "namespaces", "pods/log"), [*RESOURCES, "*", "pods/log", "*/log", "pods/*"]),
    mostly(("", "apps"), ["", "apps", "*"]),
    mostly((), [*NAMES, ""]),
)
url_rules = st.builds(
    lambda verbs, urls: rule(" ".join(verbs), urls=" ".join(urls)),
    some_of(["get", "*"]),
    some_of(["/healthz", "/api", "/api/*", "/api*", "/a**", "*"]),
)
templated_names = [*NAMES, "", "${node}", "${user.name}", "${user.extra[team]}"]
named_rules = st.builds(
    lambda verbs, names: rule(" ".join(verbs), "pods namespaces nodes", groups=("*",), names=names),
    mostly(("*",), VERBS),
    some_of(templated_names),
)
scoped_rules = st.builds(
    lambda verbs, resources, names, fields, labels: rule(
        " ".join(verbs), " ".join(resources), names=names, groups=("*",), fields=fields, labels=labels
    ),
    mostly(("get", "list", "watch"), ["get", "list", "watch"]),
    mostly(("pods", "namespaces"), [*RESOURCES, "*"]),
    mostly((), templated_names),
    st.none() | field_selectors,
    st.none() | label_selectors,
)


def roles(dialect: Dialect) -> st.SearchStrategy[list[Role]]:
    cluster_rules: st.SearchStrategy[PolicyRule] = resource_rules | url_rules
    local_rules: st.SearchStrategy[PolicyRule] = resource_rules
    if dialect is Dialect.WATCHKEEPER:
        cluster_rules, local_rules = (each | scoped_rules | named_rules for each in (cluster_rules, local_rules))
    cluster = st.builds(
        lambda name, rules: role(name, *rules, dialect=dialect),
        st.sampled_from(["r", "s"]),
        st.lists(cluster_rules, min_size=1, max_size=2),
    )
    local = st.builds(
        lambda name, namespace, rules: role(name, *rules, namespace=namespace, dialect=dialect),
        st.sampled_from(["r", "s"]),
        st.sampled_from(NAMESPACES),
        st.lists(local_rules, max_size=2),
    )
    return st.lists(cluster | local, min_size=2, max_size=5, unique_by=lambda role: (role.namespace, role.name))


def subjects(dialect: Dialect) -> st.SearchStrategy[Subject]:
    names = ["alice", "alice", "system:node:a"]
    if dialect is Dialect.WATCHKEEPER:
        names += ["system:node:{node}", "{node}", "a{node}e"]
    return st.one_of(
        st.sampled_from(names).map(user_subject),
        st.sampled_from(["dev", "dev", "ops"]).map(group_subject),
        st.builds(service_account, st.just("robot"), st.sampled_from(["", "a", "b"])),
    )


def bindings(dialect: Dialect) -> st.SearchStrategy[list[Binding]]:
    role_name = st.sampled_from(["r", "r", "s"])
    whom = st.lists(subjects(dialect), min_size=1, max_size=3)
    expires = st.none()
    role_dialects = st.just(dialect)
    if dialect is Dialect.WATCHKEEPER:
        expires |= st.none() | st.sampled_from([NOW - 1, NOW, NOW + 1])
        role_dialects |= st.just(Dialect.RBAC)
    kinds = st.builds(
        lambda name, kind, role_name, role_dialect, whom, namespace, expires: binding(
            name,
            role_name,
            *whom,
            namespace=namespace,
            kind=kind,
            dialect=dialect,
            role_dialect=role_dialect,
            expires=expires,
        ),
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from(["Role", "ClusterRole", "ClusterRole"]),
        role_name,
        role_dialects,
        whom,
        st.sampled_from(NAMESPACES),
        expires,
    )
    narrowed: st.SearchStrategy[Binding] = st.nothing()
    if dialect is Dialect.WATCHKEEPER:
        entries = st.sampled_from(
            [*NAMESPACES, "team-*", "*a*", "*", "${node}", "${user.extra[team]}", "team-${node}-1"]
        )
        narrowed = st.builds(
            lambda name, role_name, role_dialect, whom, namespaces, selector, expires: binding(
                name,
                role_name,
                *whom,
                dialect=dialect,
                role_dialect=role_dialect,
                namespaces=namespaces,
                namespace_selector=selector,
                expires=expires,
            ),
            st.sampled_from(["one", "two", "three"]),
            role_name,
            role_dialects,
            whom,
            st.none() | st.lists(entries, max_size=2),
            st.none() | label_selectors,
            expires,
        )
    wide = st.builds(
        lambda name, role_name, role_dialect, whom, expires: binding(
            name, role_name, *whom, dialect=dialect, role_dialect=role_dialect, expires=expires
        ),
        st.sampled_from(["one", "two", "three"]),
        role_name,
        role_dialects,
        whom,
        expires,
    )
    return st.lists(wide | kinds | narrowed, min_size=1, max_size=8, unique_by=lambda each: (each.namespace, each.name))


rbac_policies = st.builds(
    lambda roles, bindings: PolicySet(roles=tuple(roles), bindings=tuple(bindings)),
    roles(Dialect.RBAC),
    bindings(Dialect.RBAC),
)
policies = st.builds(
    lambda roles, more_roles, bindings, more_bindings: PolicySet(
        roles=(*roles, *more_roles), bindings=(*bindings, *more_bindings)
    ),
    roles(Dialect.WATCHKEEPER),
    roles(Dialect.RBAC),
    bindings(Dialect.WATCHKEEPER),
    st.just([]) | bindings(Dialect.RBAC),
)

users = st.builds(
    lambda name, uid, groups, team: User(
        name=name, uid=uid, groups=groups, extra=(("team", team),) if team is not None else ()
    ),
    st.sampled_from(
        ["alice", "alice", "alice", "a:e", "ae", "system:node:a", "system:node:", "system:serviceaccount:a:robot"]
    ),
    st.sampled_from(["", "a", "*"]),
    st.sampled_from([(), ("dev",), ("dev", "ops")]),
    st.none() | st.lists(st.sampled_from(["a", "b", "", "*", "team-b", "-"]), max_size=2).map(tuple),
)

questions = st.builds(
    lambda verb, resource, group, namespace, name, subresource: asking(
        verb, resource, group=group, namespace=namespace, name=name, subresource=subresource
    ),
    st.sampled_from(VERBS),
    st.sampled_from(["pods", *RESOURCES]),
    st.sampled_from(["", "", "apps"]),
    st.sampled_from(["", *NAMESPACES]),
    st.sampled_from(["", *NAMES]),
    st.sampled_from(["", "", "", "log"]),
) | st.builds(asking_path, st.sampled_from(["get", "post"]), st.sampled_from(PATHS))

reads = st.builds(
    lambda verb, resource, group, namespace, name: asking(verb, resource, group=group, namespace=namespace, name=name),
    st.sampled_from(["get", "list", "watch"]),
    st.sampled_from(["pods", *RESOURCES]),
    st.sampled_from(["", "", "apps"]),
    st.sampled_from(["", "", "", "", *NAMESPACES]),
    st.sampled_from(["", "", "", *NAMES]),
)

label_maps = st.dictionaries(st.sampled_from(["team", "tier"]), st.sampled_from(["a", "b", "t-a"]), max_size=2)
worlds = st.dictionaries(st.sampled_from(NAMESPACES), label_maps).map(lambda labels: World(labels, NOW))

LABELS: list[Mapping[str, str]] = [{}, {"team": "a"}, {"team": "t-a", "tier": "b"}]
FIELDS: list[Mapping[str, str]] = [
    {},
    {NODE: "", "status.phase": "a"},
    {NODE: "a", "status.phase": "b"},
    {NODE: "alice"},
]


def things(asked: Attributes) -> Iterator[Thing]:
    """Objects of every kind among those that the question names."""
    for place, name in _addresses(asked):
        for labels, fields in product(LABELS, FIELDS):
            yield Thing(place, name, labels, fields)


def _addresses(asked: Attributes) -> Iterator[tuple[str, str]]:
    if (asked.api_group, asked.resource) == ("", "namespaces") and not (asked.namespace and asked.name):
        for name in {*NAMESPACES, *NAMES}:
            if asked.namespace in ("", name) and asked.name in ("", name):
                yield name, name
        return
    if asked.namespace:
        places = [asked.namespace]
    else:
        places = [""] if asked.resource in CLUSTER_SCOPED else NAMESPACES
    yield from product(places, [asked.name] if asked.name else NAMES)
