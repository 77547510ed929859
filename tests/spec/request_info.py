"""RequestInfo as upstream computes it, a page long: the reference that the strict parser is compared with.

Input is what Go's net/url has made of a target that the parser accepts: the decoded path and the decoded pairs.

Source: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go
"""

import re
from collections.abc import Sequence

Facts = dict[str, object]


def request_info(method: str, path: str, pairs: Sequence[tuple[str, str]]) -> Facts:
    """The fields of upstream's struct; `path` only for a non-resource request."""
    first: dict[str, str] = {}
    for key, value in pairs:
        first.setdefault(key, value)

    parts = path.strip("/").split("/")
    if parts[0] not in ("api", "apis") or len(parts) < (3 if parts[0] == "api" else 4):
        return {"is_resource_request": False, "verb": method.lower(), "path": path}
    prefix = parts.pop(0)
    group = parts.pop(0) if prefix == "apis" else ""
    version = parts.pop(0)

    if parts[0] == "proxy":
        verb = parts.pop(0)
    else:
        verb = {
            "POST": "create",
            "GET": "get",
            "HEAD": "get",
            "PUT": "update",
            "PATCH": "patch",
            "DELETE": "delete",
        }.get(method, "")

    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in ("status", "finalize"):
            parts = parts[2:]

    resource = parts[0]
    name = parts[1] if len(parts) >= 2 else ""
    subresource = parts[2] if len(parts) >= 3 and verb != "proxy" else ""

    if not name and verb == "get":
        verb = "watch" if is_true(first.get("watch")) else "list"
        name = required_name(first)
    if not name and verb == "delete":
        verb = "deletecollection"
    return {
        "is_resource_request": True,
        "verb": verb,
        "api_prefix": prefix,
        "api_group": group,
        "api_version": version,
        "namespace": namespace,
        "resource": resource,
        "subresource": subresource,
        "name": name,
        "parts": tuple(parts),
    }


def is_true(value: str | None) -> bool:
    """Absent, `0` and `false` in any case are false."""
    return value is not None and value != "0" and value.casefold() != "false"


def required_name(first: dict[str, str]) -> str:
    """The name that an exact `metadata.name` requires; none where any list option cannot be decoded."""
    if not all(re.fullmatch(r"[+-]?\d+", first.get(option, "0"), re.ASCII) for option in ("limit", "timeoutSeconds")):
        return ""
    for term in sorted(first.get("fieldSelector", "").split(",")):
        if match := re.fullmatch(r"metadata\.name==?([^=]*)", term):
            name = match[1]
            return "" if name in (".", "..") or "/" in name or "%" in name else name
    return ""
