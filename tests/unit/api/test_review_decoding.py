"""A review means the same in JSON and in protobuf; what is not one is refused."""

import json
from typing import Any

import pytest

from proxy.api.review_decoding import decode_review
from proxy.api.reviews import (
    AccessSpec,
    NonResourceAttributes,
    ResourceAttributes,
    Review,
    ReviewType,
    RulesSpec,
    SelectorAttributes,
    SelectorRequirement,
    SelfAccessSpec,
    TokenSpec,
    review_type,
)
from proxy.api.status import BadRequest, UnsupportedMediaType
from tests.support import protobuf_writer as writer

PROTOBUF = "application/vnd.kubernetes.protobuf"
V1 = "authorization.k8s.io/v1"

# What kubectl 1.36 posts for `kubectl auth can-i list pods -A`: every text field is written, empty or not.
KUBECTL_CAN_I = writer.envelope(
    V1,
    "SelfSubjectAccessReview",
    [
        (1, [(1, ""), (2, ""), (3, ""), (4, ""), (5, ""), (6, ""), (7, 0), (8, b"")]),
        (2, [(1, [(1, ""), (2, "list"), (3, ""), (4, ""), (5, "pods"), (6, ""), (7, "")])]),
        (3, [(1, 0), (2, ""), (3, ""), (4, 0)]),
    ],
)
LIST_PODS = Review(
    metadata={}, spec=SelfAccessSpec(resourceAttributes=ResourceAttributes(verb="list", resource="pods"))
)


def from_json(asked: ReviewType, document: Any, content_type: str = "application/json") -> Review:
    return decode_review(json.dumps(document).encode(), content_type, asked, "v1")


def test_what_kubectl_posts_is_read() -> None:
    assert decode_review(KUBECTL_CAN_I, PROTOBUF, ReviewType.SELF_ACCESS, "v1") == LIST_PODS


@pytest.mark.parametrize("content_type", ["", "application/json", "Application/JSON; charset=utf-8"])
def test_json_is_read_with_and_without_its_name(content_type: str) -> None:
    document = {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": None, "later": 1}}}
    assert from_json(ReviewType.SELF_ACCESS, document, content_type) == LIST_PODS


def test_every_field_of_a_subject_access_review_is_read_from_both_forms() -> None:
    resource = {
        "namespace": "ns", "verb": "list", "group": "g", "version": "v1", "resource": "r", "subresource": "s",
        "name": "n", "fieldSelector": {"rawSelector": "a=b"},
        "labelSelector": {"requirements": [{"key": "k", "operator": "In", "values": ["x", "y"]}]},
    }  # fmt: skip
    spec = {
        "resourceAttributes": resource,
        "nonResourceAttributes": {"path": "/p", "verb": "get"},
        "user": "u",
        "groups": ["g1", "g2"],
        "extra": {"key": ["1", "2"], "none": []},
        "uid": "id",
    }
    fields = [
        (1, [(number, str(value)) for number, value in enumerate(list(resource.values())[:7], 1)]
            + [(8, [(1, "a=b")]), (9, [(2, [(1, "k"), (2, "In"), (3, "x"), (3, "y")])])]),
        (2, [(1, "/p"), (2, "get")]),
        (3, "u"), (4, "g1"), (4, "g2"), (6, "id"),
        (5, [(1, "key"), (2, [(1, "1"), (1, "2")])]), (5, [(1, "none"), (2, [])]),
    ]  # fmt: skip
    expected = AccessSpec(
        resourceAttributes=ResourceAttributes(
            namespace="ns",
            verb="list",
            group="g",
            version="v1",
            resource="r",
            subresource="s",
            name="n",
            fieldSelector=SelectorAttributes(rawSelector="a=b"),
            labelSelector=SelectorAttributes(
                requirements=(SelectorRequirement(key="k", operator="In", values=("x", "y")),)
            ),
        ),
        nonResourceAttributes=NonResourceAttributes(path="/p", verb="get"),
        user="u",
        groups=("g1", "g2"),
        extra={"key": ("1", "2"), "none": ()},
        uid="id",
    )
    assert from_json(ReviewType.ACCESS, {"spec": spec}).spec == expected
    sent = writer.envelope(V1, "SubjectAccessReview", [(2, fields)])
    assert decode_review(sent, PROTOBUF, ReviewType.ACCESS, "v1").spec == expected


def test_a_question_about_the_caller_cannot_name_another_user() -> None:
    spec = from_json(ReviewType.SELF_ACCESS, {"spec": {"user": "root", "groups": ["system:masters"]}}).spec
    assert type(spec) is SelfAccessSpec
    sent = writer.envelope(V1, "SelfSubjectAccessReview", [(2, [(3, "root"), (4, "system:masters")])])
    assert decode_review(sent, PROTOBUF, ReviewType.SELF_ACCESS, "v1").spec == SelfAccessSpec()


def test_a_rules_review_names_a_namespace_and_a_self_review_nothing() -> None:
    assert from_json(ReviewType.SELF_RULES, {"spec": {"namespace": "ns"}}).spec == RulesSpec(namespace="ns")
    sent = writer.envelope(V1, "SelfSubjectRulesReview", [(2, [(1, "ns")])])
    assert decode_review(sent, PROTOBUF, ReviewType.SELF_RULES, "v1").spec == RulesSpec(namespace="ns")
    assert from_json(ReviewType.SELF, {"spec": {"anything": 1}}).spec is None


def test_a_token_review_names_a_token_and_audiences() -> None:
    expected = TokenSpec(token="secret", audiences=("a", "b"))
    assert from_json(ReviewType.TOKEN, {"spec": {"token": "secret", "audiences": ["a", "b"]}}).spec == expected
    sent = writer.envelope("authentication.k8s.io/v1", "TokenReview", [(2, [(1, "secret"), (2, "a"), (2, "b")])])
    assert decode_review(sent, PROTOBUF, ReviewType.TOKEN, "v1").spec == expected


def test_a_token_is_not_told_back_in_a_refusal() -> None:
    for body in (b'{"spec":{"token":["secret"]}}', b'{"spec":{"token":"secret","audiences":"secret"}}'):
        with pytest.raises(BadRequest) as refusal:
            decode_review(body, "application/json", ReviewType.TOKEN, "v1")
        assert b"secret" not in refusal.value.body()


def test_metadata_holds_what_is_set_in_both_forms() -> None:
    set_in_json = {
        "name": "x",
        "labels": {"a": "b"},
        "creationTimestamp": None,
        "annotations": {},
        "managedFields": [1],
    }
    assert from_json(ReviewType.SELF, {"metadata": set_in_json}).metadata.keys() == {"name", "labels"}
    fields = [(1, "x"), (8, b""), (11, [(1, "a"), (2, "b")]), (17, b"managed")]
    sent = writer.envelope("authentication.k8s.io/v1", "SelfSubjectReview", [(1, fields)])
    assert decode_review(sent, PROTOBUF, ReviewType.SELF, "v1").metadata.keys() == {"name", "labels"}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'{"spec":[]}', "application/json"),
        (b'{"spec":{"resourceAttributes":{"verb":1}}}', "application/json"),
        (b'{"spec":{"resourceAttributes":"pods"}}', "application/json"),
        (b'{"kind":"Pod"}', "application/json"),
        (b'{"kind":"SubjectAccessReview"}', "application/json"),
        (b'{"apiVersion":"authorization.k8s.io/v1beta1"}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"a":' * 100_000, "application/json"),
        (b'{"spec":{"a":' + b"[" * 900 + b"]" * 900 + b"}}", "application/json"),
        (b"\xff", "application/json"),
        (b"", PROTOBUF),
        (b"{}", PROTOBUF),
        (KUBECTL_CAN_I[:-1], PROTOBUF),
        (KUBECTL_CAN_I, "application/json"),
        (writer.envelope(V1, "SubjectAccessReview", []), PROTOBUF),
        (writer.envelope("v1", "SelfSubjectAccessReview", []), PROTOBUF),
        (writer.envelope(V1, "SelfSubjectAccessReview", [(2, []), (2, [])]), PROTOBUF),
    ],
)
def test_what_is_no_such_review_is_a_bad_request(body: bytes, content_type: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        decode_review(body, content_type, ReviewType.SELF_ACCESS, "v1")
    assert refusal.value.body()


@pytest.mark.parametrize("content_type", ["text/plain", "application/yaml", "application/json-patch+json", "json"])
def test_other_media_types_are_not_read(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="accepted media types include: application/json"):
        decode_review(b"{}", content_type, ReviewType.SELF, "v1")


def test_reviews_are_known_by_group_and_resource() -> None:
    assert review_type("authorization.k8s.io", "selfsubjectaccessreviews") is ReviewType.SELF_ACCESS
    assert review_type("", "selfsubjectaccessreviews") is None
    assert review_type("authentication.k8s.io", "tokenreviews") is ReviewType.TOKEN
