"""JSON that could mean two things means nothing."""

import pytest

from proxy.authn.strict_json import parse_object


def test_an_object_is_read() -> None:
    assert parse_object('{"a": [1, 1.5, "ü", null, {"b": true}]}'.encode()) == {"a": [1, 1.5, "ü", None, {"b": True}]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'"text"',
        b"null",
        b'{"a": 1} {"a": 1}',
        b'{"a": 1, "a": 1}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' + b"[" * 6000 + b"]" * 6000 + b"}",
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "\xff"}',
        b"{'a': 1}",
    ],
)
def test_anything_else_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError):
        parse_object(content)
