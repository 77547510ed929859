"""The user name and groups of a service account.

Source: k8s.io/apiserver/pkg/authentication/serviceaccount/util.go (SplitUsername, MakeGroupNames)
"""

from __future__ import annotations

import re

from proxy.authn.user import SERVICE_ACCOUNT_PREFIX

_GROUP = "system:serviceaccounts"
_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_USER_NAME = re.compile(rf"{SERVICE_ACCOUNT_PREFIX}(?P<namespace>{_LABEL}):(?P<name>[-a-z0-9.]{{1,253}})")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def split_service_account_name(user_name: str) -> tuple[str, str] | None:
    """(namespace, name) of a service account's user name, None for every other name."""
    match = _USER_NAME.fullmatch(user_name)
    if match is None or not _SUBDOMAIN.fullmatch(match["name"]):
        return None
    return match["namespace"], match["name"]


def service_account_groups(namespace: str) -> tuple[str, str]:
    """The groups every service account of a namespace is in."""
    return _GROUP, f"{_GROUP}:{namespace}"
