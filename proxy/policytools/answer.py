"""The answer to a question of authorization, for people and for scripts.

In JSON a scope is null where nothing is allowed, `"everything"`, or the list of its grants: an object is in scope when
it is in one of them. A grant is an object of conditions that must all hold: `namespaces` (names, and globs with `*`),
`names`, `labelSelector` and `fieldSelector` (as in a query); a condition that is not there does not limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, assert_never

from proxy.api.selectors import format_field_selector, format_label_selector
from proxy.authn.user import User
from proxy.authz.decision import Attributes, Decision, Denied, Permit, Undecided
from proxy.authz.rbac import authorize
from proxy.authz.scope import NOTHING, Grant, Scope
from proxy.authz.state import AuthorizationState
from proxy.policytools.builtin_resources import groups_of, is_namespaced

GrantDocument: TypeAlias = dict[str, list[str] | str]
ScopeDocument: TypeAlias = str | list[GrantDocument] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`status` is that of the HTTP answer: 200, 403, or 503 where namespace labels are needed and not known."""

    status: int
    scope: Scope
    reason: str

    @property
    def allowed(self) -> bool:
        """True when the scope of what was asked is not empty."""
        return not self.scope.is_empty

    @property
    def filtered(self) -> bool:
        """True when it is less than everything asked."""
        return self.allowed and not self.scope.everything

    def document(self) -> dict[str, object]:
        """The answer to a line of `can-i --batch`."""
        return {
            "allowed": self.allowed,
            "filtered": self.filtered,
            "reason": self.reason,
            "scope": scope_document(self.scope),
        }


def ask(state: AuthorizationState, user: User, attributes: Attributes) -> Answer:
    """Puts one question, as a server with `--list-mode filter` would."""
    answer = _answer_of(authorize(state, user, attributes, strict=False))
    return Answer(status=answer.status, scope=answer.scope, reason=answer.reason + _unknown_resource(attributes))


def counts_as_namespaced(group: str, resource: str) -> bool:
    """What is taken for discovery: the built-in resources as they are, all others as namespaced."""
    return is_namespaced(group, resource) is not False


def scope_document(scope: Scope) -> ScopeDocument:
    """The scope as JSON shows it."""
    if scope.everything:
        return "everything"
    return sorted(map(_grant_document, scope.grants), key=str) or None


def _grant_document(grant: Grant) -> GrantDocument:
    document: GrantDocument = {}
    if grant.namespaces is not None:
        document["namespaces"] = sorted(grant.namespaces.names | grant.namespaces.globs)
    if grant.names is not None:
        document["names"] = sorted(grant.names)
    if grant.label_selector is not None:
        document["labelSelector"] = format_label_selector(grant.label_selector)
    if grant.field_selector is not None:
        document["fieldSelector"] = format_field_selector(grant.field_selector)
    return document


def _answer_of(decision: Decision) -> Answer:
    match decision:
        case Permit():
            return Answer(status=200, scope=decision.scope, reason=decision.reason)
        case Denied():
            return Answer(status=403, scope=NOTHING, reason=decision.message)
        case Undecided():
            reason = f"{decision.message}: give Namespace manifests with --namespaces"
            return Answer(status=503, scope=NOTHING, reason=reason)
        case _:
            assert_never(decision)


def _unknown_resource(attributes: Attributes) -> str:
    group, resource = attributes.api_group, attributes.resource
    if not attributes.is_resource_request or resource == "*" or is_namespaced(group, resource) is not None:
        return ""
    full_name = f"{resource}.{group}" if group else resource
    note = f"; resource `{full_name}` is not built in and counts as namespaced"
    if others := groups_of(resource):
        note += ", did you mean " + " or ".join(
            f"`{resource}.{other}`" if other else f"`{resource}`" for other in others
        )
        note += "?"
    return note
