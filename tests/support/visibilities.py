"""Hypothesis strategies for objects, scopes and visibilities over a small world, so that they meet."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from proxy.api.objects import ObjectVersion
from proxy.api.selectors import parse_field_selector, parse_label_selector
from proxy.authz.scope import EVERYTHING, NOTHING, Grant, Scope
from proxy.authz.union import union_of
from proxy.authz.visibility import Visibility
from proxy.policy.namespace_set import NamespaceSet

T = TypeVar("T")

NAMESPACES = ("team-a", "team-b", "other")
NAMES = ("x", "y", "z")
NODES = ("", "node1", "node2")
LABEL_SETS: tuple[dict[str, str], ...] = ({}, {"app": "web"}, {"app": "db"}, {"app": "web", "tier": "1"})
LABEL_SELECTORS = ("app=web", "app!=web", "app in (web,db)", "tier", "!tier", "app=web,!tier")
POLICY_FIELDS = ("spec.nodeName=node1", "spec.nodeName!=node1", "metadata.name=x", "spec.nodeName=")
CLIENT_FIELDS = (
    "spec.nodeName=node2", "spec.nodeName!=node1", "spec.nodeName=", "metadata.name=y", "metadata.namespace=team-a",
    "metadata.name!=z,spec.nodeName=node1",
)  # fmt: skip

namespace_sets = st.builds(
    NamespaceSet,
    st.frozensets(st.sampled_from(NAMESPACES), max_size=2),
    st.frozensets(st.sampled_from(("team-*", "*-b", "o*")), max_size=1),
).filter(lambda places: not places.is_empty)

grants = st.builds(
    Grant,
    namespaces=st.none() | namespace_sets,
    names=st.none() | st.frozensets(st.sampled_from(NAMES), min_size=1, max_size=2),
    field_selector=st.none() | st.sampled_from(POLICY_FIELDS).map(parse_field_selector),
    label_selector=st.none() | st.sampled_from(LABEL_SELECTORS).map(parse_label_selector),
)

scopes: st.SearchStrategy[Scope] = st.one_of(
    st.just(EVERYTHING), st.just(NOTHING), st.lists(grants, min_size=1, max_size=3).map(union_of)
)


def read_client_field(version: ObjectVersion, label: str) -> str:
    """A client's field: absent reads as empty."""
    return version.field(label) or ""


def seldom(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """Mostly None: where every condition is there, nothing is visible."""
    return st.one_of(st.none(), st.none(), strategy)


visibilities = st.builds(
    Visibility,
    scope=scopes,
    namespace=st.sampled_from(("", "", "", "", *NAMESPACES)),
    name=st.sampled_from(("", "", "", "", "", *NAMES)),
    namespace_is_name=st.just(False),
    label_selector=seldom(st.sampled_from(LABEL_SELECTORS).map(parse_label_selector)),
    field_selector=seldom(st.sampled_from(CLIENT_FIELDS).map(parse_field_selector)),
    read_field=st.just(read_client_field),
)
