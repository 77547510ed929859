"""One version of an object: read from its bytes as far as asked."""

from __future__ import annotations

import json

import msgspec
import pytest

from proxy.api.objects import UNREADABLE_JSON, ObjectVersion, format_scalar, one_line

POD = (
    b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x","namespace":"a","uid":"u-1","resourceVersion":"7",'
    b'"labels":{"resourceVersion":"7","app":"web"},"annotations":{"resourceVersion":"7"}},'
    b'"spec":{"nodeName":"node1","hostNetwork":true,"priority":5,"resourceVersion":"7","containers":[{"name":"c"}],'
    b'"weight":0.5,"nothing":null}}'
)


def test_what_identifies_an_object_comes_from_its_metadata() -> None:
    version = ObjectVersion(POD)
    assert (version.key, version.uid, version.rv) == (("a", "x"), "u-1", "7")
    assert version.labels == {"resourceVersion": "7", "app": "web"}


def test_absent_metadata_is_empty() -> None:
    version = ObjectVersion(b'{"metadata":{"labels":null}}')
    assert (version.namespace, version.name, version.rv, dict(version.labels)) == ("", "", "", {})


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"metadata":{"name":"\xff"}}',
        b'{"metadata":{},"data":{"a":"\xff"}}',
        b'{"metadata":{},"\xff":1}',
        b'{"metadata":{},"data":"\\ud800"}',
        b'{"metadata":{},"data":' + b"[" * 100_000,
    ],
)
def test_what_no_reader_of_json_takes_is_no_object(raw: bytes) -> None:
    """Where the flaw stands does not matter: nothing of it is kept for somebody who looks there later."""
    with pytest.raises(UNREADABLE_JSON):
        ObjectVersion(raw)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "x"),
        ("metadata.namespace", "a"),
        ("metadata.labels.app", "web"),
        ("spec.nodeName", "node1"),
        ("spec.hostNetwork", "true"),
        ("spec.priority", "5"),
        ("spec.weight", "0.5"),
        ("spec.nothing", None),
        ("spec.containers", None),
        ("spec.containers.name", None),
        ("spec.nodeName.deeper", None),
        ("spec.absent", None),
        ("absent.absent.absent", None),
        ("spec", None),
        ("spec.value", None),
        ("", None),
        ("spec.", None),
    ],
)
def test_a_field_is_a_scalar_at_its_path_or_nothing(path: str, value: str | None) -> None:
    version = ObjectVersion(POD)
    assert version.field(path) == value
    assert version.field(path) == value, "and remembered"


def test_an_absent_namespace_is_empty_and_not_absent() -> None:
    assert ObjectVersion(b'{"metadata":{"name":"n"}}').field("metadata.namespace") == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        ("", ""),
        ("x", "x"),
        (0, "0"),
        (2**70, str(2**70)),
        (1.0, "1"),
        (0.1, "0.1"),
        (123456.7, "123456.7"),
        (1234567.5, "1234567.5"),
        (None, None),
        ([], None),
        ({}, None),
    ],
)
def test_scalars_are_printed_so_that_only_equal_ones_look_alike(value: object, text: str | None) -> None:
    assert format_scalar(value) == text


def test_stamping_changes_the_resource_version_of_the_object_and_nothing_else() -> None:
    version = ObjectVersion(POD)
    stamped = version.stamped("99")
    expected = json.loads(POD)
    expected["metadata"]["resourceVersion"] = "99"
    assert json.loads(stamped) == expected
    assert list(json.loads(stamped)) == list(expected)
    assert version.stamped("99") == stamped
    assert json.loads(version.stamped("100"))["metadata"]["resourceVersion"] == "100"
    assert version.raw == POD
    assert json.loads(version.stamped_metadata("99")) == expected["metadata"]


def test_stamping_keeps_what_json_can_only_just_say() -> None:
    body = (
        '{"metadata":{"name":"x","resourceVersion":"1"},'
        '"n":12345678901234567890123,"f":1.10,"s":"\\u00e9\\ud83d\\ude00\\n"}'
    )
    stamped = ObjectVersion(body.encode()).stamped("2").decode()
    assert stamped == body.replace('"resourceVersion":"1"', '"resourceVersion":"2"')


def test_an_object_is_kept_on_one_line() -> None:
    printed = json.dumps(json.loads(POD), indent=2).encode()
    version = ObjectVersion(printed)
    assert b"\n" not in version.raw
    assert json.loads(version.raw) == json.loads(POD)
    assert one_line(POD) is POD


def test_a_newline_in_a_string_is_no_newline() -> None:
    body = b'{"metadata":{"name":"x"},"text":"a\\nb"}'
    assert ObjectVersion(body).raw == body


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"metadata":null}',
        b'{"metadata":{"name":1}}',
        b'{"metadata":{"labels":{"a":1}}}',
        b'{"metadata":{}',
        b'{"metadata":{}}{}',
    ],
)
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        ObjectVersion(raw)
