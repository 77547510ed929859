"""RequestInfo: what a request asks for, parsed once and strictly from the raw target.

Source: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go
"""

from __future__ import annotations

import msgspec

WATCH_VERBS = frozenset({"get", "list", "watch"})

_LONG_RUNNING_VERBS = frozenset({"watch", "proxy"})
_LONG_RUNNING_SUBRESOURCES = frozenset({"attach", "exec", "proxy", "log", "portforward"})


class RequestInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked. Empty strings mean absent, as upstream's struct has it.

    For a resource request `path` is the canonical path rebuilt from the parts; for a non-resource request it is
    the decoded path (what `nonResourceURLs` are compared with) and every resource field is empty.
    """

    is_resource_request: bool
    verb: str
    path: str
    api_prefix: str = ""
    api_group: str = ""
    api_version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()


def is_long_running(info: RequestInfo) -> bool:
    """True for what lasts by its nature. Source: k8s.io/apiserver/pkg/server/filters/longrunning.go."""
    return info.verb in _LONG_RUNNING_VERBS or info.subresource in _LONG_RUNNING_SUBRESOURCES
