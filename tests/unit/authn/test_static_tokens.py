"""The token file is kube-apiserver's; what is ambiguous in it is an error with its line."""

import pytest

from proxy.authn.static_tokens import InvalidTokenFile, parse_token_file
from proxy.authn.user import User

FILE = b'alice-token,alice,1,"team-a,team-b"\n\r\nbob-token,bob,\n"quoted",carol,3,\n'


def test_each_line_is_a_user() -> None:
    tokens = parse_token_file(FILE, "tokens.csv")
    assert tokens.find(b"alice-token") == User(name="alice", uid="1", groups=("team-a", "team-b"))
    assert tokens.find(b"bob-token") == User(name="bob")
    assert tokens.find(b"quoted") == User(name="carol", uid="3")


@pytest.mark.parametrize("token", [b"", b"alice", b"alice-toke", b"alice-token ", b"ALICE-TOKEN", b"alice-token\n"])
def test_anything_but_the_token_finds_nobody(token: bytes) -> None:
    assert parse_token_file(FILE, "tokens.csv").find(token) is None


def test_empty_file_has_no_tokens() -> None:
    assert parse_token_file(b"", "tokens.csv").find(b"") is None


def test_all_mistakes_are_told_with_their_line_and_without_a_token() -> None:
    content = (
        b"secret-1,alice\n"
        b"secret-2,alice,1,team-a,team-b\n"
        b",alice,1\n"
        b"secret 3,alice,1\n"
        b"secret-4,,1\n"
        b'secret-5,alice,1,"a,,b"\n'
        b"secret-6,alice,1\n"
        b"secret-6,bob,2\n"
        b'secret-7,"alice\nbob",1\n'
    )
    with pytest.raises(InvalidTokenFile) as caught:
        parse_token_file(content, "tokens.csv")
    lines = str(caught.value).split("\n")
    assert [line.split(" ")[0] for line in lines] == [f"tokens.csv:{number}:" for number in (1, 2, 3, 4, 5, 6, 8, 10)]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'token,"alice,1\n', "tokens.csv:1: not CSV"),
        (b"token,\xff,1\n", "not UTF-8"),
        (b"a" * 8193 + b",alice,1", "a token is"),
        (b"token\x00,alice,1", "tokens.csv:1: "),
    ],
)
def test_file_that_cannot_be_read_is_an_error(content: bytes, message: str) -> None:
    with pytest.raises(InvalidTokenFile, match=message):
        parse_token_file(content, "tokens.csv")
