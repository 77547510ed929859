"""The names Kubernetes accepts where policy objects have names: each function says what is wrong, None when nothing.

Source: k8s.io/apimachinery/pkg/api/validate/content/{path,dns}.go and pkg/api/validation/generic.go
"""

from __future__ import annotations

import re

_MAX_LABEL_CHARACTERS = 63
_MAX_SUBDOMAIN_CHARACTERS = 253
_LABEL = re.compile("[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")


def path_segment_problem(name: str) -> str | None:
    """Names of roles and bindings: anything that is one segment of a URL's path."""
    if name in (".", ".."):
        return f"must not be `{name}`"
    if "/" in name or "%" in name:
        return "must not contain `/` or `%`"
    return None


def namespace_problem(name: str) -> str | None:
    """Names of namespaces: DNS-1123 labels."""
    if len(name) > _MAX_LABEL_CHARACTERS:
        return f"must be no more than {_MAX_LABEL_CHARACTERS} characters"
    if not _LABEL.fullmatch(name):
        return "must be lower case letters, digits and `-`, and begin and end with a letter or digit"
    return None


def service_account_problem(name: str) -> str | None:
    """Names of ServiceAccounts: DNS-1123 subdomains."""
    if len(name) > _MAX_SUBDOMAIN_CHARACTERS:
        return f"must be no more than {_MAX_SUBDOMAIN_CHARACTERS} characters"
    if not _SUBDOMAIN.fullmatch(name):
        return "must be lower case letters, digits, `-` and `.`, and begin and end with a letter or digit"
    return None
