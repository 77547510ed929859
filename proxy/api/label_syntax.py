"""The syntax of label keys and values, with upstream's words for what is wrong.

Source: k8s.io/apimachinery/pkg/api/validate/content/{kube,dns}.go
"""

from __future__ import annotations

import re

_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_MAX_NAME_BYTES = 63
_MAX_SUBDOMAIN_BYTES = 253

_NAME_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_NAME}')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'({_NAME})?')"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)


def label_key_problems(key: str) -> list[str]:
    """What is wrong with a label key; empty when it is valid. Source: content.IsLabelKey."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return [
            f"a valid label key {_NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    problems = [f"prefix part {problem}" for problem in _subdomain_problems(prefix)] if slash else []
    if not name:
        problems.append("name part must be non-empty")
    elif _bytes(name) > _MAX_NAME_BYTES:
        problems.append(f"name part must be no more than {_MAX_NAME_BYTES} bytes")
    if not re.fullmatch(_NAME, name):
        problems.append(f"name part {_NAME_RULE}")
    return problems


def label_value_problems(value: str) -> list[str]:
    """What is wrong with a label value; empty when it is valid. Source: content.IsLabelValue."""
    problems = []
    if _bytes(value) > _MAX_NAME_BYTES:
        problems.append(f"must be no more than {_MAX_NAME_BYTES} bytes")
    if value and not re.fullmatch(_NAME, value):
        problems.append(_VALUE_RULE)
    return problems


def _subdomain_problems(prefix: str) -> list[str]:
    if not prefix:
        return ["must be non-empty"]
    problems = []
    if _bytes(prefix) > _MAX_SUBDOMAIN_BYTES:
        problems.append(f"must be no more than {_MAX_SUBDOMAIN_BYTES} bytes")
    if not re.fullmatch(_SUBDOMAIN, prefix):
        problems.append(_SUBDOMAIN_RULE)
    return problems


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
