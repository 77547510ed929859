"""ListOptions: the query of a list or watch, decoded, defaulted and validated as upstream does, in upstream's order.

decode (400) → default → validate (422) → the field selector must fit the requested name (400) → resourceVersion (400).

Source: k8s.io/apimachinery/pkg/apis/meta/internalversion; k8s.io/apiserver/pkg/endpoints/handlers/get.go listOpts
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from proxy.api.go_text import json_string, parse_int64, parse_uint64, quote
from proxy.api.query import Query, parse_boolean
from proxy.api.selectors import (
    FieldSelector,
    FieldTerm,
    LabelSelector,
    format_field_selector,
    format_label_selector,
    parse_field_selector,
    parse_label_selector,
)
from proxy.api.status import BadRequest, Invalid, StatusCause, StatusDetails

EXACT = "Exact"
NOT_OLDER_THAN = "NotOlderThan"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """The options of a list or watch. A selector is None when it selects everything.

    `limit` 0 is no limit; `timeout_seconds` and `send_initial_events` are None when not given. `include_object` is what
    a Table's rows shall carry, as given.
    """

    label_selector: LabelSelector | None = None
    field_selector: FieldSelector | None = None
    watch: bool = False
    allow_watch_bookmarks: bool = False
    resource_version: str = ""
    resource_version_match: str = ""
    timeout_seconds: int | None = None
    limit: int = 0
    continue_token: str = ""
    send_initial_events: bool | None = None
    include_object: str = ""

    @property
    def label_selector_text(self) -> str:
        """The label selector as a canonical query value, empty for everything."""
        return format_label_selector(self.label_selector) if self.label_selector else ""

    @property
    def field_selector_text(self) -> str:
        """The field selector as a canonical query value, empty for everything."""
        return format_field_selector(self.field_selector) if self.field_selector else ""


def decode_list_options(query: Query) -> ListOptions:
    """Decodes the options. Raises BadRequest with upstream's sentence for a bad integer or selector."""
    timeout_seconds = query.first("timeoutSeconds")
    limit = query.first("limit")
    send_initial_events = query.first("sendInitialEvents")
    options = ListOptions(
        watch=_boolean(query, "watch"),
        allow_watch_bookmarks=_boolean(query, "allowWatchBookmarks"),
        resource_version=query.first("resourceVersion") or "",
        resource_version_match=query.first("resourceVersionMatch") or "",
        timeout_seconds=None if timeout_seconds is None else _integer(timeout_seconds),
        limit=0 if limit is None else _integer(limit),
        continue_token=query.first("continue") or "",
        send_initial_events=None if send_initial_events is None else parse_boolean(send_initial_events),
        include_object=query.first("includeObject") or "",
    )
    labels = parse_label_selector(query.first("labelSelector") or "")
    fields = parse_field_selector(query.first("fieldSelector") or "")
    return replace(
        options,
        label_selector=labels if labels.requirements else None,
        field_selector=fields if fields.terms else None,
    )


def with_watch_defaults(options: ListOptions) -> ListOptions:
    """A watch without resourceVersion, or with `0`, begins with the state: it gets initial events."""
    if not options.watch or options.send_initial_events is not None or options.resource_version_match:
        return options
    if options.resource_version not in ("", "0"):
        return options
    return replace(options, send_initial_events=True, resource_version_match=NOT_OLDER_THAN)


def validate_for_list(options: ListOptions) -> None:
    """Raises Invalid, with a cause for each mistake, when the options do not fit a list."""
    match = options.resource_version_match
    causes = []
    if match:
        if not options.resource_version:
            causes.append(_forbidden_match("resourceVersionMatch is forbidden unless resourceVersion is provided"))
        if options.continue_token:
            causes.append(_forbidden_match("resourceVersionMatch is forbidden when continue is provided"))
        if match not in (EXACT, NOT_OLDER_THAN):
            causes.append(_unsupported_match(match, EXACT, NOT_OLDER_THAN, ""))
        if match == EXACT and options.resource_version == "0":
            causes.append(_forbidden_match('resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if options.send_initial_events is not None:
        causes.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    _raise_invalid(causes)


def validate_for_watch(options: ListOptions) -> None:
    """Raises Invalid, with a cause for each mistake, when the options do not fit a watch. Apply the defaults before."""
    match = options.resource_version_match
    causes = []
    if options.send_initial_events is not None and match != NOT_OLDER_THAN:
        causes.append(_forbidden_match(f"sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER_THAN}"))
    if match:
        if options.send_initial_events is None:
            causes.append(
                _forbidden_match("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
            )
        if match != NOT_OLDER_THAN:
            causes.append(_unsupported_match(match, NOT_OLDER_THAN))
        if options.continue_token:
            causes.append(_forbidden_match("resourceVersionMatch is forbidden when continue is provided"))
    _raise_invalid(causes)


def narrowed_to_name(options: ListOptions, name: str) -> ListOptions:
    """The options with the requested name as a field selector.

    `name` is the request's name, which a collection has from its field selector. Raises BadRequest when a selector is
    there and does not require that name. An empty name changes nothing.
    """
    if not name:
        return options
    if options.field_selector is None:
        return replace(options, field_selector=FieldSelector((FieldTerm("metadata.name", False, name),)))
    if options.field_selector.required_value("metadata.name") != name:
        raise BadRequest("fieldSelector metadata.name doesn't match requested name")
    return options


def parse_resource_version(text: str) -> int:
    """A resourceVersion as a number; "" is 0, as `0` is. Raises BadRequest for anything but 64-bit decimal digits."""
    if not text:
        return 0
    value = parse_uint64(text)
    if value is None:
        error = f"strconv.ParseUint: parsing {quote(text)}: {_parse_error(text, signed=False)}"
        raise BadRequest(f"invalid resource version: resourceVersion: Invalid value: {quote(text)}: {error}")
    return value


def _boolean(query: Query, name: str) -> bool:
    value = query.first(name)
    return value is not None and parse_boolean(value)


def _integer(text: str) -> int:
    value = parse_int64(text)
    if value is None:
        raise BadRequest(f"strconv.ParseInt: parsing {quote(text)}: {_parse_error(text, signed=True)}")
    return value


def _parse_error(text: str, *, signed: bool) -> str:
    digits = text[1:] if signed and text[:1] in ("+", "-") else text
    return "value out of range" if digits.isascii() and digits.isdigit() else "invalid syntax"


def _forbidden_match(message: str) -> StatusCause:
    return _forbidden("resourceVersionMatch", message)


def _forbidden(field: str, message: str) -> StatusCause:
    return StatusCause(reason="FieldValueForbidden", message=f"Forbidden: {message}", field=field)


def _unsupported_match(value: str, *supported: str) -> StatusCause:
    listed = ", ".join(map(quote, supported))
    return StatusCause(
        reason="FieldValueNotSupported",
        message=f"Unsupported value: {json_string(value)}: supported values: {listed}",
        field="resourceVersionMatch",
    )


def _raise_invalid(causes: list[StatusCause]) -> None:
    if not causes:
        return
    errors = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    raise Invalid(
        f'ListOptions.meta.k8s.io "" is invalid: {listed}',
        details=StatusDetails(group="meta.k8s.io", kind="ListOptions", causes=tuple(causes)),
    )
