"""What of YAML is refused, where, and that reading goes on."""

from __future__ import annotations

import pytest

from proxy.policy.findings import FindingLog
from proxy.policy.yaml_nodes import (
    MAX_DEPTH,
    MappingNode,
    Node,
    RefusedNode,
    ScalarKind,
    ScalarNode,
    SequenceNode,
    read_documents,
)


def read(data: str | bytes) -> tuple[list[Node], list[str]]:
    log = FindingLog()
    documents = read_documents("p.yaml", data.encode() if isinstance(data, str) else data, log)
    return documents, [str(finding) for finding in log.sorted()]


def scalar(data: str) -> ScalarNode:
    ((node,), findings) = read(data)
    assert findings == []
    assert isinstance(node, ScalarNode)
    return node


def plain(node: Node) -> object:
    match node:
        case ScalarNode():
            return node.text
        case SequenceNode():
            return [plain(item) for item in node.items]
        case MappingNode():
            return {key: plain(entry.value) for key, entry in node.entries.items()}
        case RefusedNode():
            return None


def test_values_keep_their_text_and_their_position() -> None:
    (document,), findings = read('# first\na:\n  - "x"\n  - |\n    two\n    lines\n')
    assert findings == []
    assert plain(document) == {"a": ["x", "two\nlines\n"]}
    assert isinstance(document, MappingNode)
    items = document.entries["a"].value
    assert isinstance(items, SequenceNode)
    assert [str(item.position) for item in items.items] == ["p.yaml:3:5", "p.yaml:4:5"]


@pytest.mark.parametrize("word", ["yes", "No", "ON", "off", "y", "N", "true", "False"])
def test_a_word_that_yaml_1_1_takes_for_a_boolean_is_one(word: str) -> None:
    assert scalar(word).kind is ScalarKind.BOOLEAN
    assert scalar(f'"{word}"').kind is ScalarKind.TEXT


@pytest.mark.parametrize(
    "word", ["0", "-1", "1_000", "0x1F", "0o17", "017", "0b10", "1.5", "1e3", ".5", "12:30:45", ".inf", "-.INF", ".nan"]
)
def test_a_word_that_some_yaml_takes_for_a_number_is_one(word: str) -> None:
    assert scalar(word).kind is ScalarKind.NUMBER


@pytest.mark.parametrize(
    "word", ["v1", "1.2.3", "10.0.0.1", "a-1", "yesno", "0xg", "e3", "system:node:{node}", "nullify"]
)
def test_other_words_are_text(word: str) -> None:
    assert scalar(word).kind is ScalarKind.TEXT


@pytest.mark.parametrize("word", ["2027-06-30", "2027-06-30T00:00:00Z", "2027-06-30 10:00:00"])
def test_a_date_is_a_timestamp(word: str) -> None:
    assert scalar(word).kind is ScalarKind.TIMESTAMP


def test_null_in_every_spelling_is_null() -> None:
    (document,), _ = read("a: ~\nb: null\nc:\nd: ''\n")
    assert isinstance(document, MappingNode)
    kinds = [entry.value.kind for entry in document.entries.values() if isinstance(entry.value, ScalarNode)]
    assert kinds == [ScalarKind.NULL, ScalarKind.NULL, ScalarKind.NULL, ScalarKind.TEXT]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("a: 1\nb: 2\na: 3\n", "p.yaml:3:1: duplicate key `a`, first at p.yaml:1:1"),
        ("a: 1\n'a': 3\n", "p.yaml:2:1: duplicate key `a`, first at p.yaml:1:1"),
        ("a: &x 1\n", "p.yaml:1:4: anchor `&x` is not allowed"),
        ("a: !!str 1\n", "p.yaml:1:4: tag `tag:yaml.org,2002:str` is not allowed"),
        (
            "a: !!python/object:os.system {}\n",
            "p.yaml:1:4: tag `tag:yaml.org,2002:python/object:os.system` is not allowed",
        ),
        ("a: ! x\n", "p.yaml:1:4: tag `!` is not allowed"),
        ("<<: {a: b}\n", "p.yaml:1:1: merge key `<<` is not allowed, write the fields out"),
        ("on: x\n", "p.yaml:1:1: key `on` reads as a boolean, quote it"),
        ("1: x\n", "p.yaml:1:1: key `1` reads as a number, quote it"),
        ("? [a]\n: x\n", "p.yaml:1:3: a key must be text"),
        ("a: [*, get]\n", 'p.yaml:1:5: invalid YAML: a value that begins with `*` is an alias, quote it: `"*"`'),
        ("a:\n\tb: c\n", "p.yaml:2:1: invalid YAML: tab in the indentation, expected spaces"),
        ("a: @b\n", "p.yaml:1:4: invalid YAML: a value that begins with `@` needs quotes"),
        ("a: b: c\n", "p.yaml:1:5: invalid YAML: mapping values are not allowed in this context"),
        ("a: 'x\n", "p.yaml:1:4: invalid YAML: found unexpected end of stream while scanning a quoted scalar"),
        ("a: \x07\n", "p.yaml:1:4: control character U+0007"),
        ("%YAML 3.0\n---\na: b\n", "p.yaml:1:1: invalid YAML: found incompatible YAML document"),
    ],
)
def test_what_reads_differently_to_people_and_machines_is_a_finding(text: str, finding: str) -> None:
    assert read(text)[1] == [finding]


def test_an_alias_is_a_finding_where_it_stands() -> None:
    _, findings = read("a: &x [b]\nc: *x\n")
    assert findings == [
        "p.yaml:1:4: anchor `&x` is not allowed",
        "p.yaml:2:4: alias `*x` is not allowed, write the value out",
    ]


def test_an_alias_that_contains_itself_ends() -> None:
    assert len(read("a: &x [*x, *x]\n")[1]) == 3


def test_many_aliases_are_not_multiplied_out() -> None:
    """A billion laughs: each line names the line before nine times."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    _, findings = read("\n".join(lines))
    assert len(findings) == 30 + 29 * 9


def test_bytes_that_are_not_utf_8_are_a_finding_at_the_first_of_them() -> None:
    assert read(b"a: \xc3\xa9\nb: \xff\n") == ([], ["p.yaml:2:4: byte 0xff is not UTF-8"])


def test_a_byte_order_mark_is_a_finding_and_the_rest_is_read() -> None:
    (document,), findings = read(b"\xef\xbb\xbfa: b\n")
    assert findings == ["p.yaml:1:1: byte order mark, expected plain UTF-8"]
    assert plain(document) == {"a": "b"}


def test_utf_16_is_a_finding() -> None:
    assert read("a: b\n".encode("utf-16"))[1] == ["p.yaml:1:1: byte order mark of UTF-16, expected UTF-8"]


def test_windows_line_ends_count_once() -> None:
    assert read("a: 1\r\nb: 2\r\na: 3\r\n")[1] == ["p.yaml:3:1: duplicate key `a`, first at p.yaml:1:1"]


def test_unusual_line_separators_do_not_move_positions() -> None:
    """YAML 1.1 breaks lines at U+2028 too; an editor does not."""
    assert read('a: "\u2028\u2028"\nb: 1\nb: 2\n')[1] == ["p.yaml:3:1: duplicate key `b`, first at p.yaml:2:1"]


def test_columns_count_characters_not_bytes() -> None:
    assert read("{é: 1, é: 2}\n")[1] == ["p.yaml:1:8: duplicate key `é`, first at p.yaml:1:2"]


def test_empty_documents_are_left_out() -> None:
    documents, findings = read("---\n---\n# nothing\n---\na: b\n---\n")
    assert ([plain(document) for document in documents], findings) == ([{"a": "b"}], [])
    assert read("") == ([], [])


def test_nesting_is_bounded_and_the_rest_of_the_file_is_read() -> None:
    documents, findings = read(f"{'[' * 60}{']' * 60}\n---\na: b\n")
    assert findings == [f"p.yaml:1:{MAX_DEPTH + 1}: nested deeper than {MAX_DEPTH} levels"]
    assert plain(documents[1]) == {"a": "b"}


def test_bottomless_nesting_is_a_finding() -> None:
    assert read("[" * 100_000)[1]
    assert read("\n".join(f"{' ' * depth}a:" for depth in range(2000)))[1]


def test_after_a_syntax_error_the_next_document_is_read() -> None:
    documents, findings = read("a: [\n---\nb: 1\nb: 2\n---\nc: *\n---\nd: e\n")
    assert findings == [
        "p.yaml:2:1: invalid YAML: did not find expected node content while parsing a flow node",
        "p.yaml:4:1: duplicate key `b`, first at p.yaml:3:1",
        'p.yaml:6:4: invalid YAML: a value that begins with `*` is an alias, quote it: `"*"`',
    ]
    assert [plain(document) for document in documents] == [{"b": "1"}, {"d": "e"}]


def test_findings_of_one_file_are_bounded() -> None:
    _, findings = read("a: 1\n" * 3000)
    assert len(findings) == 1000
    assert findings[-1].endswith("more than 999 errors, the rest is left out")
    assert len(read("a: *\n---\n" * 3000)[1]) == 50


def test_json_is_yaml() -> None:
    (document,), findings = read('{\n\t"a": ["b", "\\u00e9"],\n\t"c": {"d": "e\\/f"}\n}\n')
    assert (plain(document), findings) == ({"a": ["b", "é"], "c": {"d": "e/f"}}, [])


def test_what_an_author_wrote_cannot_break_a_line_or_move_the_cursor() -> None:
    _, findings = read('"a\\n\\e[2J": 1\n"a\\n\\e[2J": 2\n')
    assert findings == ["p.yaml:2:1: duplicate key `a\\n\\x1b[2J`, first at p.yaml:1:1"]
