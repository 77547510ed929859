"""List options are decoded, defaulted and validated as upstream does; the sentences are a kube-apiserver's own."""

import pytest

from proxy.api.list_options import (
    ListOptions,
    decode_list_options,
    narrowed_to_name,
    parse_resource_version,
    validate_for_list,
    validate_for_watch,
    with_watch_defaults,
)
from proxy.api.query import parse_query
from proxy.api.selectors import parse_field_selector, parse_label_selector
from proxy.api.status import BadRequest, Invalid

FORBIDDEN = "FieldValueForbidden"
NOT_SUPPORTED = "FieldValueNotSupported"
INVALID = 'ListOptions.meta.k8s.io "" is invalid: '


def decoded(query: str) -> ListOptions:
    return decode_list_options(parse_query(query.encode()))


def test_an_empty_query_is_a_plain_list_of_everything() -> None:
    assert decoded("") == ListOptions()


def test_every_option_is_decoded() -> None:
    assert decoded(
        "labelSelector=a%3Db&fieldSelector=metadata.name%3Dp&watch=1&allowWatchBookmarks&resourceVersion=5"
        "&resourceVersionMatch=NotOlderThan&timeoutSeconds=-3&limit=%2B7&continue=t&sendInitialEvents=0&includeObject=None"
    ) == ListOptions(
        label_selector=parse_label_selector("a=b"),
        field_selector=parse_field_selector("metadata.name=p"),
        watch=True,
        allow_watch_bookmarks=True,
        resource_version="5",
        resource_version_match="NotOlderThan",
        timeout_seconds=-3,
        limit=7,
        continue_token="t",
        send_initial_events=False,
        include_object="None",
    )


@pytest.mark.parametrize("query", ["labelSelector=&fieldSelector=", "labelSelector=+&fieldSelector=,,"])
def test_a_selector_of_everything_is_none(query: str) -> None:
    assert decoded(query) == ListOptions()


def test_selector_texts_are_canonical() -> None:
    options = decoded("labelSelector=b,a%3D%3D1&fieldSelector=x%3D%3D1")
    assert (options.label_selector_text, options.field_selector_text) == ("a=1,b", "x=1")
    assert (ListOptions().label_selector_text, ListOptions().field_selector_text) == ("", "")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("limit=", 'strconv.ParseInt: parsing "": invalid syntax'),
        ("limit=1_0", 'strconv.ParseInt: parsing "1_0": invalid syntax'),
        ("timeoutSeconds=9223372036854775808", 'strconv.ParseInt: parsing "9223372036854775808": value out of range'),
        ("labelSelector=a,", "found '', expected: identifier after ','"),
        ("fieldSelector=a", "invalid selector: 'a'; can't understand 'a'"),
        ("fieldSelector=a&labelSelector=%28&limit=x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("fieldSelector=a&labelSelector=a,", "found '', expected: identifier after ','"),
    ],
)
def test_what_cannot_be_decoded_is_a_bad_request(query: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decoded(query)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("query", "initial_events", "match"),
    [
        ("watch=1", True, "NotOlderThan"),
        ("watch=1&resourceVersion=0", True, "NotOlderThan"),
        ("watch=1&resourceVersion=5", None, ""),
        ("watch=1&sendInitialEvents=0", False, ""),
        ("watch=1&resourceVersionMatch=Exact", None, "Exact"),
        ("resourceVersion=0", None, ""),
    ],
)
def test_a_watch_without_history_is_given_initial_events(query: str, initial_events: bool | None, match: str) -> None:
    options = with_watch_defaults(decoded(query))
    assert (options.send_initial_events, options.resource_version_match) == (initial_events, match)


@pytest.mark.parametrize(
    ("query", "message", "reasons"),
    [
        (
            "resourceVersionMatch=Exact",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            [FORBIDDEN],
        ),
        (
            "resourceVersionMatch=foo%3C",
            "[resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided, "
            r'resourceVersionMatch: Unsupported value: "foo\u003c": supported values: "Exact", "NotOlderThan", ""]',
            [FORBIDDEN, NOT_SUPPORTED],
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            'resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
            [FORBIDDEN],
        ),
        (
            "continue=x&resourceVersionMatch=Exact&resourceVersion=1",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
            [FORBIDDEN],
        ),
        ("sendInitialEvents=0", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list", [FORBIDDEN]),
    ],
)
def test_options_that_do_not_fit_a_list_are_invalid(query: str, message: str, reasons: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        validate_for_list(decoded(query))
    _assert_invalid(caught.value, message, reasons)


@pytest.mark.parametrize(
    ("query", "message", "reasons"),
    [
        (
            "sendInitialEvents=1",
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            [FORBIDDEN],
        ),
        (
            "resourceVersionMatch=NotOlderThan",
            "resourceVersionMatch: Forbidden: "
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            [FORBIDDEN],
        ),
        (
            "resourceVersionMatch=Exact",
            "[resourceVersionMatch: Forbidden: "
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided, "
            'resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan"]',
            [FORBIDDEN, NOT_SUPPORTED],
        ),
        (
            "sendInitialEvents=1&resourceVersionMatch=NotOlderThan&continue=x",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
            [FORBIDDEN],
        ),
    ],
)
def test_options_that_do_not_fit_a_watch_are_invalid(query: str, message: str, reasons: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        validate_for_watch(with_watch_defaults(decoded(f"watch=1&{query}")))
    _assert_invalid(caught.value, message, reasons)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "resourceVersion=5",
        "resourceVersion=5&resourceVersionMatch=Exact",
        "resourceVersion=0&limit=5",
        "continue=x",
    ],
)
def test_other_lists_are_valid(query: str) -> None:
    validate_for_list(decoded(query))


@pytest.mark.parametrize(
    "query",
    [
        "",
        "resourceVersion=5",
        "sendInitialEvents=1&resourceVersionMatch=NotOlderThan",
        "resourceVersion=5&limit=5&continue=x",
    ],
)
def test_other_watches_are_valid(query: str) -> None:
    validate_for_watch(with_watch_defaults(decoded(f"watch=1&{query}")))


def test_a_requested_name_becomes_the_selector() -> None:
    assert narrowed_to_name(ListOptions(limit=5), "p") == ListOptions(
        limit=5, field_selector=parse_field_selector("metadata.name=p")
    )


def test_a_selector_that_requires_the_name_keeps_its_other_terms() -> None:
    options = decoded("fieldSelector=metadata.name%3Dp,spec.nodeName%3Dn")
    assert narrowed_to_name(options, "p") == options
    assert narrowed_to_name(options, "") == options


@pytest.mark.parametrize("selector", ["metadata.name%3Dq", "spec.nodeName%3Dn", "metadata.name!%3Dp"])
def test_a_selector_that_does_not_require_the_name_is_refused(selector: str) -> None:
    with pytest.raises(BadRequest) as caught:
        narrowed_to_name(decoded(f"fieldSelector={selector}"), "p")
    assert caught.value.message == "fieldSelector metadata.name doesn't match requested name"


@pytest.mark.parametrize(("text", "value"), [("", 0), ("0", 0), ("007", 7), ("18446744073709551615", 2**64 - 1)])
def test_a_resource_version_is_an_unsigned_number(text: str, value: int) -> None:
    assert parse_resource_version(text) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("abc", "invalid syntax"),
        ("-1", "invalid syntax"),
        ("+5", "invalid syntax"),
        ("0x1", "invalid syntax"),
        ("1 ", "invalid syntax"),
        ("٣", "invalid syntax"),
        ("18446744073709551616", "value out of range"),
        ("9" * 5000, "value out of range"),
    ],
)
def test_any_other_resource_version_is_a_bad_request(text: str, problem: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_resource_version(text)
    assert caught.value.message == (
        f'invalid resource version: resourceVersion: Invalid value: "{text}": '
        f'strconv.ParseUint: parsing "{text}": {problem}'
    )


def _assert_invalid(error: Invalid, message: str, reasons: list[str]) -> None:
    assert error.message == INVALID + message
    assert error.details is not None
    assert (error.details.group, error.details.kind) == ("meta.k8s.io", "ListOptions")
    assert [cause.reason for cause in error.details.causes] == reasons
