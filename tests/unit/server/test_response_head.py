"""The head of a whole answer, as the protocol writes it itself."""

from __future__ import annotations

import uuid

import pytest

from proxy.server.exchange import random_uuid
from proxy.server.protocol import encode_response_head


def test_the_head_is_the_status_line_and_the_headers_in_order() -> None:
    head = encode_response_head(404, [(b"audit-id", b"1"), (b"content-length", b"0"), (b"warning", "ü".encode())])
    assert head == b"HTTP/1.1 404 Not Found\r\naudit-id: 1\r\ncontent-length: 0\r\nwarning: \xc3\xbc\r\n\r\n"


@pytest.mark.parametrize(
    "header",
    [
        (b"warning", b"x\r\nset-cookie: a=b"),
        (b"warning", b"x\n"),
        (b"warning", b"\rx"),
        (b"warning", b"x\r\n\r\nHTTP/1.1 200 OK"),
        (b"a: b\r\nwarning", b"x"),
        (b"warning", b"x\0"),
    ],
)
def test_no_header_ends_its_line_early(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="line break or NUL"):
        encode_response_head(200, [(b"content-length", b"0"), header])


def test_audit_ids_are_random_uuids() -> None:
    made = [random_uuid() for _ in range(200)]
    assert len(set(made)) == len(made)
    for text in made:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)
    assert {text[19] for text in made} == set("89ab")
