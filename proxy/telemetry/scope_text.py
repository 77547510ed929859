"""A scope in one line for people: `namespaces=team-a,team-c | fieldSelector=spec.nodeName=node1`."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.api.selectors import format_field_selector, format_label_selector
from proxy.authz.scope import Grant, Scope

MAX_SCOPE_CHARACTERS = 1024
"""A line of the audit log stays short whatever the policy; what is cut ends in an ellipsis."""

_CUT = "…"


def scope_text(scope: Scope) -> str:
    """The grants of a scope, equal for equal scopes, cut to MAX_SCOPE_CHARACTERS."""
    if scope.everything:
        return "everything"
    text = " | ".join(sorted(map(_grant_text, scope.grants))) or "nothing"
    return text if len(text) <= MAX_SCOPE_CHARACTERS else text[: MAX_SCOPE_CHARACTERS - len(_CUT)] + _CUT


def _grant_text(grant: Grant) -> str:
    conditions = []
    if grant.namespaces is not None:
        conditions.append(f"namespaces={_joined(grant.namespaces.names | grant.namespaces.globs)}")
    if grant.names is not None:
        conditions.append(f"names={_joined(grant.names)}")
    if grant.label_selector is not None:
        conditions.append(f"labelSelector={format_label_selector(grant.label_selector)}")
    if grant.field_selector is not None:
        conditions.append(f"fieldSelector={format_field_selector(grant.field_selector)}")
    return " ".join(conditions)


def _joined(words: Iterable[str]) -> str:
    return ",".join(sorted(words))
