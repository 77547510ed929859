"""What upstream checks of a review before it answers, with its own words.

Of requirements in structured form the keys and values are not checked against the grammar of labels: they do not take
part in any answer.

Source: k8s.io/kubernetes/pkg/apis/authorization/validation/validation.go;
k8s.io/apiserver/pkg/registry/rest/meta.go EnsureObjectNamespaceMatchesRequestNamespace;
k8s.io/kubernetes/pkg/registry/authorization/util/helpers.go BuildEvaluationError
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from proxy.api.reviews import (
    AccessSpec,
    ResourceAttributes,
    ReviewType,
    SelectorAttributes,
    SelectorRequirement,
    SelfAccessSpec,
)
from proxy.api.selectors import parse_field_selector, parse_label_selector
from proxy.api.status import BadRequest, Invalid, StatusCause, StatusDetails

_INVALID, _REQUIRED, _FORBIDDEN = "FieldValueInvalid", "FieldValueRequired", "FieldValueForbidden"
_WITH_VALUES, _WITHOUT_VALUES = ("In", "NotIn"), ("Exists", "DoesNotExist")


def metadata_in(namespace: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of an object that was sent to a namespace, empty for none. Raises BadRequest where they differ."""
    if namespace and metadata.get("namespace") not in (None, namespace):
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    rest = {name: value for name, value in metadata.items() if name != "namespace"}
    return {"namespace": namespace, **rest} if namespace else rest


def check_access_review(asked: ReviewType, metadata: Mapping[str, Any], spec: SelfAccessSpec) -> None:
    """`metadata` is that of `metadata_in`. Raises Invalid, which names everything that is wrong."""
    causes = [*_spec_causes(spec), *_metadata_causes(asked, metadata)]
    if asked is ReviewType.LOCAL_ACCESS:
        causes.extend(_local_causes(metadata["namespace"], spec))
    if causes:
        problems = [f"{cause.field}: {cause.message}" for cause in causes]
        listed = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise Invalid(
            f'.{asked.group} "" is invalid: {listed}', details=StatusDetails(group=asked.group, causes=tuple(causes))
        )


def selector_errors(resource: ResourceAttributes) -> str:
    """What is said of selectors that cannot be read; they do not change the answer. Empty when all is well."""
    fields = _ignored(resource.fieldSelector, parse_field_selector, _reads_as_field)
    labels = _ignored(resource.labelSelector, parse_label_selector, _reads_as_label)
    return "; ".join(
        f"spec.resourceAttributes.{name} {ignored} due to parse error"
        for name, ignored in (("fieldSelector", fields), ("labelSelector", labels))
        if ignored
    )


def _spec_causes(spec: SelfAccessSpec) -> Iterator[StatusCause]:
    resource, path = spec.resourceAttributes, spec.nonResourceAttributes
    if resource is not None and path is not None:
        yield _invalid(
            "spec.nonResourceAttributes",
            _path_value(spec),
            "cannot be specified in combination with resourceAttributes",
        )
    if resource is None and path is None:
        yield _invalid(
            "spec.resourceAttributes",
            None,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )
    if isinstance(spec, AccessSpec) and not spec.user and not spec.groups:
        yield _invalid("spec.user", "", "at least one of user or group must be specified")
    if resource is not None:
        for name, selector in (("fieldSelector", resource.fieldSelector), ("labelSelector", resource.labelSelector)):
            if selector is not None:
                yield from _selector_causes(f"spec.resourceAttributes.{name}", selector)


def _selector_causes(field: str, selector: SelectorAttributes) -> Iterator[StatusCause]:
    if selector.rawSelector and selector.requirements:
        problem = "may not specified at the same time as requirements"
        yield _invalid(f"{field}.rawSelector", selector.rawSelector, problem)
    if not selector.rawSelector and not selector.requirements:
        yield _cause(
            _REQUIRED,
            f"{field}.requirements",
            f"Required value: when {field} is specified, requirements or rawSelector is required",
        )
    for index, requirement in enumerate(selector.requirements):
        values = f"{field}.requirements[{index}].values"
        if not requirement.key:
            yield _cause(_REQUIRED, f"{field}.requirements[{index}].key", "Required value: must be specified")
        if requirement.operator in _WITH_VALUES and not requirement.values:
            problem = "must be specified when `operator` is 'In' or 'NotIn'"
            yield _cause(_REQUIRED, values, f"Required value: {problem}")
        if requirement.operator in _WITHOUT_VALUES and requirement.values:
            problem = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            yield _cause(_FORBIDDEN, values, f"Forbidden: {problem}")


def _metadata_causes(asked: ReviewType, metadata: Mapping[str, Any]) -> Iterator[StatusCause]:
    is_local = asked is ReviewType.LOCAL_ACCESS
    if any(name != "namespace" or not is_local for name in metadata):
        yield _invalid("metadata", metadata, "must be empty except for namespace" if is_local else "must be empty")


def _local_causes(namespace: str, spec: SelfAccessSpec) -> Iterator[StatusCause]:
    if spec.resourceAttributes is not None and spec.resourceAttributes.namespace != namespace:
        asked = spec.resourceAttributes.namespace
        yield _invalid("spec.resourceAttributes.namespace", asked, "must match metadata.namespace")
    if spec.nonResourceAttributes is not None:
        yield _invalid("spec.nonResourceAttributes", _path_value(spec), "disallowed on this kind of request")


def _path_value(spec: SelfAccessSpec) -> dict[str, str]:
    """As upstream prints it: its internal type has no JSON names."""
    assert spec.nonResourceAttributes is not None
    return {"Path": spec.nonResourceAttributes.path, "Verb": spec.nonResourceAttributes.verb}


def _invalid(field: str, value: Any, problem: str) -> StatusCause:
    return _cause(_INVALID, field, f"Invalid value: {msgspec.json.encode(value).decode()}: {problem}")


def _cause(reason: str, field: str, message: str) -> StatusCause:
    return StatusCause(reason=reason, message=message, field=field)


def _ignored(
    selector: SelectorAttributes | None,
    parse: Callable[[str], object],
    reads: Callable[[SelectorRequirement], bool],
) -> str:
    if selector is None:
        return ""
    if selector.rawSelector:
        try:
            parse(selector.rawSelector)
        except BadRequest:
            return "ignored"
        return ""
    readable = sum(map(reads, selector.requirements))
    if readable == len(selector.requirements):
        return ""
    return "partially ignored" if readable else "ignored"


def _reads_as_field(requirement: SelectorRequirement) -> bool:
    """Upstream has no field selector with several values, or with none."""
    return requirement.operator in _WITH_VALUES and len(requirement.values) == 1


def _reads_as_label(requirement: SelectorRequirement) -> bool:
    return requirement.operator in (*_WITH_VALUES, *_WITHOUT_VALUES)
