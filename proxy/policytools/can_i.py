"""`can-i`: may this user do that? Asked in kubectl's words, or as SubjectAccessReviews, one a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from proxy.authz.decision import Attributes
from proxy.authz.scope import NOTHING
from proxy.authz.state import AuthorizationState
from proxy.policytools.access_review import read_access_review
from proxy.policytools.answer import Answer, ask, counts_as_namespaced

_BAD_REQUEST = 400


def question(verb: str, what: str, *, namespace: str, subresource: str) -> Attributes:
    """VERB and RESOURCE[.GROUP][/NAME], or VERB and a URL path, which begins with `/`.

    Raises ValueError when a part is empty, or given with a path.
    """
    if not verb:
        raise ValueError("VERB is empty")
    if what.startswith("/"):
        if namespace or subresource:
            raise ValueError(f"the path `{what}` is no resource: it has no namespace and no subresource")
        return Attributes(verb=verb, is_resource_request=False, path=what)
    group_resource, slash, name = what.partition("/")
    resource, dot, group = group_resource.partition(".")
    if not resource or (dot and not group) or (slash and not name):
        raise ValueError(f"`{what}` is not of the form RESOURCE[.GROUP][/NAME]")
    return Attributes(
        verb=verb,
        is_resource_request=True,
        api_group=group,
        api_version="*",
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
        namespaced=counts_as_namespaced(group, resource),
    )


def answer_text(answer: Answer) -> str:
    """`yes`, `yes (filtered)` or `no`, and the reason on a line of its own."""
    if not answer.allowed:
        word = "no"
    else:
        word = "yes (filtered)" if answer.filtered else "yes"
    return f"{word}\n{answer.reason}"


def answer_reviews(state: AuthorizationState, lines: Iterable[bytes]) -> Iterator[bytes]:
    """One line of JSON for each line, in order: the Answer's document, without line breaks.

    A line that is no SubjectAccessReview spec gets a refusal whose reason begins with `line N: `.
    """
    for number, line in enumerate(lines, start=1):
        yield msgspec.json.encode(_answer_review(state, number, line).document())


def _answer_review(state: AuthorizationState, number: int, line: bytes) -> Answer:
    try:
        user, attributes = read_access_review(line)
    except ValueError as error:
        return Answer(status=_BAD_REQUEST, scope=NOTHING, reason=f"line {number}: {error}")
    return ask(state, user, attributes)
