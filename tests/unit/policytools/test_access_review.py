"""Reading the spec of a SubjectAccessReview."""

from __future__ import annotations

import json

import pytest

from proxy.authn.user import User
from proxy.authz.decision import Attributes
from proxy.policytools.access_review import read_access_review


def read(spec: object) -> tuple[User, Attributes]:
    return read_access_review(json.dumps(spec).encode())


def test_a_spec_is_taken_literally() -> None:
    user, asked = read(
        {
            "user": "alice",
            "uid": "u1",
            "groups": ["dev"],
            "extra": {"b": ["2", "3"], "a": ["1"]},
            "resourceAttributes": {
                "namespace": "ns",
                "verb": "get",
                "group": "apps",
                "version": "v1",
                "resource": "deployments",
                "subresource": "scale",
                "name": "d",
                "fieldSelector": {"rawSelector": "metadata.name=other"},
                "labelSelector": {"requirements": [{"key": "a", "operator": "Exists"}]},
            },
        }
    )
    assert user == User(name="alice", uid="u1", groups=("dev",), extra=(("a", ("1",)), ("b", ("2", "3"))))
    assert asked == Attributes(
        verb="get",
        is_resource_request=True,
        api_group="apps",
        api_version="v1",
        resource="deployments",
        subresource="scale",
        namespace="ns",
        name="d",
        namespaced=True,
    )


def test_absent_and_null_are_empty_as_in_go() -> None:
    nulls = {"user": "a", "groups": None, "uid": None, "extra": None, "nonResourceAttributes": None}
    user, asked = read({**nulls, "resourceAttributes": {"verb": None, "resource": "nodes"}})
    assert user == User(name="a")
    assert (asked.verb, asked.api_version, asked.namespaced) == ("", "*", False)


def test_a_url_is_no_resource() -> None:
    _, asked = read({"groups": ["g"], "nonResourceAttributes": {"path": "/healthz", "verb": "get"}})
    assert asked == Attributes(verb="get", is_resource_request=False, path="/healthz")


RESOURCE = {"resourceAttributes": {"verb": "get", "resource": "pods"}}


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (RESOURCE, "at least one of `user` or `groups`"),
        ({**RESOURCE, "user": "", "groups": []}, "at least one of `user` or `groups`"),
        ({"user": "a"}, "exactly one of"),
        ({**RESOURCE, "user": "a", "nonResourceAttributes": {}}, "exactly one of"),
        ({**RESOURCE, "user": 1}, r"Expected `str \| null`, got `int` - at `\$.user`"),
        ({**RESOURCE, "usr": "a"}, "unknown field `usr`"),
        ({"user": "a", "resourceAttributes": {"namespce": "x"}}, "unknown field `namespce`"),
        ({"user": "a", "resourceAttributes": {"verb": ["get"]}}, "resourceAttributes.verb"),
        ([], "Expected `object`"),
        (None, "Expected `object`"),
    ],
)
def test_a_spec_that_cannot_be_meant_is_refused(spec: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read(spec)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"{}x", b"\xff", b'{"user": "\xff"}', b'{"user": "\\ud800"}', b"[" * 100_000, b'{"a":' * 100_000],
    ids=["empty", "cut", "more", "no UTF-8", "no UTF-8 inside", "lone surrogate", "deep list", "deep object"],
)
def test_whatever_is_no_spec_is_refused_not_raised(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_access_review(line)
