"""Templates and subject patterns."""

from __future__ import annotations

import pytest

from proxy.policy.templates import (
    Reference,
    ReferenceKind,
    SubjectPattern,
    parse_subject_name,
    parse_template,
    references,
    substitute,
)

NODE = Reference(ReferenceKind.CAPTURE, "node")
TEAM = Reference(ReferenceKind.USER_EXTRA, "example.com/team")


def test_a_template_is_literals_and_references_in_order() -> None:
    assert parse_template("a-${node}${user.name}.${user.uid}-${user.extra[example.com/team]}z") == (
        "a-",
        NODE,
        Reference(ReferenceKind.USER_NAME),
        ".",
        Reference(ReferenceKind.USER_UID),
        "-",
        TEAM,
        "z",
    )


@pytest.mark.parametrize("text", ["", "plain", "$", "$$", "{node}", "$node", "a$ {b}", "cost: 5$"])
def test_text_without_a_reference_is_itself(text: str) -> None:
    assert substitute(text, lambda _: "never") == (text or "")
    assert references(text) == frozenset()


@pytest.mark.parametrize("reference", ["${node}", "${user.name}", "${user.uid}", "${user.extra[a.b/c]}"])
def test_a_reference_prints_as_it_is_written(reference: str) -> None:
    (parsed,) = references(reference)
    assert str(parsed) == reference


@pytest.mark.parametrize(
    "text",
    [
        "${",
        "${node",
        "${}",
        "${ node }",
        "${1node}",
        "${user.groups}",
        "${user.extra}",
        "${user.extra[]}",
        "${user.extra[a]b}",
        "${user.name.first}",
        "${a-b}",
        "a${node}${",
        "${${node}}",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"`\$\{"):
        parse_template(text)


@pytest.mark.parametrize("value", ["a,b=c", "*", "${user.name}", "x\\", "a b", "{node}"])
def test_a_value_is_put_in_as_it_is_and_never_read_again(value: str) -> None:
    assert substitute("<${node}>", {NODE: value}.get) == f"<{value}>"


@pytest.mark.parametrize("value", [None, ""])
def test_a_value_that_is_missing_or_empty_leaves_no_text(value: str | None) -> None:
    assert substitute("a-${node}-${user.name}", lambda reference: value if reference == NODE else "alice") is None


def test_a_name_without_braces_is_no_pattern() -> None:
    assert parse_subject_name("system:node:n1") is None


@pytest.mark.parametrize(
    ("name", "captured"),
    [
        ("system:node:n1", "n1"),
        ("system:node:n1.example.com", "n1.example.com"),
        ("system:node:{node}", "{node}"),
        ("system:node:", None),
        ("system:node:a:b", None),
        ("xsystem:node:a", None),
        ("system:nodes:a", None),
        ("system:node", None),
        ("", None),
    ],
)
def test_a_capture_is_one_or_more_characters_other_than_a_colon(name: str, captured: str | None) -> None:
    pattern = parse_subject_name("system:node:{node}")
    assert pattern == SubjectPattern("system:node:", "node", "")
    assert pattern.match(name) == captured


@pytest.mark.parametrize(
    ("name", "captured"), [("aba", "b"), ("aa", None), ("a", None), ("abba", "bb"), ("ab", None), ("aXa\n", None)]
)
def test_prefix_and_suffix_do_not_overlap(name: str, captured: str | None) -> None:
    pattern = parse_subject_name("a{x}a")
    assert pattern is not None
    assert pattern.match(name) == captured


@pytest.mark.parametrize("name", ["{a}{b}", "{", "}", "a{b", "a}b", "{a}}", "{{a}", "{}", "{a b}", "{1a}", "}a{"])
def test_a_capture_that_is_not_well_formed_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="capture"):
        parse_subject_name(name)
