"""Status bodies byte for byte as kube-apiserver 1.36 sends them, for the mistakes that are found without asking it."""

from collections.abc import Callable

import msgspec
import pytest

from proxy.api.groups import GroupVersionResource
from proxy.api.list_options import (
    decode_list_options,
    parse_resource_version,
    validate_for_list,
    validate_for_watch,
    with_watch_defaults,
)
from proxy.api.media_types import FILTERED_MEDIA_TYPES, negotiate
from proxy.api.request_target import parse_request
from proxy.api.selectable_fields import selectable_fields
from proxy.api.selectors import parse_field_selector
from proxy.api.status import (
    InternalError,
    MethodNotAllowed,
    NotFound,
    StatusDetails,
    StatusError,
    Unauthorized,
    too_large_resource_version,
    too_old_resource_version,
)


def body_of(answer: Callable[[], object]) -> str:
    with pytest.raises(StatusError) as caught:
        answer()
    return caught.value.body().decode()


def listed(query: str) -> None:
    """Checks a list or watch of pods as far as that needs no object."""
    options = with_watch_defaults(decode_list_options(parse_request("GET", f"/api/v1/pods?{query}".encode()).query))
    (validate_for_watch if options.watch else validate_for_list)(options)
    parse_resource_version(options.resource_version)
    fields = selectable_fields(GroupVersionResource("", "v1", "pods"))
    if fields is not None and options.field_selector is not None:
        fields.convert(options.field_selector)


def failure(rest: str) -> str:
    return '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",' + rest + "}\n"


def bad_request(message: str) -> str:
    return failure(f'"message":"{message}","reason":"BadRequest","code":400')


def invalid(message: str, *causes: str) -> str:
    details = '{"group":"meta.k8s.io","kind":"ListOptions","causes":[' + ",".join(causes) + "]}"
    full_message = rf"ListOptions.meta.k8s.io \"\" is invalid: {message}"
    return failure(f'"message":"{full_message}","reason":"Invalid","details":{details},"code":422')


def cause(reason: str, message: str, field: str) -> str:
    return f'{{"reason":"{reason}","message":"{message}","field":"{field}"}}'


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=x", r"strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("labelSelector=a%20in%20(", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        (
            "labelSelector=a%24",
            r"unable to parse requirement: \u003cnil\u003e: Invalid value: \"a$\": name part must consist of "
            "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
            "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
        ("fieldSelector=a", "invalid selector: 'a'; can't understand 'a'"),
        ("fieldSelector=spec.foo%3D%26", "field label not supported: spec.foo"),
        (
            "resourceVersion=abc",
            r"invalid resource version: resourceVersion: Invalid value: \"abc\": "
            r"strconv.ParseUint: parsing \"abc\": invalid syntax",
        ),
    ],
)
def test_a_bad_request_is_the_bytes_upstream_sends(query: str, message: str) -> None:
    assert body_of(lambda: listed(query)) == bad_request(message)


def test_invalid_options_are_the_bytes_upstream_sends() -> None:
    forbidden = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
    unsupported = r"Unsupported value: \"foo\\u003c\": supported values: \"Exact\", \"NotOlderThan\", \"\""
    assert body_of(lambda: listed("resourceVersionMatch=foo%3C")) == invalid(
        f"[resourceVersionMatch: {forbidden}, resourceVersionMatch: {unsupported}]",
        cause("FieldValueForbidden", forbidden, "resourceVersionMatch"),
        cause("FieldValueNotSupported", unsupported, "resourceVersionMatch"),
    )


def test_an_invalid_watch_is_the_bytes_upstream_sends() -> None:
    message = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
    assert body_of(lambda: listed("watch=1&sendInitialEvents=1")) == invalid(
        f"resourceVersionMatch: {message}", cause("FieldValueForbidden", message, "resourceVersionMatch")
    )


def test_a_method_that_is_not_allowed_has_empty_details() -> None:
    message = "the server does not allow this method on the requested resource"
    expected = failure(f'"message":"{message}","reason":"MethodNotAllowed","details":{{}},"code":405')
    assert body_of(lambda: parse_request("TRACE", b"/api/v1/pods")) == expected
    assert MethodNotAllowed().body().decode() == expected


def test_a_resource_that_is_not_served_has_empty_details() -> None:
    message = "the server could not find the requested resource"
    assert NotFound(message, details=StatusDetails()).body().decode() == failure(
        f'"message":"{message}","reason":"NotFound","details":{{}},"code":404'
    )


def test_what_is_not_acceptable_names_what_is() -> None:
    accept = "application/vnd.kubernetes.protobuf"
    assert body_of(lambda: negotiate(accept, verb="list", include_object="", offered=FILTERED_MEDIA_TYPES)) == failure(
        '"message":"only the following media types are accepted: application/json","reason":"NotAcceptable","code":406'
    )


def test_unauthorized_gives_no_cause() -> None:
    assert Unauthorized().body().decode() == failure('"message":"Unauthorized","reason":"Unauthorized","code":401')


def test_a_resource_version_of_the_future_says_when_to_try_again() -> None:
    message = "Timeout: Too large resource version: 9, current: 5"
    details = (
        '{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1}'
    )
    error = too_large_resource_version(9, 5)
    assert error.body().decode() == failure(f'"message":"{message}","reason":"Timeout","details":{details},"code":504')
    assert error.retry_after_seconds == 1


def test_a_resource_version_of_the_past_is_expired() -> None:
    assert too_old_resource_version(3, 7).body().decode() == failure(
        '"message":"too old resource version: 3 (7)","reason":"Expired","code":410'
    )


def test_input_in_a_message_is_no_markup() -> None:
    """Browsers that sniff would run it."""
    body = body_of(lambda: parse_field_selector("<script>&\u2028\u2029é"))
    assert not set(body) & set("<>&\u2028\u2029")
    assert r"\u003cscript\u003e\u0026\u2028\u2029é" in body


def test_escaping_changes_the_bytes_and_not_the_message() -> None:
    error = InternalError('<a href="x">\\u003c&\u2028</a>')
    assert msgspec.json.decode(error.body())["message"] == error.message
