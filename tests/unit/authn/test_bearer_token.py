"""The Authorization header is read exactly as kube-apiserver reads it."""

import pytest

from proxy.authn.bearer_token import parse_authorization


@pytest.mark.parametrize(
    ("values", "token"),
    [
        ([b"Bearer abc"], b"abc"),
        ([b"bEARER abc"], b"abc"),
        ([b" \tBearer abc \t"], b"abc"),
        ([b"Bearer abc third words"], b"abc"),
        ([b"Bearer first", b"Bearer second"], b"first"),
        ([b"Basic eHg=", b"Bearer second"], None),
        ([b"Bearer  abc"], None),
        ([b"Bearer\tabc"], None),
        ([b"Bearer"], None),
        ([b"Bearer "], None),
        ([b"Bearerabc"], None),
        ([b"Basic abc"], None),
        ([b""], None),
        ([], None),
    ],
)
def test_token_of_the_header(values: list[bytes], token: bytes | None) -> None:
    assert parse_authorization(values) == token
