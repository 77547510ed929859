"""Selectors are read as upstream reads them, mistakes included. Expected sentences are upstream's own output."""

import pytest

from proxy.api.label_syntax import label_key_problems
from proxy.api.selectors import (
    FieldTerm,
    LabelOperator,
    LabelRequirement,
    format_field_selector,
    format_label_selector,
    is_label_value,
    parse_field_selector,
    parse_label_selector,
)
from proxy.api.status import BadRequest

VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
NAME_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a", [("a", LabelOperator.EXISTS, ())]),
        ("!a", [("a", LabelOperator.DOES_NOT_EXIST, ())]),
        ("a=b", [("a", LabelOperator.IN, ("b",))]),
        ("a==b", [("a", LabelOperator.IN, ("b",))]),
        ("a!=b", [("a", LabelOperator.NOT_IN, ("b",))]),
        (" a\t=\nb ", [("a", LabelOperator.IN, ("b",))]),
        ("a=", [("a", LabelOperator.IN, ("",))]),
        ("a=,b", [("a", LabelOperator.IN, ("",)), ("b", LabelOperator.EXISTS, ())]),
        ("a in ()", [("a", LabelOperator.IN, ("",))]),
        ("a notin (,b)", [("a", LabelOperator.NOT_IN, ("", "b"))]),
        ("a in (c,,b,c)", [("a", LabelOperator.IN, ("", "b", "c"))]),
        ("in in (in,notin)", [("in", LabelOperator.IN, ("in", "notin"))]),
        ("notin=in", [("notin", LabelOperator.IN, ("in",))]),
        ("a>5", [("a", LabelOperator.GREATER_THAN, ("5",))]),
        ("b,a", [("a", LabelOperator.EXISTS, ()), ("b", LabelOperator.EXISTS, ())]),
        ("a,a", [("a", LabelOperator.EXISTS, ())]),
        ("a=b,a=c", [("a", LabelOperator.IN, ("b",)), ("a", LabelOperator.IN, ("c",))]),
    ],
)
def test_a_label_selector_is_read_as_upstream_reads_it(
    text: str, expected: list[tuple[str, LabelOperator, tuple[str, ...]]]
) -> None:
    assert parse_label_selector(text).requirements == tuple(LabelRequirement(*each) for each in expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a,,b", "found ',', expected: identifier after ','"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
        ("a in (b,=)", "unable to parse requirement: found '=', expected: ',', or identifier"),
        ("a_", f'unable to parse requirement: <nil>: Invalid value: "a_": name part {NAME_RULE}'),
        ("a=b_", f'unable to parse requirement: values[0][a]: Invalid value: "b_": {VALUE_RULE}'),
        (
            f"a={'x' * 64}",
            f'unable to parse requirement: values[0][a]: Invalid value: "{"x" * 64}": must be no more than 63 bytes',
        ),
        (
            "a>b",
            'unable to parse requirement: values[0]: Invalid value: "b": '
            "for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ],
)
def test_a_mistake_in_a_label_selector_is_reported_in_upstreams_words(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_label_selector(text)
    assert caught.value.message == message


def test_two_mistakes_in_one_requirement_are_listed_together() -> None:
    with pytest.raises(BadRequest) as caught:
        parse_label_selector("a<-5")
    first = 'values[0][a]: Invalid value: "-5": '
    assert caught.value.message == f"unable to parse requirement: {first}{VALUE_RULE}"
    with pytest.raises(BadRequest) as caught:
        parse_label_selector("a in (b_,c_)")
    listed = f'values[0][a]: Invalid value: "b_": {VALUE_RULE}, values[1][a]: Invalid value: "c_": {VALUE_RULE}'
    assert caught.value.message == f"unable to parse requirement: [{listed}]"


def test_a_nul_does_not_end_a_label_selector_early() -> None:
    """Upstream stops at a NUL: `a=b` is all it would see here."""
    with pytest.raises(BadRequest):
        parse_label_selector("a=b\0\0,c=d")


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("a", {"a": ""}, True),
        ("a=", {}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a notin (b,c)", {"a": "d"}, True),
        ("!a", {"a": ""}, False),
        ("a>5", {"a": "6"}, True),
        ("a>5", {"a": "5"}, False),
        ("a<5", {"a": "+4"}, True),
        ("a<5", {"a": "4.0"}, False),
        ("a<5", {"a": "-99999999999999999999"}, False),
        ("a>5", {"a": "٦"}, False),
        ("a<5", {}, False),
        ("a,b", {"a": "", "b": ""}, True),
        ("a,b", {"a": ""}, False),
    ],
)
def test_label_operators_mean_what_they_mean_upstream(text: str, labels: dict[str, str], matches: bool) -> None:
    assert parse_label_selector(text).matches(labels) is matches


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("b,a", "a,b"),
        ("a==b", "a=b"),
        ("a in (b)", "a=b"),
        ("a notin (c, b)", "a notin (b,c)"),
        ("a in (b,)", "a in (,b)"),
        ("!a", "!a"),
        ("a > 5", "a>5"),
        ("a < 5", "a<5"),
    ],
)
def test_a_label_selector_has_one_canonical_text(text: str, canonical: str) -> None:
    assert format_label_selector(parse_label_selector(text)) == canonical


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        (",,", []),
        ("a=b", [("a", False, "b")]),
        ("a==b", [("a", False, "b")]),
        ("a!=b", [("a", True, "b")]),
        ("a!!=b", [("a!", True, "b")]),
        ("a=", [("a", False, "")]),
        (" a = b ", [(" a ", False, " b ")]),
        ("b=1,a=2", [("a", False, "2"), ("b", False, "1")]),
        ("a=b,a==b", [("a", False, "b")]),
        (r"a=b\,c\=d\\", [("a", False, "b,c=d\\")]),
        (r"a\,b=c", [(r"a\,b", False, "c")]),
    ],
)
def test_a_field_selector_is_read_as_upstream_reads_it(text: str, terms: list[tuple[str, bool, str]]) -> None:
    assert parse_field_selector(text).terms == tuple(FieldTerm(*term) for term in terms)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("z=1,b", "invalid selector: 'z=1,b'; can't understand 'b'"),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
        ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        ("a===b", "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_a_mistake_in_a_field_selector_is_reported_in_upstreams_words(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_field_selector(text)
    assert caught.value.message == message


@pytest.mark.parametrize("text", ["=", "!=", "=x", "a=b,="])
def test_a_field_term_without_a_path_is_refused(text: str) -> None:
    """Upstream reads `=` as no term, which selects everything: a policy must not say that by accident."""
    with pytest.raises(BadRequest, match="can't understand"):
        parse_field_selector(text)


def test_the_first_equality_in_upstreams_order_is_the_required_value() -> None:
    contradiction = parse_field_selector("metadata.name=c,metadata.name==z")
    assert contradiction.required_value("metadata.name") == "z"
    assert format_field_selector(contradiction) == "metadata.name==z,metadata.name=c"
    assert parse_field_selector("metadata.name!=a,metadata.name=b").required_value("metadata.name") == "b"
    assert parse_field_selector("metadata.name!=a").required_value("metadata.name") is None


def test_absent_is_empty_for_a_client_and_no_match_for_a_policy() -> None:
    selector = parse_field_selector("spec.nodeName!=n1")
    assert selector.matches(lambda _: "")
    assert not selector.matches_present(lambda _: None)
    assert selector.matches_present(lambda _: "")


@pytest.mark.parametrize("name", ["a", "A.b_c-1", "example.com/a", "x" * 63, f"{'a' * 63}.com/b"])
def test_qualified_names_are_accepted(name: str) -> None:
    assert not label_key_problems(name)


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a/b/c", "_a", "a-", "A.com/b", f"{'a.' * 127}aa/b", "x" * 64, "é", "a\n", "a.com\n/b"]
)
def test_other_names_are_not(name: str) -> None:
    assert label_key_problems(name)


@pytest.mark.parametrize(("value", "valid"), [("", True), ("a.B_1", True), ("x" * 63, True), ("x" * 64, False)])
def test_label_values_have_63_bytes_at_most(value: str, valid: bool) -> None:
    assert is_label_value(value) is valid


@pytest.mark.parametrize("value", ["-a", "a-", "a b", "a\n", "é", "a/b"])
def test_label_values_begin_and_end_alphanumeric(value: str) -> None:
    assert not is_label_value(value)
