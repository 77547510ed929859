"""Claims make the user that the configuration says, and never one it does not."""

from dataclasses import replace
from typing import Any

import pytest

from proxy.authn.authentication_config import Issuer, JwtAuthenticator, PrefixedClaim, RequiredClaim
from proxy.authn.claims import ClaimRefused, user_from_claims
from proxy.authn.user import User

CONFIG = JwtAuthenticator(
    issuer=Issuer(url="https://issuer.example", discovery_url="", certificate_authority="", audiences=("us",)),
    username=PrefixedClaim("sub", ""),
    groups=PrefixedClaim("groups", ""),
    uid_claim=None,
    required_claims=(),
)


def user(claims: dict[str, Any], **changes: Any) -> User:
    return user_from_claims({"sub": "alice"} | claims, replace(CONFIG, **changes))


def is_refused(claims: dict[str, Any], **changes: Any) -> bool:
    with pytest.raises(ClaimRefused):
        user(claims, **changes)
    return True


def test_prefixes_stand_before_names() -> None:
    changes = {"username": PrefixedClaim("sub", "u:"), "groups": PrefixedClaim("roles", "g:")}
    assert user({"roles": ["a", "b"]}, **changes) == User(name="u:alice", groups=("g:a", "g:b"))


@pytest.mark.parametrize(
    "value", [None, "", 7, True, ["alice"], {"x": 1}, "a\x00", "a\n", " a", "a ", "\ud800", "a" * 1025]
)
def test_username_that_is_no_plain_text_is_refused(value: object) -> None:
    assert is_refused({"sub": value})
    assert is_refused({"sub": value}, uid_claim="sub", username=PrefixedClaim("sub", "oidc:"))


def test_missing_username_is_refused() -> None:
    assert is_refused({}, username=PrefixedClaim("preferred_username", ""))


def test_claim_name_is_no_path() -> None:
    assert is_refused({"a": {"b": "admin"}}, username=PrefixedClaim("a.b", ""))


@pytest.mark.parametrize(("value", "groups"), [("one", ("one",)), ([], ()), (None, ()), (["a", "a"], ("a", "a"))])
def test_groups_are_a_list_or_one_text(value: object, groups: tuple[str, ...]) -> None:
    assert user({"groups": value}).groups == groups


@pytest.mark.parametrize("value", ["", [""], [None], ["a", 7], [["a"]], {"a": 1}, 7, True, False, ["a\n"], ["a "]])
def test_groups_of_another_type_are_refused(value: object) -> None:
    assert is_refused({"groups": value})


def test_groups_are_empty_when_not_mapped() -> None:
    assert user({"groups": ["a"]}, groups=None).groups == ()


@pytest.mark.parametrize("reserved", ["system:masters", "system:", "system:serviceaccount:kube-system:x"])
def test_an_issuer_names_nobody_system(reserved: str) -> None:
    assert is_refused({"sub": reserved})
    assert is_refused({"groups": ["a", reserved]})


def test_a_prefix_that_only_begins_the_reserved_one_does_not_help() -> None:
    assert is_refused({"sub": "tem:admin"}, username=PrefixedClaim("sub", "sys"))
    assert is_refused({"groups": [":masters"]}, groups=PrefixedClaim("groups", "system"))


def test_a_configured_prefix_may_be_reserved() -> None:
    assert user({"sub": "node1"}, username=PrefixedClaim("sub", "system:node:")).name == "system:node:node1"


def test_required_claims_are_compared_as_text() -> None:
    required = {"required_claims": (RequiredClaim("tenant", "1"), RequiredClaim("empty", ""))}
    assert user({"tenant": "1", "empty": ""}, **required).name == "alice"
    for bad in (
        {"tenant": "1"},
        {"tenant": 1, "empty": ""},
        {"tenant": ["1"], "empty": ""},
        {"tenant": "1", "empty": None},
    ):
        assert is_refused(bad, **required)


@pytest.mark.parametrize("verified", [False, None, "true", 1, []])
def test_email_is_a_name_only_when_verified(verified: object) -> None:
    email = {"username": PrefixedClaim("email", "")}
    assert is_refused({"email": "a@example.org", "email_verified": verified}, **email)
    assert user({"email": "a@example.org", "email_verified": True}, **email).name == "a@example.org"
    assert user({"email": "a@example.org"}, **email).name == "a@example.org"


def test_uid_is_required_text_when_mapped() -> None:
    assert user({"uid": "7"}, uid_claim="uid").uid == "7"
    for bad in ({}, {"uid": 7}, {"uid": ""}):
        assert is_refused(bad, uid_claim="uid")


@pytest.mark.parametrize("jti", [7, "", None, ["x"], "a\nb", "j" * 1024])
def test_token_id_that_is_no_plain_text_is_refused(jti: object) -> None:
    assert is_refused({"jti": jti})


def test_distributed_groups_are_refused_and_other_distributed_claims_are_not_looked_at() -> None:
    assert is_refused({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://x"}}})
    assert is_refused({"_claim_names": "groups"})
    assert user({"_claim_names": {"photos": "src1"}}).groups == ()
    assert user({"_claim_names": {"groups": "src1"}, "groups": ["a"]}).groups == ("a",)
