"""Of another server's answer to a TokenReview only a clear yes, for us, about somebody, authenticates."""

import json
from typing import Any

import pytest

from proxy.authn.outcome import Authenticated, RefusalKind, Refused
from proxy.authn.token_review import NoReview, is_reviewable, read_review, review_request
from proxy.authn.user import User

ALICE = {"username": "alice", "uid": "1", "groups": ["team-a"], "extra": {"b": ["2"], "a": ["1", "3"]}}
YES = {"authenticated": True, "user": ALICE, "audiences": ["api", "other"]}
DENIED = Refused(RefusalKind.BEARER_REVIEW_DENIED)


def answer(status: dict[str, Any], **changes: Any) -> bytes:
    document = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "status": status}
    return json.dumps(document | changes).encode()


def read(*audiences: str, **changes: Any) -> Authenticated | Refused:
    """The outcome of YES with changes; None removes one."""
    status = {name: value for name, value in (YES | changes).items() if value is not None}
    return read_review(answer(status), audiences)


def test_the_question_names_the_token_and_our_audiences() -> None:
    assert json.loads(review_request(b"secret", ("api",))) == {
        "kind": "TokenReview",
        "apiVersion": "authentication.k8s.io/v1",
        "spec": {"token": "secret", "audiences": ["api"]},
    }
    assert json.loads(review_request(b"secret", ()))["spec"] == {"token": "secret"}


def test_a_clear_yes_is_the_user() -> None:
    user = User(
        name="alice", uid="1", groups=("team-a", "system:authenticated"), extra=(("a", ("1", "3")), ("b", ("2",)))
    )
    assert read("x", "other", "api") == Authenticated(user, None, audiences=("other", "api"))
    assert read() == Authenticated(user, None, audiences=None)
    assert read(audiences=None) == Authenticated(user, None, audiences=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"authenticated": False},
        {"authenticated": None},
        {"error": "the token could not be checked"},
        {"authenticated": False, "error": "x"},
        {"user": None},
        {"user": {}},
        {"user": ALICE | {"username": ""}},
        {"user": ALICE | {"username": "alice\n"}},
        {"user": ALICE | {"groups": [""]}},
        {"user": ALICE | {"uid": " 1"}},
        {"user": ALICE | {"extra": {"": ["x"]}}},
        {"user": ALICE | {"extra": {"a": ["x\r\ny: z"]}}},
        {"user": ALICE | {"username": "system:anonymous"}},
        {"user": ALICE | {"groups": ["system:unauthenticated"]}},
    ],
)
def test_anything_less_than_a_clear_yes_is_a_no(changes: dict[str, Any]) -> None:
    assert read("api", **changes) == DENIED


@pytest.mark.parametrize("audiences", [None, [], ["other"], ["API"], ["api/"], [""]])
def test_a_yes_for_others_is_a_no(audiences: list[str] | None) -> None:
    assert read("api", audiences=audiences) == Refused(RefusalKind.BEARER_AUDIENCE)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok",
        b"true",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        answer(YES)[:-1],
        answer(YES, kind="Status"),
        answer(YES, kind=None),
        answer(YES, apiVersion="v1"),
        answer(YES | {"authenticated": "true"}),
        answer(YES | {"authenticated": 1}),
        answer(YES | {"user": "alice"}),
        answer(YES | {"user": ALICE | {"groups": "system:masters"}}),
        answer(YES | {"audiences": "api"}),
        b'{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":null}',
    ],
)
def test_what_is_no_token_review_is_told_apart_from_a_no(body: bytes) -> None:
    with pytest.raises(NoReview):
        read_review(body, ("api",))


@pytest.mark.parametrize("token", [b"", b"a\x00b", b"a\xffb", b"x" * 8193, b"a\nb"])
def test_what_nobody_issues_is_not_asked_about(token: bytes) -> None:
    assert not is_reviewable(token)


def test_opaque_tokens_are_asked_about() -> None:
    assert is_reviewable(b"abcdef.0123456789abcdef")
