"""Whom a client asks to be, and everything it must be allowed for that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.status import BadRequest
from proxy.authn.client_impersonation import Impersonation, ImpersonationCheck, parse_impersonation
from proxy.authn.impersonation import impersonation_headers
from proxy.authn.user import User, is_valid_identity

AUTHENTICATION = "authentication.k8s.io"
BOB = (b"impersonate-user", b"bob")


def impersonation(*headers: tuple[bytes, bytes]) -> Impersonation:
    parsed = parse_impersonation([(b"accept", b"*/*"), *headers])
    assert parsed is not None
    return parsed


def groups_of(*headers: tuple[bytes, bytes]) -> tuple[str, ...]:
    return impersonation(*headers).user.groups


def test_a_request_without_such_headers_is_of_its_caller() -> None:
    others = [(b"x-impersonate-user", b"u"), (b"impersonate", b"u"), (b"accept", b"impersonate-user")]
    assert parse_impersonation(others) is None


def test_a_user_is_checked_by_name() -> None:
    asked = impersonation(BOB)
    assert asked.user == User(name="bob", groups=("system:authenticated",))
    assert asked.checks == (ImpersonationCheck(resource="users", name="bob"),)


def test_each_group_uid_and_extra_value_is_checked() -> None:
    asked = impersonation(
        (b"impersonate-extra-scopes", b"one"),
        (b"impersonate-group", b"dev"),
        (b"impersonate-extra-example.com%2fteam_x", b"a"),
        BOB,
        (b"impersonate-group", b"system:masters"),
        (b"impersonate-uid", b"7"),
        (b"impersonate-extra-scopes", b"two"),
    )
    assert asked.user == User(
        name="bob",
        uid="7",
        groups=("dev", "system:masters", "system:authenticated"),
        extra=(("example.com/team_x", ("a",)), ("scopes", ("one", "two"))),
    )
    assert asked.checks == (
        ImpersonationCheck(resource="users", name="bob"),
        ImpersonationCheck(api_group=AUTHENTICATION, resource="uids", name="7"),
        ImpersonationCheck(resource="groups", name="dev"),
        ImpersonationCheck(resource="groups", name="system:masters"),
        ImpersonationCheck(api_group=AUTHENTICATION, resource="userextras", subresource="example.com/team_x", name="a"),
        ImpersonationCheck(api_group=AUTHENTICATION, resource="userextras", subresource="scopes", name="one"),
        ImpersonationCheck(api_group=AUTHENTICATION, resource="userextras", subresource="scopes", name="two"),
    )


def test_a_service_account_is_checked_in_its_namespace_and_has_its_groups() -> None:
    asked = impersonation((b"impersonate-user", b"system:serviceaccount:ns:app.v1"))
    assert asked.checks == (ImpersonationCheck(resource="serviceaccounts", namespace="ns", name="app.v1"),)
    assert asked.user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")


def test_a_service_account_with_groups_has_those_only() -> None:
    account = (b"impersonate-user", b"system:serviceaccount:ns:app")
    assert groups_of(account, (b"impersonate-group", b"dev")) == ("dev", "system:authenticated")


@pytest.mark.parametrize("name", ["ns", "ns:a:b", "NS:a", "ns:", ":a", "ns:A", "ns:a..b", "ns:-a", "n.s:a", "ns:a/b"])
def test_what_is_no_service_account_name_is_a_user(name: str) -> None:
    """So leave for `users` is needed, and leave for serviceaccounts is not enough."""
    user = f"system:serviceaccount:{name}"
    asked = impersonation((b"impersonate-user", user.encode()))
    assert asked.checks == (ImpersonationCheck(resource="users", name=user),)
    assert asked.user.groups == ("system:authenticated",)


def test_everybody_is_authenticated_or_is_not() -> None:
    anonymous, unauthenticated = (b"impersonate-user", b"system:anonymous"), "system:unauthenticated"
    group = (b"impersonate-group", unauthenticated.encode())
    assert groups_of(anonymous) == groups_of(anonymous, group) == (unauthenticated,)
    assert groups_of(BOB, group) == (unauthenticated,)
    assert groups_of(BOB, (b"impersonate-group", b"system:authenticated")) == ("system:authenticated",)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"impersonate-group", b"system:masters")],
        [(b"impersonate-uid", b"7")],
        [(b"impersonate-extra-scopes", b"one")],
        [(b"impersonate-user", b"")],
        [BOB, BOB],
        [BOB, (b"impersonate-user", b"root")],
        [BOB, (b"impersonate-uid", b"1"), (b"impersonate-uid", b"2")],
        [BOB, (b"impersonate-uid", b"")],
        [BOB, (b"impersonate-group", b"")],
        [BOB, (b"impersonate-extra-", b"x")],
        [BOB, (b"impersonate-extra-a", b"")],
        [(b"impersonate-user", b" root")],
        [(b"impersonate-user", b"ro\x00ot")],
        [(b"impersonate-user", "ro\u200bot".encode())],
        [(b"impersonate-user", b"\xff")],
        [(b"impersonate-user", b"x" * 1025)],
        [BOB, (b"impersonate-extra-a%2", b"x")],
        [BOB, (b"impersonate-extra-a%zz", b"x")],
        [BOB, (b"impersonate-extra-%41", b"x")],
        [BOB, (b"impersonate-extra-%ff", b"x")],
        [BOB, (b"impersonate-extra-a%0d%0a", b"x")],
    ],
)
def test_what_is_incomplete_or_has_two_readings_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(BadRequest):
        parse_impersonation(headers)


@pytest.mark.parametrize(
    "name",
    [
        b"impersonate_user",
        b"impersonate_group",
        b"impersonate-uid_",
        b"impersonate_extra-scopes",
        b"impersonate-extra_scopes",
        b"impersonate-extra",
        b"impersonate-users",
        b"impersonate-whatever-comes-next",
    ],
)
def test_a_name_that_a_server_might_fold_or_that_nobody_knows_is_refused(name: bytes) -> None:
    """Also beside headers that are in order, and with an empty value."""
    for headers in ([(name, b"")], [BOB, (name, b"root")], [(name, b"root"), BOB]):
        with pytest.raises(BadRequest, match="unknown impersonation header"):
            parse_impersonation(headers)


identities = st.text(min_size=1, max_size=8).filter(is_valid_identity)
extra_keys = identities.filter(lambda key: key == key.lower())


@given(
    identities,
    st.just("") | identities,
    st.lists(identities),
    st.dictionaries(extra_keys, st.lists(identities, min_size=1)),
)
def test_what_the_proxy_tells_the_api_server_is_read_as_it_is_meant(
    name: str, uid: str, groups: list[str], extra: dict[str, list[str]]
) -> None:
    """The two directions agree: an identity passes the proxy unchanged, and every part of it is checked."""
    groups = [*groups, "system:unauthenticated"]
    user = User(
        name=name, uid=uid, groups=tuple(groups), extra=tuple((key, tuple(extra[key])) for key in sorted(extra))
    )
    sent = [(key.lower().encode(), value.encode()) for key, value in impersonation_headers(user)]
    asked = impersonation(*sent)
    assert asked.user == user
    assert len(asked.checks) == 1 + bool(uid) + len(groups) + sum(map(len, extra.values()))
