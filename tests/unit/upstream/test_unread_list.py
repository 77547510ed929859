"""Lists whose items stay text: the same list as one that was read, whatever its items hold."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.unread_list import UnreadList, joined, parse_unread_list

texts = st.sampled_from(("", "x", '"', "\\", '\\"', "}", '},"items":[', "]}\n", '"items":[', "{", "é\n")) | st.text()
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
items = st.lists(st.dictionaries(texts, values, max_size=3), max_size=4)


def encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def pod_list(rv: str, listed: list[Any], token: str = "") -> bytes:
    metadata = {"resourceVersion": rv, **({"continue": token, "remainingItemCount": 7} if token else {})}
    return encoded({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": listed})


def items_of(unread: UnreadList) -> Any:
    return json.loads(b"[%b]" % b",".join(unread.texts))


@given(texts, texts, items)
def test_a_built_in_list_is_cut_where_it_would_be_read(rv: str, token: str, listed: list[Any]) -> None:
    unread = parse_unread_list(pod_list(rv, listed, token))
    assert (unread.rv, unread.continue_token) == (rv, token)
    assert (unread.kind, unread.api_version) == ("PodList", "v1")
    assert items_of(unread) == listed


@given(items, st.permutations(["apiVersion", "items", "kind", "metadata"]), st.sampled_from([None, 2]))
def test_a_list_of_another_shape_is_read(listed: list[Any], order: list[str], indent: int | None) -> None:
    """Custom resources print their members sorted by name."""
    members = {
        "apiVersion": "example.io/v1",
        "items": listed,
        "kind": "WidgetList",
        "metadata": {"resourceVersion": "7", "annotations": {"a": "}"}},
    }
    unread = parse_unread_list(json.dumps({name: members[name] for name in order}, indent=indent).encode())
    assert (unread.rv, unread.kind, unread.api_version) == ("7", "WidgetList", "example.io/v1")
    assert items_of(unread) == listed


def test_the_items_of_a_built_in_list_are_the_bytes_that_came() -> None:
    items = b'{"n":1.10},{"s":"\\u00e9"}'
    body = b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[%b]}\n' % items
    (text,) = parse_unread_list(body).texts
    assert text == items
    assert text.obj is body, "and not a copy"


@pytest.mark.parametrize("listed", ["[]", "null"])
def test_an_empty_list_has_no_text(listed: str) -> None:
    body = f'{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"7"}},"items":{listed}}}\n'
    assert parse_unread_list(body.encode()).texts == ()


def test_parts_become_one_list() -> None:
    parts: list[list[Any]] = [[{"a": 1}, {"b": 2}], [], [{}]]
    whole = joined([parse_unread_list(pod_list("7", listed, "next")) for listed in parts], "9")
    assert (whole.rv, whole.continue_token, whole.kind) == ("9", "", "PodList")
    assert items_of(whole) == [{"a": 1}, {"b": 2}, {}]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":7},"items":[]}\n',
        b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion"},"items":[]}\n',
        b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[{}',
    ],
)
def test_what_is_no_list_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        parse_unread_list(body)
