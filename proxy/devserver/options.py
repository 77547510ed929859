"""The options of a read, from the query, under upstream's rules: the first value of a repeated key counts.

Source: k8s.io/apimachinery/pkg/apis/meta/internalversion/{defaults.go,validation/validation.go}
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_plus

from proxy.api.selectors import FieldSelector, LabelSelector, parse_field_selector, parse_label_selector
from proxy.api.status import BadRequest, InternalError, Invalid
from proxy.devserver.kinds import Body, Kind

NOT_OLDER_THAN = "NotOlderThan"
EXACT = "Exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a client selects among the objects of a kind."""

    kind: Kind
    namespace: str
    labels: LabelSelector
    fields: FieldSelector

    @property
    def is_everything(self) -> bool:
        """True without selectors; the namespace does not count as one."""
        return not self.labels.requirements and not self.fields.terms

    def matches(self, body: Body) -> bool:
        """True when the object is in the namespace, if one was named, and matches both selectors."""
        metadata = body["metadata"]
        if self.namespace and metadata.get("namespace") != self.namespace:
            return False
        return self.labels.matches(metadata.get("labels") or {}) and self.fields.matches(
            lambda label: self.kind.field(body, label)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """The checked options of a get, list or watch. `rv` None is an absent resourceVersion.

    `timeout_seconds` None is an absent or non-positive timeoutSeconds.
    """

    watch: bool
    rv: int | None
    match: str
    limit: int
    continue_token: str
    send_initial_events: bool
    allow_bookmarks: bool
    timeout_seconds: int | None
    include_object: str


def parse_query(query: bytes) -> dict[str, str]:
    """The first value of every key; pairs with `;` are dropped. Source: Go net/url ParseQuery."""
    values: dict[str, str] = {}
    for pair in query.decode("ascii", "replace").split("&"):
        if pair and ";" not in pair:
            key, _, value = pair.partition("=")
            values.setdefault(unquote_plus(key), unquote_plus(value))
    return values


def is_true(query: dict[str, str], key: str) -> bool:
    """Upstream's reading of a boolean: everything is true but an absent key, `0` and `false`."""
    return key in query and query[key] != "0" and query[key].lower() != "false"


def parse_selection(query: dict[str, str], kind: Kind, namespace: str) -> Selection:
    """The selectors of a list, watch or deletecollection. Raises BadRequest."""
    fields = parse_field_selector(query.get("fieldSelector", ""))
    for term in fields.terms:
        kind.check_field_label(term.path)
    return Selection(
        kind=kind,
        namespace=namespace,
        labels=parse_label_selector(query.get("labelSelector", "")),
        fields=fields,
    )


def parse_read_options(query: dict[str, str]) -> ReadOptions:
    """The options of one read. Raises BadRequest or Invalid."""
    watch = is_true(query, "watch")
    rv_text = query.get("resourceVersion", "")
    initial = is_true(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    match = query.get("resourceVersionMatch", "")
    if watch and initial is None and rv_text in ("", "0") and not match:
        initial, match = True, NOT_OLDER_THAN
    if problem := _problem(watch=watch, rv=rv_text, match=match, initial=initial, query=query):
        raise Invalid(f'ListOptions.meta.k8s.io "" is invalid: {problem}')
    include_object = query.get("includeObject", "") or "Metadata"
    if include_object not in ("None", "Metadata", "Object"):
        raise BadRequest(f'unrecognized includeObject value: "{include_object}"')
    timeout_seconds = _integer(query, "timeoutSeconds")
    return ReadOptions(
        watch=watch,
        rv=_parse_rv(rv_text, watch=watch),
        match=match,
        limit=_integer(query, "limit"),
        continue_token=query.get("continue", ""),
        send_initial_events=bool(initial),
        allow_bookmarks=is_true(query, "allowWatchBookmarks"),
        timeout_seconds=timeout_seconds if timeout_seconds > 0 else None,
        include_object=include_object,
    )


def _problem(*, watch: bool, rv: str, match: str, initial: bool | None, query: dict[str, str]) -> str | None:
    continued = bool(query.get("continue"))
    if match and continued:
        return "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided"
    if initial is not None:
        if not watch:
            return "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"
        if match != NOT_OLDER_THAN:
            return (
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to "
                "NotOlderThan"
            )
        return None
    if not match:
        return None
    if watch:
        return (
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is "
            "provided"
        )
    if not rv:
        return "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
    if match not in (EXACT, NOT_OLDER_THAN):
        return f'resourceVersionMatch: Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
    if match == EXACT and rv == "0":
        return 'resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
    return None


def _parse_rv(text: str, *, watch: bool) -> int | None:
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    message = f'invalid resource version: resourceVersion: Invalid value: "{text}"'
    if watch:  # upstream does not convert this error on a watch
        raise InternalError(message)
    raise BadRequest(message)


def _integer(query: dict[str, str], key: str) -> int:
    text = query.get(key, "") or "0"
    try:
        return int(text)
    except ValueError:
        raise BadRequest(
            f'unable to decode query parameter `{key}`: strconv.ParseInt: parsing "{text}": invalid syntax'
        ) from None
