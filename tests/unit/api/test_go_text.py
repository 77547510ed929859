"""Scalars are read and printed as Go does."""

import pytest

from proxy.api.go_text import json_string, parse_int64, parse_uint64, quote


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("+5", 5), ("-5", -5), ("007", 7), (str(2**63 - 1), 2**63 - 1), (str(-(2**63)), -(2**63))],
)
def test_integers_are_decimal_digits_with_a_sign(text: str, value: int) -> None:
    assert parse_int64(text) == value


@pytest.mark.parametrize("text", ["", "-", "+-1", " 1", "1_0", "0x1", "1.0", "٣", "1\n", str(2**63), "9" * 5000])
def test_what_python_reads_beyond_that_is_none(text: str) -> None:
    assert parse_int64(text) is None


@pytest.mark.parametrize("text", ["", "-0", "+1", "²", "٣", str(2**64)])
def test_unsigned_integers_have_no_sign(text: str) -> None:
    assert parse_uint64(text) is None


def test_unsigned_integers_have_64_bits() -> None:
    assert parse_uint64(str(2**64 - 1)) == 2**64 - 1


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a", '"a"'),
        ('"\\', r'"\"\\"'),
        ("\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
        ("\0\x1f\x7f", r'"\x00\x1f\x7f"'),
        ("é😀<", '"é😀<"'),
        ("\u2028\x80", r'"\u2028\u0080"'),
        ("\U000e0001", r'"\U000e0001"'),
    ],
)
def test_a_quoted_string_is_a_go_literal(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_a_json_string_escapes_what_html_would_read() -> None:
    assert json_string('é"<&>\u2028') == r'"é\"\u003c\u0026\u003e\u2028"'
