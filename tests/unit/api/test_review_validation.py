"""Reviews are checked as upstream checks them, in its words (as a real kube-apiserver 1.36 prints them)."""

import pytest

from proxy.api.review_validation import check_access_review, metadata_in, selector_errors
from proxy.api.reviews import (
    AccessSpec,
    NonResourceAttributes,
    ResourceAttributes,
    ReviewType,
    SelectorAttributes,
    SelectorRequirement,
    SelfAccessSpec,
)
from proxy.api.status import BadRequest, Invalid

PODS = ResourceAttributes(verb="list", resource="pods")
PATH = NonResourceAttributes(path="/x", verb="get")
INVALID = '.authorization.k8s.io "" is invalid: '


def problem_of(asked: ReviewType, spec: SelfAccessSpec, metadata: dict[str, str] | None = None) -> str:
    with pytest.raises(Invalid) as refusal:
        check_access_review(asked, metadata or {}, spec)
    assert refusal.value.message.startswith(INVALID)
    return refusal.value.message.removeprefix(INVALID)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            SelfAccessSpec(),
            "spec.resourceAttributes: Invalid value: null: "
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        (
            SelfAccessSpec(resourceAttributes=PODS, nonResourceAttributes=PATH),
            'spec.nonResourceAttributes: Invalid value: {"Path":"/x","Verb":"get"}: '
            "cannot be specified in combination with resourceAttributes",
        ),
    ],
)
def test_exactly_one_question_is_asked(spec: SelfAccessSpec, problem: str) -> None:
    assert problem_of(ReviewType.SELF_ACCESS, spec) == problem


def test_a_question_about_somebody_says_about_whom() -> None:
    problem = 'spec.user: Invalid value: "": at least one of user or group must be specified'
    assert problem_of(ReviewType.ACCESS, AccessSpec(resourceAttributes=PODS, uid="u")) == problem
    check_access_review(ReviewType.ACCESS, {}, AccessSpec(resourceAttributes=PODS, groups=("g",)))
    check_access_review(ReviewType.ACCESS, {}, AccessSpec(resourceAttributes=PODS, user="u"))


def test_metadata_must_be_empty() -> None:
    spec = SelfAccessSpec(resourceAttributes=PODS)
    problem = 'metadata: Invalid value: {"name":"x"}: must be empty'
    assert problem_of(ReviewType.SELF_ACCESS, spec, {"name": "x"}) == problem
    check_access_review(ReviewType.SELF_ACCESS, {}, spec)


def test_a_local_review_asks_about_its_own_namespace_only() -> None:
    def ask(namespace: str) -> AccessSpec:
        return AccessSpec(user="u", resourceAttributes=ResourceAttributes(verb="get", namespace=namespace))

    check_access_review(ReviewType.LOCAL_ACCESS, {"namespace": "a"}, ask("a"))
    for other in ("", "b"):
        problem = f'spec.resourceAttributes.namespace: Invalid value: "{other}": must match metadata.namespace'
        assert problem_of(ReviewType.LOCAL_ACCESS, ask(other), {"namespace": "a"}) == problem
    path = AccessSpec(user="u", nonResourceAttributes=PATH)
    problem = (
        'spec.nonResourceAttributes: Invalid value: {"Path":"/x","Verb":"get"}: disallowed on this kind of request'
    )
    assert problem_of(ReviewType.LOCAL_ACCESS, path, {"namespace": "a"}) == problem
    named = 'metadata: Invalid value: {"namespace":"a","name":"x"}: must be empty except for namespace'
    assert problem_of(ReviewType.LOCAL_ACCESS, ask("a"), {"namespace": "a", "name": "x"}) == named


def test_everything_that_is_wrong_is_told_at_once() -> None:
    resource = ResourceAttributes(
        fieldSelector=SelectorAttributes(),
        labelSelector=SelectorAttributes(
            rawSelector="a",
            requirements=(
                SelectorRequirement(key="a", operator="In"),
                SelectorRequirement(operator="Exists", values=("x",)),
                SelectorRequirement(key="a", operator="Later", values=("x",)),
            ),
        ),
    )
    with pytest.raises(Invalid) as refusal:
        check_access_review(ReviewType.SELF_ACCESS, {"name": "x"}, SelfAccessSpec(resourceAttributes=resource))
    prefix = "spec.resourceAttributes."
    details = refusal.value.details
    assert details is not None
    assert [(cause.field.removeprefix(prefix), cause.reason) for cause in details.causes] == [
        ("fieldSelector.requirements", "FieldValueRequired"),
        ("labelSelector.rawSelector", "FieldValueInvalid"),
        ("labelSelector.requirements[0].values", "FieldValueRequired"),
        ("labelSelector.requirements[1].key", "FieldValueRequired"),
        ("labelSelector.requirements[1].values", "FieldValueForbidden"),
        ("metadata", "FieldValueInvalid"),
    ]
    assert refusal.value.message.startswith(f"{INVALID}[{prefix}fieldSelector.requirements: Required value: when ")


def test_an_object_takes_the_namespace_it_is_sent_to() -> None:
    assert metadata_in("a", {}) == metadata_in("a", {"namespace": "a"}) == {"namespace": "a"}
    assert metadata_in("", {"namespace": "a", "name": "x"}) == {"name": "x"}
    with pytest.raises(BadRequest, match="does not match the namespace sent on the request"):
        metadata_in("a", {"namespace": "b"})


@pytest.mark.parametrize(
    ("fields", "labels", "said"),
    [
        (None, None, ""),
        (SelectorAttributes(rawSelector="a=b"), SelectorAttributes(rawSelector="a in (b)"), ""),
        (None, SelectorAttributes(rawSelector="a=("), "spec.resourceAttributes.labelSelector ignored"),
        (SelectorAttributes(rawSelector="a"), None, "spec.resourceAttributes.fieldSelector ignored"),
        (
            SelectorAttributes(requirements=(SelectorRequirement(key="a", operator="In", values=("x", "y")),)),
            None,
            "spec.resourceAttributes.fieldSelector ignored",
        ),
        (
            None,
            SelectorAttributes(
                requirements=(
                    SelectorRequirement(key="a", operator="Exists"),
                    SelectorRequirement(key="a", operator="Later"),
                )
            ),
            "spec.resourceAttributes.labelSelector partially ignored",
        ),
    ],
)
def test_a_selector_that_cannot_be_read_is_said_to_be_ignored(
    fields: SelectorAttributes | None, labels: SelectorAttributes | None, said: str
) -> None:
    errors = selector_errors(ResourceAttributes(fieldSelector=fields, labelSelector=labels))
    assert errors == (f"{said} due to parse error" if said else "")
